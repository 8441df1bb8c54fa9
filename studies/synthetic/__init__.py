"""Ways to train on mixtures of Gaussians, whose modes are known."""
