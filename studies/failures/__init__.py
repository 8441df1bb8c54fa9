"""Runs that fail in a known way, and the detectors that have to name it."""
