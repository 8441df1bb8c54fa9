"""The architectures: one file each, generator and discriminator together."""
