"""How many of a thousand modes does a GAN cover?"""
