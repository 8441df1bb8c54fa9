"""Latents that are given and not drawn: the spaces that they lie in, what a sampler makes of them, and their file."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adversaria.core.arrays import read_member, stated_bytes
from adversaria.core.errors import UserError
from adversaria.core.files import replacing
from adversaria.core.machine import memory_limit
from adversaria.core.text import shown
from adversaria.nn.inputs import LatentInputs
from adversaria.nn.network import Style, as_generator
from adversaria.sampling.draw import Draw, dtype_of

if TYPE_CHECKING:
    from adversaria.sampling.sampler import Sampler

#: z, what the prior draws; or w, the style of all layers of a style-based generator
SpaceName: TypeAlias = Literal["z", "w"]
#: latents of which mean and deviation of a space are taken
_STATISTICS = 1024


@dataclass(frozen=True)
class Latents:
    """Latents that are known, such as those of pictures.

    Attributes:
        values: float32 ``[N, D]`` on the CPU, D being the length of the space's latents.
        space: where they lie.
        labels: int64 ``[N]``, the class of each; None for an unconditional model.
    """

    values: Tensor
    space: SpaceName
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values)

    def at(self, numbers: Tensor) -> Latents:
        """Those with these ``numbers [n]``."""
        return replace(self, values=self.values[numbers], labels=None if self.labels is None else self.labels[numbers])

    def labelled(self, labels: Sequence[int] | None) -> Latents:
        """The same with ``labels``, which are taken in turn; None leaves their own."""
        if labels is None:
            return self
        return replace(self, labels=torch.tensor(list(labels))[torch.arange(len(self)) % len(labels)])

    def digest(self) -> str:
        """Eight letters that other latents, or others in another order, do not have."""
        parts = (self.values, self.labels) if self.labels is not None else (self.values,)
        return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()[:8]

    def save(self, path: Path) -> None:
        """Writes an .npz with ``latents [N, D]``, ``space`` and, of a conditional model, ``labels [N]``."""
        arrays = {"latents": self.values.numpy(), "space": np.array(self.space)}
        if self.labels is not None:
            arrays["labels"] = self.labels.numpy()
        with replacing(path) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]


def read_latents(path: str | Path) -> Latents:
    """What `Latents.save` wrote, or an .npz of one's own with an array ``latents [N, D]`` of z.

    Nothing in the file is executed, and no more memory is taken than the file says it holds.

    Raises:
        UserError: it is missing, damaged, or holds no latents.
    """
    where = f"latents={shown(path)}"
    try:
        with zipfile.ZipFile(Path(path).expanduser()) as archive:
            stored = {info.filename: info for info in archive.infolist()}
            found = {name: stored[f"{name}.npy"] for name in ("latents", "space", "labels") if f"{name}.npy" in stored}
            if sum(stated_bytes(archive, info) for info in found.values()) > memory_limit() // 2:
                raise UserError(f"{where} unpacks to more than half of the memory: give fewer latents")
            arrays = {name: read_member(archive, info) for name, info in found.items()}
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{where} does not exist: give a file that python invert.py has written") from error
    except Exception as error:  # whatever zipfile, its decompressors and NumPy make of damaged bytes
        raise UserError(f"{where} is damaged or no .npz file ({shown(error)}): write it again") from error
    return _checked(arrays, where)


def _checked(arrays: Mapping[str, NDArray[Any]], where: str) -> Latents:
    values, space, labels = arrays.get("latents"), str(arrays.get("space", "z")), arrays.get("labels")
    if values is None or values.ndim != 2 or values.dtype.kind != "f" or not values.size:
        what = (
            "no array latents" if values is None else f"latents of shape {list(values.shape)} and type {values.dtype}"
        )
        raise UserError(f"{where} holds {what}: save floats [N, D] with numpy.savez(latents=...)")
    if not np.isfinite(values).all() or np.abs(values).max() > np.finfo(np.float32).max:
        raise UserError(f"{where} holds latents that are NaN or infinite: write it again")
    if space not in ("z", "w"):
        raise UserError(f"{where} holds latents of the space {shown(space)}: it is z or w")
    if labels is not None and (labels.shape != values.shape[:1] or labels.dtype.kind not in "iu"):
        raise UserError(f"{where} holds labels of shape {list(labels.shape)}: give one number for each latent")
    return Latents(
        torch.from_numpy(values.astype(np.float32)),
        "w" if space == "w" else "z",
        None if labels is None else torch.from_numpy(labels.astype(np.int64)),
    )


class GivenInputs:
    """Latents by number, as `adversaria.nn.inputs.Inputs`; beyond the last they begin again."""

    def __init__(self, latents: Latents) -> None:
        self.latents = latents
        self.options: Mapping[str, Any] = {}

    def __call__(self, start: int, stop: int) -> tuple[Tensor, Tensor | None]:
        """``values [stop - start, D]`` and labels ``[stop - start]`` or None, on the CPU."""
        part = self.latents.at(torch.arange(start, stop) % len(self.latents))
        return part.values, part.labels


class Space:
    """One of the spaces in which a sampler's latents lie.

    Attributes:
        name: of the space.
        network: ``network(values [N, dim], labels) -> samples [N, *spec.shape]``.
        dim: length of its latents.
        free: how many of their numbers may take any value; codes behind the noise of z are none of them.

    Args:
        sampler: the model.
        name: which; None: w where the generator is style-based, else z.

    Raises:
        UserError: the model has no latents, or no such space.
    """

    def __init__(self, sampler: Sampler, name: SpaceName | None = None) -> None:
        if sampler.translates:
            raise UserError("this model edits what it is given and has no latents of pictures; take one that draws")
        self._sampler, self._dtype = sampler, dtype_of(sampler.network)
        self.style: Style | None = as_generator(sampler.network).style
        self.name: SpaceName = name or ("z" if self.style is None else "w")
        self.network: nn.Module = sampler.network
        self.dim, self.free = sampler.prior.latent_dim, sampler.prior.noise_dim
        if self.name == "w":
            if self.style is None:
                raise UserError("space=w is for style-based generators, and this one maps z alone: take space=z")
            styles = self.values(torch.zeros(1, self.dim), self.first_label(1))
            self.network = _OfStyles(sampler.network, self.style, self._count)
            self.dim = self.free = styles.shape[1]

    def samples(self, values: Tensor, labels: Tensor | None) -> Tensor:
        """float32 ``[N, *spec.shape]`` of ``values [N, dim]`` and ``labels [N]``, both on the sampler's device.

        Gradients reach the values.
        """
        samples: Tensor = self.network(values.to(self._dtype), labels)
        return samples.float()

    def values(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """What ``z [N, latent_dim]`` with ``labels [N]`` are in this space, ``[N, dim]`` on the sampler's device."""
        z = z.to(self._sampler.device, self._dtype)
        if self.name == "z":
            return z
        assert self.style is not None
        with torch.no_grad():
            ws = self.style.mapping(z, labels if labels is None else labels.to(z.device))  # [N, L, dim]
        self._count = ws.shape[1]
        return ws[:, 0]

    def drawn(self, count: int, *, seed: int, labels: Sequence[int] | None) -> Tensor:
        """``[count, dim]``, of the prior's latents with ``labels`` in turn."""
        z, y = LatentInputs(self._sampler.prior, seed=seed, labels=labels)(0, count)
        return self.values(z, y)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the free numbers of what the prior draws, ``[free]`` each."""
        drawn = self.drawn(_STATISTICS, seed=0, labels=self._sampler.labels())[:, : self.free]
        return drawn.mean(dim=0), drawn.std(dim=0, correction=0).clamp(min=1e-6)

    def deviation_along(self, direction: Tensor) -> float:
        """The standard deviation of what the prior draws along a unit vector ``[dim]``."""
        drawn = self.drawn(_STATISTICS, seed=0, labels=self._sampler.labels())
        return float((drawn @ direction.to(drawn)).std(correction=0))

    def draw(self, latents: Latents) -> Draw:
        """The samples of ``latents``, by number.

        Raises:
            UserError: they are of another length, or their labels are no classes of the model.
        """
        if latents.values.shape[1] != self.dim:
            raise UserError(
                f"the latents that are given have {latents.values.shape[1]} numbers each, and those of this model in "
                f"{self.name} have {self.dim}: they are of another model"
            )
        if self._sampler.conditional != (latents.labels is not None):
            said = "need labels: add labels=..." if self._sampler.conditional else "have labels, and it takes none"
            raise UserError(f"the latents that are given {said}")
        if latents.labels is not None:
            self._sampler.labels([int(label) for label in latents.labels.unique()])  # type: ignore[no-untyped-call]
        return Draw(self.network, self._sampler.device, GivenInputs(latents))

    def first_labels(self) -> list[int] | None:
        """The model's first class alone; None for an unconditional model."""
        labels = self._sampler.labels()
        return None if labels is None else labels[:1]

    def first_label(self, count: int) -> Tensor | None:
        """The same as a tensor ``[count]`` on the sampler's device."""
        labels = self.first_labels()
        return None if labels is None else torch.tensor(labels * count, device=self._sampler.device)


class _OfStyles(nn.Module):
    """The synthesis half of a style-based generator, with one style ``[N, dim]`` for all of its layers."""

    def __init__(self, network: nn.Module, style: Style, layers: int) -> None:
        super().__init__()
        self.network, self._style, self._layers = network, style, layers

    def forward(self, w: Tensor, labels: Tensor | None = None) -> Tensor:
        samples: Tensor = self._style.synthesis(w[:, None].expand(-1, self._layers, -1))
        return samples
