"""Latents for pictures that show what the codes of a generator mean."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from adversaria.nn.layers import Codes

#: how far pictures sweep a continuous code: twice as far as it is drawn in training, as in figure 2 of Chen et al. 2016
SWEEP = 2.0
#: random latents in a picture of a categorical code
ROWS = 10


def of_codes(codes: Codes, columns: int, draw: Callable[[int], Tensor]) -> dict[str, Tensor]:
    """Latents ``[R, C, latent_dim]`` of one picture for each code; within a row only that code changes.

    ``categorical_0`` and so on show 10 random latents, one in each row, with each category. ``continuous_0`` and so
    on sweep a code from -2 to 2 in ``columns`` steps; the rows differ in the first categorical code alone (without
    one they are 10 random latents).

    Args:
        codes: those at the end of a latent.
        columns: see above.
        draw: ``draw(n)`` gives latents ``[n, latent_dim]``.
    """
    base = draw(ROWS)  # [R, latent_dim]
    pictures = {}
    start = first = base.shape[1] - codes.dim
    for i, size in enumerate(codes.categorical):
        z = base[:, None].repeat(1, size, 1)  # [R, size, latent_dim]
        z[:, :, start : start + size] = torch.eye(size, device=z.device)
        pictures[f"categorical_{i}"] = z
        start += size
    rows = base
    if codes.categorical:
        size = codes.categorical[0]
        rows = base[:1].repeat(size, 1)
        rows[:, first : first + size] = torch.eye(size, device=base.device)
    for j in range(codes.continuous):
        z = rows[:, None].repeat(1, columns, 1)  # [R, C, latent_dim]
        z[:, :, start + j] = torch.linspace(-SWEEP, SWEEP, columns, device=z.device)
        pictures[f"continuous_{j}"] = z
    return pictures


def of_generators(index: Codes, codes: Codes, columns: int, draw: Callable[[int], Tensor]) -> dict[str, Tensor]:
    """``generators``: latents ``[number, columns, latent_dim]``, a generator a row, all else of a column alike.

    Args:
        index: that of the generator, the last categorical code of a latent.
        codes: all those at the end of a latent.
        columns: random latents.
        draw: ``draw(n)`` gives latents ``[n, latent_dim]``.
    """
    z = draw(columns)[None].repeat(index.dim, 1, 1)  # [number, columns, latent_dim]
    stop = z.shape[2] - codes.continuous
    z[:, :, stop - index.dim : stop] = torch.eye(index.dim, device=z.device)[:, None]
    return {"generators": z}
