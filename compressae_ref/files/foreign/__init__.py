"""Read and write embeddings and codes in the formats of other programs."""
