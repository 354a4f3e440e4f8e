"""Codes read as segments: groups of items that can be named, compared and followed over time (spec/segments.md)."""
