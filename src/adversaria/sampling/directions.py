"""Directions in a space of latents along which samples change in one way."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.types import BLOCK
from adversaria.sampling.latents import Latents, Space


def by_labels(values: Tensor, labels: Tensor) -> Mapping[int, Tensor]:
    """For each class the direction that leads from the others to it: the normal of a logistic regression's boundary.

    Shen et al. 2020, "Interpreting the Latent Space of GANs for Semantic Face Editing", section 3.1, with a logistic
    regression in place of a support vector machine.

    Args:
        values: latents ``[N, D]``.
        labels: the class of each, ``[N]``.

    Returns:
        Unit vectors ``[D]`` by the class; of two classes the second one's alone, for the other is its opposite.

    Raises:
        UserError: all latents are of one class.
    """
    from sklearn.linear_model import LogisticRegression

    classes = [int(label) for label in labels.unique()]  # type: ignore[no-untyped-call]
    if len(classes) < 2:
        raise UserError(
            "a direction by labels leads from one class to another, and these latents are all of one: give some of two"
        )
    deviation = values.std(dim=0, correction=0).clamp(min=1e-6)
    scaled = ((values - values.mean(dim=0)) / deviation).double().numpy()
    found = {}
    for label in classes[1:] if len(classes) == 2 else classes:
        model = LogisticRegression(max_iter=1000, class_weight="balanced").fit(scaled, (labels == label).numpy())
        normal = torch.from_numpy(np.asarray(model.coef_[0])).float() / deviation
        found[label] = nn.functional.normalize(normal, dim=0)
    return found


def without_labels(space: Space, count: int) -> Tensor:
    """The directions along which the first layer's outputs change most, "SeFa".

    Shen & Zhou 2021, "Closed-Form Factorization of Latent Semantics in GANs", equation 5: the eigenvectors of ``A^T A``
    with the largest eigenvalues, A being the weights of what the latents enter first. In w that is every layer which
    takes the style, one below the other.

    Args:
        space: of the latents.
        count: how many directions; there are no more than the latents have numbers.

    Returns:
        Unit vectors ``[count, dim]``, float32 on the CPU, the one of the largest eigenvalue first.

    Raises:
        UserError: no layer takes the latents by a matrix.
    """
    weight = first_weight(space)  # [outputs, dim]
    _, vectors = torch.linalg.eigh(weight.T @ weight)
    largest = vectors.T.flip(0)[: min(count, space.free)]
    # The sign is chance: the largest number of a vector is positive here.
    signs = largest.gather(1, largest.abs().argmax(dim=1, keepdim=True)).sign()
    found: Tensor = (largest * signs).float()
    return found


def first_weight(space: Space) -> Tensor:
    """A of `without_labels`: float64 ``[outputs, dim]`` on the CPU, 0 where a number enters no such layer first.

    A layer is known by what it is called with: an input ``[N, ...]`` that begins with the latents.

    Raises:
        UserError: there is none.
    """
    latents = space.drawn(BLOCK, seed=0, labels=space.first_labels())[:2]
    found: list[Tensor] = []

    def look(layer: nn.Module, inputs: tuple[object, ...]) -> None:
        x, weight = inputs[0] if inputs else None, layer.weight
        assert isinstance(weight, Tensor)
        if not isinstance(x, Tensor) or x.shape[:1] != latents.shape[:1] or x.ndim != 2:
            return
        width = min(x.shape[1], weight.shape[1], space.free)
        if width and torch.equal(x[:, :width].to(latents), latents[:, :width]):
            matrix = torch.zeros(len(weight), space.dim, dtype=torch.float64)
            matrix[:, :width] = weight[:, :width].detach().double().cpu()
            found.append(matrix)

    # Layers of a user's own may have a matrix, too.
    layers = [m for m in space.network.modules() if isinstance(getattr(m, "weight", None), Tensor)]
    hooks = [m.register_forward_pre_hook(look) for m in layers if m.weight.ndim == 2]
    try:
        with torch.no_grad():
            space.samples(latents, space.first_label(len(latents)))
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise UserError(
            "directions=sefa needs a matrix by which latents enter the generator, and this one has none; leave it out"
        )
    return torch.cat(found if space.name == "w" else found[:1])


def moved(latents: Latents, direction: Tensor, reach: float, steps: int) -> Latents:
    """Each latent at ``steps`` places from ``-reach`` to ``reach`` along a unit vector ``[D]``, one after the other."""
    places = torch.linspace(-reach, reach, steps)
    rows = torch.arange(len(latents)).repeat_interleave(steps)
    there = latents.at(rows)
    return Latents(there.values + places.repeat(len(latents))[:, None] * direction, there.space, there.labels)
