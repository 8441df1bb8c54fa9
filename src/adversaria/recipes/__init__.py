"""Settings that follow from the data and the machine, chosen once when a run begins."""

from adversaria.recipes.choices import Auto, Choice, Picks, settle
from adversaria.recipes.machine import Machine
from adversaria.recipes.stylegan2 import StyleGAN2Auto

__all__ = ["Auto", "Choice", "Machine", "Picks", "StyleGAN2Auto", "settle"]
