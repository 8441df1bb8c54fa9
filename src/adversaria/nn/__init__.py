"""Layers, networks and what encloses them, and the distributions of latents."""
