"""Between logged steps nothing is read from the device: every recipe, every augmentation and every regulariser.

Reading a value makes the host wait until the device has done all its work. On a CPU the operations that would do so are
counted; on a GPU PyTorch itself raises an error at them.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import config_of
from fitting import fitting
from lightning.pytorch.callbacks import Callback
from torch.utils._python_dispatch import TorchDispatchMode

from adversaria.config.plain import conf_dir
from adversaria.runs.folder import Run
from adversaria.training.experiment import build_experiment, make_trainer

SMALL = sorted(file.stem for file in (conf_dir() / "experiment").glob("*_small.yaml"))
#: recipes whose parts most others are made of
QUICK = ("acgan_small", "biggan_large_small", "dragan_small", "infogan_small")
#: what the recipes leave out
OTHERS = (
    ("model=vae", "~metrics.reconstruction"),
    ("model=vae_gan", "regulariser=r1", "regulariser.r1.interval=2", "~metrics.reconstruction"),
    ("model=mlp", "augment=ada", "regulariser=[lecam,balanced_consistency]"),
    ("model=sndcgan", "augment=diffaugment", "regulariser=[gradient_penalty,weight_decay]", "optim.accumulate=2"),
    ("model=stylegan2", "data.mirror=true"),
    ("model=r3gan",),
)
CASES = [
    *(
        pytest.param((f"experiment={name}",), id=name, marks=[] if name in QUICK else pytest.mark.slow)
        for name in SMALL
    ),
    *(pytest.param(case, id=" ".join(case)) for case in OTHERS),
]
#: operations whose result the host must have before it can go on
WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::_unique2"}
#: the step that is looked at: it is not logged, and the lazy terms are due
LOOKED_AT = 2


class Operations(TorchDispatchMode):
    """Counts those that wait, and all; what a kernel for a CPU reads by itself is not seen."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: Counter[str] = Counter()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.total += 1
        name = func._schema.name
        masked = name in ("aten::index", "aten::index_put_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if name in WAITING or masked:
            self.waiting[name] += 1
        return func(*args, **(kwargs or {}))


class Watch(Callback):
    """Counts the operations of one step; on a GPU PyTorch raises an error at one that waits."""

    def __init__(self) -> None:
        self.operations = Operations()

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        on_gpu = torch.cuda.is_available()
        if trainer.global_step == LOOKED_AT:
            if on_gpu:
                torch.cuda.set_sync_debug_mode("error")
            self.operations.__enter__()
        elif trainer.global_step == LOOKED_AT + 1:
            self.operations.__exit__(None, None, None)
            if on_gpu:
                torch.cuda.set_sync_debug_mode("default")


def waits(folder: Path, accelerator: str, *overrides: str, **callbacks: Callback) -> Counter[str]:
    """Which operations waited, and how often, while a run with ``overrides`` and all its callbacks trained."""
    given = [
        *overrides,
        "data=digits",
        "data.size=32",
        "data.batch_size=4",
        "metrics=none",
        "callbacks.samples.count=4",
    ]
    config = config_of(*given)
    lazy = [f"regulariser.{n}.interval=2" for n, part in config["regulariser"].items() if part.get("interval", 1) > 1]
    config = config_of(
        *given,
        *lazy,
        *fitting(config, width=8),
        f"trainer.accelerator={accelerator}",
        f"trainer.max_steps={LOOKED_AT + 2}",
        "trainer.log_every_n_steps=100",
        "callbacks.checkpoint.every_n_steps=100",
        "callbacks.samples.count=4",
        "~callbacks.progress",
        "logger=none",
    )
    experiment = build_experiment(config)
    watch = Watch()
    experiment.callbacks += [*callbacks.values(), watch]
    trainer = make_trainer(experiment, Run(folder), 0)
    try:
        trainer.fit(experiment.system, datamodule=experiment.data)
    finally:
        if torch.cuda.is_available():
            torch.cuda.set_sync_debug_mode("default")
    assert watch.operations.total > 50
    return watch.operations.waiting


@pytest.mark.parametrize("overrides", CASES)
def test_no_step_waits_for_the_device(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    assert waits(tmp_path, "gpu" if torch.cuda.is_available() else "cpu", *overrides) == {}


def test_a_callback_that_reads_is_found_out(tmp_path: Path) -> None:
    class Reads(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            if trainer.global_step > LOOKED_AT:
                float(next(pl_module.parameters()).detach().sum())

    if torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="synchroniz"):
            waits(tmp_path, "gpu", "model=mlp", reads=Reads())
    else:
        assert waits(tmp_path, "cpu", "model=mlp", reads=Reads()) == {"aten::_local_scalar_dense": 1}
