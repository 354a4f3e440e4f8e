"""The command line ``compressae-ref``: one module for each command, and the code that they share."""
