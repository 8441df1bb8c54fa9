"""What D and G minimise: losses, terms, constraints, reparametrisations, and the augmentation of what D sees."""
