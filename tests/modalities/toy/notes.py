"""Melodies: a modality with its data, networks and metric, as a user writes them outside the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adversaria.core.errors import UserError
from adversaria.core.modality import Drawn, Modality, Shown, Writer
from adversaria.core.ranges import Count, Seed, Width, Workers
from adversaria.core.types import DataSpec, DiscriminatorOutput, Draw
from adversaria.data.cache.store import content_hash
from adversaria.data.module import DataModule, Loaded
from adversaria.data.storage import Split, Storage
from adversaria.modalities.files import npz_writer


@dataclass(frozen=True)
class Notes(Modality):
    """Melodies stored as numbers of pitches, uint8 ``[N, L]``, and seen as shares of pitches, float ``[N, P, L]``."""

    pitches: str = "cdefgab"

    noun: ClassVar[str] = "melodies"
    value_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if len(set(self.pitches)) < len(self.pitches):
            raise UserError(f"pitches={self.pitches} names one twice; give each once")

    @property
    def writers(self) -> Mapping[str, Writer]:
        return {"txt": Writer(self._write, ".txt"), "npz": npz_writer("notes")}

    def decode(self, stored: Tensor) -> Tensor:
        return F.one_hot(stored.long(), len(self.pitches)).to(torch.get_default_dtype()).transpose(1, 2)

    def encode(self, samples: Tensor) -> Tensor:
        return samples.argmax(1).to(torch.uint8)

    def activation(self) -> nn.Module:
        return nn.Softmax(dim=1)

    def show(self, drawn: Drawn) -> Shown:
        """A piano roll, one melody after another from left to right, and the names of the notes."""
        stored = drawn.stored()
        roll = self.decode(stored).flip(1).transpose(0, 1).flatten(1)  # [P, N * L]
        picture = (255 * (1 - roll)).to(torch.uint8).repeat_interleave(4, 0).repeat_interleave(4, 1)
        return Shown(picture.expand(3, -1, -1), "\n".join(map(self.names, stored)))

    def names(self, melody: Tensor) -> str:
        return "".join(self.pitches[note] for note in melody.tolist())

    def _write(self, drawn: Drawn, out: Path) -> None:
        out.write_text("".join(f"{self.names(melody)}\n" for block in drawn.blocks for melody in block))


class Melodies(DataModule):
    """Scales that start anywhere and go up."""

    def __init__(
        self, *, name: str, batch_size: Count, storage: Storage, num_workers: Workers, seed: Seed, length: Width
    ) -> None:
        super().__init__(name=name, batch_size=batch_size, storage=storage, num_workers=num_workers, seed=seed)
        self.length = length

    def load(self) -> Loaded:
        modality = Notes()
        starts = np.random.default_rng(0).integers(len(modality.pitches), size=(200, 1))
        melodies = ((starts + np.arange(self.length)) % len(modality.pitches)).astype(np.uint8)
        splits = {"train": Split(melodies[:150], None), "test": Split(melodies[150:], None)}
        identities: dict[str, dict[str, str | int]] = {
            which: {"dataset": self.name, "split": which, "content": content_hash(split.samples, None)}
            for which, split in splits.items()
        }
        return Loaded(DataSpec((len(modality.pitches), self.length), None, modality), splits, identities)


class MelodyGenerator(nn.Module):
    def __init__(self, *, spec: DataSpec, latent_dim: Width = 4) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, spec.shape[0] * spec.shape[1]),
            nn.Unflatten(1, spec.shape),
            spec.modality.activation(),
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        samples: Tensor = self.layers(z)
        return samples


class MelodyDiscriminator(nn.Module):
    def __init__(self, *, spec: DataSpec) -> None:
        super().__init__()
        self.layer = nn.Conv1d(spec.shape[0], 8, 3)
        self.head = nn.Linear(8 * (spec.shape[1] - 2), 1)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        return DiscriminatorOutput(self.head(self.layer(x).relu().flatten(1)).squeeze(1))


class Steps:
    """The share of notes that are not one step above the note before."""

    monitor = "wrong_steps"
    mode: Literal["min", "max"] = "min"

    def __init__(self, *, count: Count = 64) -> None:
        self.count = count
        self._data: Any = None

    def prepare(self, data: DataModule, device: torch.device) -> None:
        self._data = data

    def evaluate(self, draw: Draw, device: torch.device) -> dict[str, float]:
        modality: Notes = self._data.spec.modality
        melodies = modality.encode(draw(0, self.count).samples).long()
        wrong = (melodies[:, :-1] + 1) % len(modality.pitches) != melodies[:, 1:]
        return {"wrong_steps": float(wrong.float().mean())}

    def fingerprint(self) -> dict[str, str | int | float | bool]:
        return {"fakes": self.count, **self._data.identity("train")}
