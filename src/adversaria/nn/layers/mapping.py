"""From latents and labels to intermediate latents (Karras et al. 2019, "A Style-Based Generator Architecture for
Generative Adversarial Networks", section 2), conditioned as in the code of "Training Generative Adversarial Networks
with Limited Data" (Karras et al. 2020).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from adversaria.core.types import DataSpec
from adversaria.nn.layers.equalised import LEAKY_RELU_GAIN, EqualisedLinear, leaky_relu, unit_second_moment
from adversaria.nn.layers.labels import append_labels, label_embedding

LR_MULTIPLIER = 0.01


class LabelCode(nn.Module):
    """A learned linear map of the one-hot label, of equalised learning rate, divided by its root mean square.

    Args:
        spec: of the data.
        dim: length E of the code.

    Raises:
        UserError: the data has no labels.
    """

    def __init__(self, spec: DataSpec, dim: int) -> None:
        super().__init__()
        self.embedding = label_embedding(spec, dim)
        self.bias = nn.Parameter(torch.zeros(dim))
        self.dim, self.gain = dim, 1 / math.sqrt(self.embedding.num_embeddings)

    def forward(self, labels: Tensor) -> Tensor:
        """``[N]`` int64 -> ``[N, E]`` float32."""
        return unit_second_moment(self.embedding(labels) * self.gain + self.bias)


class MappingNetwork(nn.Module):
    """Fully connected layers from z and the label's code to w, the same for each of the ``num_ws`` layers it styles.

    In float32 under autocast as well.

    Args:
        latent_dim: length of z; 0 for a network that is given labels alone.
        style_dim: length of w.
        layers: how many.
        labels: codes of labels, if conditional.
        num_ws: how many layers of the synthesis network take a w.
    """

    def __init__(
        self, latent_dim: int, style_dim: int, *, layers: int, labels: LabelCode | None, num_ws: int = 1
    ) -> None:
        super().__init__()
        self.num_ws = num_ws
        self.labels = labels
        widths = [latent_dim + (0 if labels is None else labels.dim), *[style_dim] * layers]
        self.layers = nn.ModuleList(
            EqualisedLinear(a, b, lr_multiplier=LR_MULTIPLIER, gain=LEAKY_RELU_GAIN) for a, b in pairwise(widths)
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """``z [N, latent_dim]``, ``labels [N]`` if conditional -> ``[N, num_ws, style_dim]``."""
        h = append_labels(unit_second_moment(z), labels, self.labels)  # [N, latent_dim + E]
        for layer in self.layers:
            h = leaky_relu(layer(h))
        return h[:, None].expand(-1, self.num_ws, -1)
