"""What several architectures share."""

from adversaria.layers.batch_norm import frozen_statistics, mixes_samples
from adversaria.layers.checks import output_activation, require_positive, square_image
from adversaria.layers.labels import append_labels, label_embedding
from adversaria.layers.latent import normal_latent
from adversaria.layers.precision import at_least_float32, without_autocast
from adversaria.layers.spectral_norm import spectral_norm

__all__ = [
    "append_labels",
    "at_least_float32",
    "frozen_statistics",
    "label_embedding",
    "mixes_samples",
    "normal_latent",
    "output_activation",
    "require_positive",
    "spectral_norm",
    "square_image",
    "without_autocast",
]
