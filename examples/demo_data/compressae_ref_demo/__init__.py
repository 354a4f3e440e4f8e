"""Data that ``compressae_ref.demo_data`` reads; the text files beside them state source and licence."""
