"""Samples of a trained network: drawn here, or from a checkpoint."""
