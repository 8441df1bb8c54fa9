"""What a public reference implementation computes: one file holds its weights, inputs and outputs.

Tensors ``g.*`` and ``d.*`` are the state dicts under the reference's own names, in eval mode; ``images [N, C, H, W]``
is G(z, labels) and ``z_grad`` the gradient of ``(images * images_cotangent).sum()``; ``logits [N, 1]`` is D(x, labels)
and ``x_grad`` the gradient of ``logits.sum()``; ``r1_per_sample [N]`` are its squared norms, ``r1_param_grad_norms``
the norms of the gradients of their mean with respect to D's parameters, which the metadata names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from safetensors import safe_open
from torch import Tensor, nn


@dataclass
class Record:
    """One file."""

    config: dict[str, Any]
    r1_param_names: list[str]
    tensors: dict[str, Tensor]

    @classmethod
    def read(cls, file: Path) -> Record:
        with safe_open(str(file), "pt") as opened:
            metadata = opened.metadata()
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
        return cls(json.loads(metadata["config"]), json.loads(metadata["r1_param_names"]), tensors)

    def state(self, network: str) -> dict[str, Tensor]:
        """The state dict of ``"g"`` or ``"d"`` under the reference's names."""
        return {k.removeprefix(f"{network}."): v for k, v in self.tensors.items() if k.startswith(f"{network}.")}


class Reference(Protocol):
    """A module beside this one: how to build ours from a record's config, and what the reference calls its tensors.

    ``state`` is always a reference's state dict; what the record's sizes do not say follows from the config.
    """

    def networks(self, record: Record) -> tuple[nn.Module, nn.Module]:
        """Our generator and discriminator of the record's sizes."""
        ...

    def generator_state(self, state: Mapping[str, Tensor], generator: nn.Module) -> dict[str, Tensor]:
        """Our generator's state dict; entries that are left out keep their value."""
        ...

    def discriminator_state(self, state: Mapping[str, Tensor], discriminator: nn.Module) -> dict[str, Tensor]:
        """Our discriminator's state dict; entries that are left out keep their value."""
        ...

    def discriminator_parameter(self, name: str, discriminator: nn.Module) -> str:
        """Our name of a parameter of D."""
        ...
