"""Encoding more rows than one machine should: parts of a folder, made by the workers of a cluster."""
