"""Measure what compression costs: recall, nDCG and bytes of codes and of other ways to store vectors."""
