"""One run from its config to its result: the trainer and what happens beside the training step."""
