"""Pictures of translations: what was given, what was made of it, and the answer where it is known."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from adversaria.core.modality import Drawn, Shown
from adversaria.core.types import DataSpec


def show_edits(spec: DataSpec, given: Tensor, made: Tensor, answers: Tensor | None = None) -> Shown:
    """Side by side where all of it are images of one size; else one picture below the other.

    Args:
        spec: of the samples, with their condition.
        given: conditions ``[N, *spec.condition.shape]``, as the networks see them.
        made: samples ``[N, *spec.shape]``, as the networks make them.
        answers: the true ones, likewise; None: not known.
    """
    assert spec.condition is not None
    known = [("given", spec.condition, given), ("made", spec, made)]
    if answers is not None:
        known.append(("answer", spec, answers))
    stored = {name: (of, of.modality.encode(samples.detach()).cpu()) for name, of, samples in known}
    images = [of.modality.as_image(samples) for of, samples in stored.values()]
    shapes = {None if image is None else tuple(image.shape[2:]) for image in images}
    if len(shapes) == 1 and None not in shapes:
        in_colour = [image.expand(-1, 3, -1, -1) for image in images if image is not None]
        times = max(1, round(math.sqrt(len(given) / len(stored))))  # how many of them in a row
        rows = torch.stack(in_colour, dim=1).flatten(0, 1)  # [N * 3, 3, H, W]
        columns = len(stored) * times
        drawn = Drawn(len(rows), [rows], columns=columns, captions=[*stored] * times)
        return spec.modality.show(drawn)
    return _stacked([of.modality.show(Drawn(len(samples), [samples])) for of, samples in stored.values()])


def _stacked(pictures: list[Shown]) -> Shown:
    """One below the other, on white, and their texts likewise."""
    width = max(shown.picture.shape[2] for shown in pictures)
    padded = [
        torch.nn.functional.pad(shown.picture, (0, width - shown.picture.shape[2]), value=255) for shown in pictures
    ]
    texts = [shown.text for shown in pictures if shown.text is not None]
    return Shown(torch.cat(padded, dim=1), "\n\n".join(texts) or None)
