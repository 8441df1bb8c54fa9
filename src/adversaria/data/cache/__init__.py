"""The cache of decoded data on disk."""
