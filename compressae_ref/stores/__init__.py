"""Vector databases: read dense vectors from one, write their codes beside them, ask for both."""
