"""Path length regularisation of a style-based generator."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.ranges import Count, Decay, Depth
from adversaria.core.ranks import sum_over_ranks
from adversaria.core.schedules import Weight
from adversaria.core.types import Network, Step
from adversaria.nn.layers import without_autocast
from adversaria.nn.network import as_generator


class PathLength(nn.Module):
    """E(||J^T y|| - a)^2: a step in w should change the image by the same length everywhere.

    Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 3.2 and appendix B: J is the
    Jacobian of the image with respect to w, y is an image of normal noise divided by the root of the number of pixels,
    and a is a running mean of the lengths ||J^T y||, a buffer. Where w comes once for each layer, the squared length is
    averaged over the layers, as in the authors' code. In float32 with autocast disabled.

    It needs a generator with a `adversaria.nn.network.Style`: ``mapping(z, labels) -> ws [N, L, W]`` and
    ``synthesis(ws) -> images``.

    Args:
        weight: 0 or more, or a ramp.
        interval: computed after every so many G steps, and then counted so many times.
        batch_shrink: the first ``1 / batch_shrink`` of the batch is used, one sample at least.
        decay: weight of the newest mean length in the running mean, in (0, 1].

    Raises:
        UserError: a number out of range.
    """

    applies_to: Network = "generator"
    uses_outputs = False
    mean: Tensor

    def __init__(
        self, *, weight: Weight = 2.0, interval: Count = 4, batch_shrink: Depth = 2, decay: Decay = 0.01
    ) -> None:
        super().__init__()
        for name, value, good, range_ in (
            ("weight", weight, not isinstance(weight, int | float) or weight >= 0, "0 or more"),
            ("interval", interval, interval >= 1, "1 or more"),
            ("batch_shrink", batch_shrink, batch_shrink >= 1, "1 or more"),
            ("decay", decay, 0 < decay <= 1, "above 0 and at most 1"),
        ):
            if not good:
                raise UserError(f"regulariser.path_length.{name}={value} is out of range: it must be {range_}")
        self.weight, self.interval = weight, interval
        self.batch_shrink, self.decay = batch_shrink, decay
        self.register_buffer("mean", torch.zeros(()))

    def check(self, system: Any) -> None:
        """Refuses a generator without mapping and synthesis network.

        Raises:
            UserError: the generator of ``system`` is no style-based one.
        """
        generator = system.generator
        if as_generator(generator).style is None:
            raise UserError(
                f"regulariser.path_length needs a generator with a mapping and a synthesis network, and "
                f"{type(generator).__name__} has none; choose generator=stylegan2 or leave the term out"
            )

    def forward(self, step: Step) -> Tensor:
        """A float32 scalar; moves the running mean."""
        lengths = self.lengths(step)
        # The newest mean takes part with its gradient, as in the authors' code.
        mean = torch.lerp(self.mean, lengths.mean(), self.decay)
        total, ranks = sum_over_ranks(torch.stack([mean.detach(), torch.ones_like(self.mean)]))
        self.mean.copy_(total / ranks)
        return (lengths - mean).square().mean()

    def lengths(self, step: Step) -> Tensor:
        """||J^T y|| of the first samples of the batch, ``[N / batch_shrink]``."""
        style = as_generator(step.generator).style
        assert style is not None
        n = max(1, len(step.latents) // self.batch_shrink)
        labels = None if step.fake_labels is None else step.fake_labels[:n]
        with torch.enable_grad(), without_autocast(step.latents.device):
            ws = style.mapping(step.latents[:n], labels)  # [n, L, W]
            images = style.synthesis(ws)  # [n, C, H, W]
            noise = torch.randn_like(images) / math.sqrt(images.shape[2] * images.shape[3])
            (gradient,) = torch.autograd.grad((images * noise).sum(), ws, create_graph=True)
            lengths: Tensor = gradient.square().sum(dim=2).mean(dim=1).sqrt()
        return lengths
