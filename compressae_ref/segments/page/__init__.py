"""The report about segments: one HTML file that opens from the disk, without a network."""
