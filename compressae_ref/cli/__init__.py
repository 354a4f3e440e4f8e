"""The command ``compressae-ref``: one module for each command, and what they share."""
