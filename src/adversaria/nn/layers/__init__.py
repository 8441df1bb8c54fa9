"""What several architectures share."""

from adversaria.nn.layers.activations import ACTIVATIONS, activation_layer
from adversaria.nn.layers.attention import SelfAttention2d
from adversaria.nn.layers.batch_norm import frozen_statistics, mixes_samples, standing_statistics
from adversaria.nn.layers.checks import choose, output_activation, require_positive, square_image
from adversaria.nn.layers.codes import Codes
from adversaria.nn.layers.conditional_batch_norm import ConditionalBatchNorm, ConditionalBatchNorm2d
from adversaria.nn.layers.convolutions import (
    CONVOLUTIONS,
    TRANSPOSED,
    PlainBlock,
    ResidualBlock,
    SeparableConv2d,
    SeparableConvTranspose2d,
)
from adversaria.nn.layers.initialisation import INITS, initialise
from adversaria.nn.layers.labels import append_labels, check_labels, class_count, label_arguments, label_embedding
from adversaria.nn.layers.norms import has_bias, norm_layers
from adversaria.nn.layers.precision import at_least_float32, without_autocast
from adversaria.nn.layers.spectral_norm import spectral_norm

__all__ = [
    "ACTIVATIONS",
    "CONVOLUTIONS",
    "INITS",
    "TRANSPOSED",
    "Codes",
    "ConditionalBatchNorm",
    "ConditionalBatchNorm2d",
    "PlainBlock",
    "ResidualBlock",
    "SelfAttention2d",
    "SeparableConv2d",
    "SeparableConvTranspose2d",
    "activation_layer",
    "append_labels",
    "at_least_float32",
    "check_labels",
    "choose",
    "class_count",
    "frozen_statistics",
    "has_bias",
    "initialise",
    "label_arguments",
    "label_embedding",
    "mixes_samples",
    "norm_layers",
    "output_activation",
    "require_positive",
    "spectral_norm",
    "square_image",
    "standing_statistics",
    "without_autocast",
]
