"""Files in and out: embeddings, codes and weights in the formats in which other programs keep them."""
