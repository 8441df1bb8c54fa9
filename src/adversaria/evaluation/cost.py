"""What a trained model costs: parameters, arithmetic, time for a sample, memory."""

from __future__ import annotations

import contextlib
import logging
import math
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from adversaria.config.plain import Plain
from adversaria.core.modes import evaluating
from adversaria.features.extraction import untouched_rng
from adversaria.nn.network import as_discriminator

resource: Any
try:
    import resource
except ImportError:  # Windows
    resource = None

log = logging.getLogger("adversaria")

#: samples in one call of those whose latency is measured
BATCHES = (1, 64)
_CALLS, _SECONDS = 40, 0.6


def measure(system: Any, sampler: nn.Module, device: torch.device, *, latency: bool = True) -> Plain:
    """The cost of ``system`` (see `adversaria.core.types.System`); it takes about two seconds at most.

    Weights, modes and the random state are left as they were.

    Args:
        system: after training.
        sampler: the network that samples are taken from, ``system.sampler`` or its average.
        device: that it was trained on; latencies are measured there, in float32 as `sample.py` draws.
        latency: whether to measure them, which takes most of the time.

    Returns:
        ``parameters`` and ``flops`` by network (the children of ``system`` that have parameters), where ``flops`` are
        those of one forward pass for one sample, a multiply-add counted as two, null where they are not known: of a
        network that is fed with something else than latents or samples, or that has recurrent layers; ``latency_ms`` by
        batch size, latents included; ``peak_memory_mib`` as `peak_memory` gives it, and in ``peak_memory_of`` whose it
        is: the ``device`` or the ``process``.
    """
    memory = peak_memory(device)
    networks = {name: child for name, child in system.named_children() if any(True for _ in child.parameters())}
    with untouched_rng(device), evaluating(system), torch.no_grad(), _frozen(system):
        flops = {name: _flops(child, system) for name, child in networks.items()}
        times = {str(batch): _latency(sampler, system, batch, device) for batch in BATCHES} if latency else {}
    return {
        "parameters": {name: sum(p.numel() for p in child.parameters()) for name, child in networks.items()},
        "flops": flops,
        "latency_ms": times,
        "peak_memory_mib": round(memory, 1),
        "peak_memory_of": "device" if device.type == "cuda" else "process",
    }


def peak_memory(device: torch.device) -> float:
    """MiB at most in use since `reset_peak_memory`: allocated on ``device`` if it is CUDA, else of this process.

    NaN where the system does not say.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if resource is None:
        return math.nan
    peak: float = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes on macOS, else KiB


def reset_peak_memory(device: torch.device) -> None:
    """Forgets the peak of what ran before in this process, such as the earlier runs of a sweep."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):  # Linux alone has this file (proc_pid_clear_refs(5)), and may forbid it
        Path("/proc/self/clear_refs").write_text("5", "utf-8")


@contextlib.contextmanager
def _frozen(system: nn.Module) -> Iterator[None]:
    """No parameter wants a gradient: the counter cannot follow a view of one that does, such as a learned constant."""
    parameters = [p for p in system.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def _flops(network: nn.Module, system: Any) -> int | None:
    """Of one forward pass for one sample; None where they are not known."""
    if any(isinstance(module, nn.RNNBase) for module in network.modules()):  # the counter takes these for nothing
        return None
    device = next(network.parameters()).device
    count = as_discriminator(network).packing  # samples that it judges together
    if network is system.sampler:
        arguments = _inputs(network, system, 1, device)
    else:
        arguments = (torch.zeros(count, *system.spec.shape, device=device), *_labels(system, count, device))
    counter = FlopCounterMode(display=False)
    try:
        with counter:
            network(*arguments)
    except (TypeError, ValueError, RuntimeError):  # of a network that takes something else
        return None
    return int(counter.get_total_flops()) // count


def _latency(sampler: nn.Module, system: Any, batch: int, device: torch.device) -> float | None:
    """Median milliseconds for ``batch`` samples; the first quarter of the calls is to warm up."""
    home = next(sampler.parameters()).device  # Lightning takes a trained system off the device
    seconds: list[float] = []
    try:
        with evaluating(sampler.to(device)):
            while len(seconds) < _CALLS and sum(seconds) < _SECONDS:
                started = time.perf_counter()
                sampler(*_inputs(sampler, system, batch, device))
                if device.type != "cpu":
                    torch.accelerator.synchronize(device)
                seconds.append(time.perf_counter() - started)
    except RuntimeError as error:  # out of memory: no reason to lose the result of a run
        log.warning("the latency of %d samples is not measured: %s", batch, str(error).splitlines()[0])
        return None
    finally:
        sampler.to(home)
    return round(1000 * statistics.median(seconds[len(seconds) // 4 :]), 4)


def _inputs(sampler: nn.Module, system: Any, batch: int, device: torch.device) -> tuple[Tensor, ...]:
    """Latents ``[batch, latent_dim]``, and labels ``[batch]`` for a conditional model."""
    latents = system.prior.draw(batch, device=device).to(next(sampler.parameters()).dtype)
    return (latents, *_labels(system, batch, device))


def _labels(system: Any, batch: int, device: torch.device) -> tuple[Tensor, ...]:
    """Labels ``[batch]`` of the classes in turn, or empty conditions; nothing for an unconditional model."""
    if not system.conditional:
        return ()
    if system.translates:
        return (torch.zeros(batch, *system.spec.condition.shape, device=device),)
    return (torch.arange(batch, device=device) % system.spec.num_classes,)
