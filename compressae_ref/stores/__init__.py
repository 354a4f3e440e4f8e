"""Vector databases: read dense vectors from one, write their codes beside them, and query both."""
