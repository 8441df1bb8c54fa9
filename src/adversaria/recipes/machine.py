"""What a run has at its disposal."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from adversaria.core.machine import cores


@dataclass(frozen=True)
class Machine:
    """The devices of a run; all are taken to be alike.

    Attributes:
        gpu: name of the GPU; None: the run is on the CPU.
        memory: bytes of one device.
        devices: how many train together, over all nodes.
        cores: that this process may use.
    """

    gpu: str | None
    memory: int
    devices: int
    cores: int

    @classmethod
    def of(cls, trainer: Mapping[str, Any]) -> Machine:
        """The machine as the config's ``trainer`` uses it."""
        available = cores()
        on_gpu = trainer["accelerator"] in ("auto", "gpu", "cuda") and torch.cuda.is_available()
        present = torch.cuda.device_count() if on_gpu else 1
        devices = _count(trainer["devices"], present) * int(trainer.get("num_nodes", 1))
        if on_gpu:
            properties = torch.cuda.get_device_properties(0)
            return cls(properties.name, properties.total_memory, devices, available)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return cls(None, memory // devices, devices, max(1, available // devices))

    def __str__(self) -> str:
        """In a few words, for messages."""
        of_one = f"{self.gpu} with {self.memory / 2**30:.0f} GiB" if self.gpu else f"{self.cores} CPU cores"
        return of_one if self.devices == 1 else f"{self.devices} times {of_one}"


def _count(devices: int | str | list[int], present: int) -> int:
    """How many devices Lightning's ``devices`` stands for, where ``present`` are there."""
    if isinstance(devices, list):
        return max(1, len(devices))
    number = -1 if devices == "auto" else int(devices)
    return present if number == -1 else max(1, number)
