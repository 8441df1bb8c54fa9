"""Two processes train alike with our exchange of gradients and with PyTorch's; then a signal reaches one of them.

Started by torchrun from `test_ddp.py`; the first process prints what it found as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from conftest import config_of
from lightning.pytorch.callbacks import Callback

from adversaria.runs.folder import Run
from adversaria.training.experiment import build_experiment, train

TINY = (
    "model=mlp",
    "data=ring8",
    "data.count=1000",
    "data.batch_size=16",
    "model.generator.width=8",
    "model.discriminator.width=8",
)
POINTS = (
    *TINY,
    "metrics=none",
    "logger=none",
    "trainer=ddp",
    "trainer.accelerator=cpu",
    "trainer.precision=64-true",
    "~callbacks.health",
    "~callbacks.guard",
    "~callbacks.samples",
)
REGULARISED = ("optim.n_critic=2", "regulariser=r1", "regulariser.r1.interval=3", "trainer.max_steps=6")
IN_PARTS = (*REGULARISED, "optim.accumulate=2")
THEIRS = "trainer.strategy=ddp_find_unused_parameters_true"


class SignalOne(Callback):
    """SIGUSR1 for the second process at its third update."""

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 3 and trainer.global_rank == 1:
            os.kill(os.getpid(), signal.SIGUSR1)


def trained(folder: Path, *overrides: str, callbacks: tuple[Callback, ...] = ()) -> tuple[dict[str, Any], Any]:
    """The result of a run, and its networks."""
    experiment = build_experiment(config_of(*POINTS, *overrides))
    experiment.callbacks.extend(callbacks)
    return train(experiment, Run(folder)), experiment.system


def values_of(one: Any, other: Any) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    """Pairs of equal name in two systems."""
    return zip(one.state_dict().values(), other.state_dict().values(), strict=True)


def main(folder: Path) -> None:
    """Prints the findings."""
    sizes: list[int] = []
    original = dist.all_reduce

    def counted(tensor: torch.Tensor, *rest: Any, **options: Any) -> Any:
        sizes.append(tensor.numel())
        return original(tensor, *rest, **options)

    dist.all_reduce = counted
    _, ours = trained(folder / "ours", *IN_PARTS)
    dist.all_reduce = original
    _, theirs = trained(folder / "theirs", *IN_PARTS, THEIRS)
    (_, whole), (_, theirs_whole) = trained(folder / "a", *REGULARISED), trained(folder / "b", *REGULARISED, THEIRS)
    result, _ = trained(folder / "stopped", "trainer.max_steps=30", callbacks=(SignalOne(),))
    found = {
        "equal": all(torch.equal(one, other) for one, other in values_of(whole, theirs_whole)),
        "close": all(torch.allclose(one, other, rtol=1e-9, atol=1e-12) for one, other in values_of(ours, theirs)),
        "sizes": sizes,
        "generator": sum(p.numel() for p in ours.generator.parameters()),
        "discriminator": sum(p.numel() for p in ours.discriminator.parameters()),
        "stopped": [result["status"], result["stopped_by"], result["generator_updates"]],
    }
    if os.environ["RANK"] == "0":
        print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
