"""The Dirac-GAN (Mescheder et al. 2018): the smallest GAN there is, in theory and in training."""
