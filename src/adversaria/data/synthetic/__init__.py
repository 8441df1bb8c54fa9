"""Data drawn from known distributions."""
