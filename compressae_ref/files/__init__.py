"""Files of models, codes and packed codes of this package, and files in the formats of other programs."""
