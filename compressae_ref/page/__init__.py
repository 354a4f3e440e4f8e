"""HTML pages: one file each that opens from the disk, without a network. Style, script and markup of all pages."""
