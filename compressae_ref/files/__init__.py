"""Files: models, codes, packed codes and indexes of this package, and the formats of others."""
