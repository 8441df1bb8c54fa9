"""What a sample is: how it is stored, seen by networks, shown and written."""

from adversaria.modalities.image import Image
from adversaria.modalities.points import Points

__all__ = ["Image", "Points"]
