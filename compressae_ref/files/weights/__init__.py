"""Read and write weights of PyTorch programs: the original code, sentence-transformers and SAELens."""
