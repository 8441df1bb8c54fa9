"""What lies in a run folder, and how a checkpoint is written and read."""
