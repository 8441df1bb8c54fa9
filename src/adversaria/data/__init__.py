"""Data sets, and the one stream through which training sees them."""
