"""Folders and archives as one tree of files."""
