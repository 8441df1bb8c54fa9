"""Settings that follow from the data and the machine, chosen once when a run begins."""

from adversaria.auto.choices import Auto, Choice, Picks, settle
from adversaria.auto.machine import Machine
from adversaria.auto.stylegan2 import StyleGAN2Auto

__all__ = ["Auto", "Choice", "Machine", "Picks", "StyleGAN2Auto", "settle"]
