"""What a device can do, how much of it a training loop asks for, and where its time goes."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from plain import Loop, Means
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from turns import clock

from adversaria.training.experiment import Experiment

#: operations of a CPU and kernels of a GPU that multiply matrices
MATRIX = re.compile(r"gemm|conv|cutlass|xmma|nvjet|wgrad|dgrad|fmha|flash|::(add|b|badd|s)?mm$", re.IGNORECASE)
#: the sides of the matrices whose product is timed: large enough that neither launches nor memory matter
SIDES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}


@contextmanager
def _as_convolutions() -> Iterator[None]:
    """Float32 products may use TF32 where convolutions do, which is PyTorch's default on GPUs that have it."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def ceiling(device: torch.device, dtype: torch.dtype, seconds: float = 1.0) -> float:
    """The most floating-point operations per second of a product of square matrices, measured for ``seconds``."""
    best = 0.0
    sides = SIDES[device.type]
    for side in sides:
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        rates: list[float] = []
        with _as_convolutions():
            began = clock()
            while len(rates) < 3 or clock() - began < seconds / len(sides):
                count = 1 if device.type == "cpu" else 20
                start = clock()
                for _ in range(count):
                    a @ b
                rates.append(2 * side**3 * count / (clock() - start))
        best = max(best, statistics.median(sorted(rates)[len(rates) // 2 :]))  # what others took is not the device's
    return best


def flops_per_update(experiment: Experiment, device: torch.device, period: int) -> float:
    """Of one generator update with all its D steps, forward and backward, as the mean over ``period`` updates.

    Matrix products, convolutions and attention are counted, a multiply-add as two. What the recipe does not need, such
    as gradients of D's weights in the G step, is left out.
    """
    loop = Loop(experiment, device, Means.all(bf16=False))
    counter = Flops()
    with counter:
        loop.run(period)
    return counter.total / period


class Flops(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what PyTorch's formulas say of each operation.

    `torch.utils.flop_counter.FlopCounterMode` has these formulas too, but its hooks on modules cannot stand gradient
    penalties, which call `torch.autograd.grad` inside the forward pass.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operation and counts it."""
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


class Shares(Callback):
    """Profiles some updates, then ends the training: what share of the time goes where.

    ``matrix``: convolutions and matrix products. ``memory``: all other operations of the device, nearly all of which
    move more bytes than they compute. ``gaps``: the device (on a CPU: every operation of PyTorch) does nothing, it
    waits for Python and for launches. The profiler slows launches, so that ``gaps`` is an upper bound.

    Args:
        period: updates are a multiple of it.
        ready: whether to begin.
    """

    def __init__(self, period: int, ready: Any) -> None:
        self.steps, self.ready = period * -(-4 // period), ready
        self.shares: dict[str, float] = {}
        self._profiler: Any = None
        self._until = 0

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Begins when it may, and stops the trainer at the end."""
        if self._profiler is None and self.ready():
            activities = [torch.profiler.ProfilerActivity.CPU]
            if torch.cuda.is_available():
                activities.append(torch.profiler.ProfilerActivity.CUDA)
            self._profiler = torch.profiler.profile(activities=activities)
            self._profiler.start()
            self._began, self._until = clock(), trainer.global_step + self.steps
        elif self._profiler is not None and trainer.global_step == self._until:
            wall = clock() - self._began
            self._profiler.stop()
            self.shares = shares(self._profiler.key_averages(), wall)
            trainer.should_stop = True


def shares(events: Any, wall: float) -> dict[str, float]:
    """The shares of ``wall`` seconds; ``events`` are the averages of a profiler."""
    on_gpu = any(event.device_type == DeviceType.CUDA for event in events)
    matrix = memory = 0.0
    for event in events:
        if on_gpu:
            counts = event.device_type == DeviceType.CUDA and not event.is_user_annotation
            seconds = event.self_device_time_total / 1e6
        else:
            counts = event.key.startswith(("aten::", "mkldnn::", "inductor::"))
            seconds = event.self_cpu_time_total / 1e6
        if counts and MATRIX.search(event.key):
            matrix += seconds
        elif counts:
            memory += seconds
    wall = max(wall, matrix + memory)
    return {"matrix": matrix / wall, "memory": memory / wall, "gaps": 1 - (matrix + memory) / wall}


def bound(shares: dict[str, float]) -> str:
    """In words what the largest share of the time goes to."""
    words = {"matrix": "matrix products", "memory": "memory", "gaps": "launches"}
    largest = max(shares, key=lambda name: shares[name])
    return f"{words[largest]} ({' / '.join(f'{shares[name]:.0%}' for name in ('matrix', 'memory', 'gaps'))})"
