"""Weights to and from PyTorch programs: the original's, sentence-transformers' sparse module and SAELens' AbsTopK."""
