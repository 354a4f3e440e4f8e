"""Retrieval: the four spaces, exact search over codes that may grow and shrink, and brute force over dense rows."""
