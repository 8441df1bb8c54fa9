"""Gradients by depth: what a deep network does to them, predicted and measured."""
