"""What a sample is: how it is stored, seen by networks, and shown."""
