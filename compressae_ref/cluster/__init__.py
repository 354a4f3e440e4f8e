"""Encode on a cluster: each worker writes parts of one folder of codes."""
