"""What is trained: networks, their optimizers and their training step."""
