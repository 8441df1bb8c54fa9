"""What spectral normalisation costs a step of D, layer by layer and for all layers together.

    python benchmarks/spectral_norm.py

Compared are `torch.nn.utils.parametrizations.spectral_norm`, this package's layers each for itself, and the same layers
after `iterate_together`, as training uses them. Two things are measured, in turns within one process, so that a machine
whose speed drifts slows all: a step of D (64 reals and 64 fakes of 32x32x3 at once, forward and backward), and in it
what computing the weights and their gradients takes, on its own. Given as medians, and as the share of torch's time.

Operations are those that compute (views are free), as a dispatch mode counts them: on a GPU each is a kernel to launch,
or for those over lists of tensors a few.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from tables import as_table
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from torch.utils._python_dispatch import TorchDispatchMode

from adversaria.core.types import DataSpec
from adversaria.modalities import Image
from adversaria.nn.layers.spectral_norm import iterate_together, spectral_norm
from adversaria.nn.networks.resnet import ResNetDiscriminator
from adversaria.nn.networks.sndcgan import SNDCGANDiscriminator

SPEC = DataSpec((3, 32, 32), None, Image())
NETWORKS: dict[str, Callable[..., nn.Module]] = {"sndcgan": SNDCGANDiscriminator, "sngan": ResNetDiscriminator}
SAMPLES = 128
#: what computes nothing and does not say that it is a view
UNCOUNTED = ("empty", "new_empty", "_unsafe_view", "detach")


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what computes: neither views nor the allocation of memory."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        view = any(a.alias_info and not a.alias_info.is_write for a in function._schema.returns)
        self.count += not (view or function.__name__.startswith(UNCOUNTED))
        return function(*args, **(kwargs or {}))


def variants(make: Callable[..., nn.Module], channels_last: bool) -> dict[str, nn.Module]:
    """The same network three times, in the order of the report."""
    networks = {}
    for name, wrap in (("torch", parametrizations.spectral_norm), ("each layer", spectral_norm)):
        torch.manual_seed(0)
        networks[name] = bare(make(spec=SPEC), wrap)
    torch.manual_seed(0)
    networks["together"] = iterate_together(bare(make(spec=SPEC), spectral_norm))
    if channels_last:
        networks = {name: network.to(memory_format=torch.channels_last) for name, network in networks.items()}
    return networks


def bare(network: nn.Module, wrap: Callable[..., nn.Module]) -> nn.Module:
    """``network`` with its spectral normalisation exchanged for ``wrap``."""
    for layer in [m for m in network.modules() if parametrize.is_parametrized(m, "weight")]:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        wrap(layer)
    return network


class Weights(nn.Module):
    """The weights of a network's normalised layers and their gradients, without the network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.layers: list[Any] = [m for m in network.modules() if parametrize.is_parametrized(m, "weight")]
        self.gradients = [torch.randn_like(layer.weight) for layer in self.layers]
        self.hooks = list(network._forward_pre_hooks.values())

    def step(self) -> None:
        """One pass forward and backward."""
        for hook in self.hooks:
            hook(self, ())
        torch.autograd.backward([layer.weight for layer in self.layers], self.gradients)
        for layer in self.layers:
            layer.parametrizations.weight.original.grad = None


class Step:
    """A step of D without its optimizer."""

    def __init__(self, network: nn.Module, channels_last: bool, bf16: bool) -> None:
        self.network, self.bf16 = network, bf16
        order = torch.channels_last if channels_last else torch.contiguous_format
        self.samples = torch.randn(SAMPLES, *SPEC.shape).contiguous(memory_format=order)

    def step(self) -> None:
        """One pass forward and backward."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            logits = self.network(self.samples).logits
        logits.float().square().mean().backward()
        self.network.zero_grad()


def seconds(parts: dict[str, Any], repeats: int) -> dict[str, list[float]]:
    """Seconds of the main thread for each step, the parts taking turns; the first turn warms up."""
    times: dict[str, list[float]] = {name: [] for name in parts}
    for turn in range(repeats + 1):
        for name, part in parts.items():
            started = time.perf_counter()
            part.step()
            if turn:
                times[name].append(time.perf_counter() - started)
    return times


def operations(part: Any) -> int:
    """How many operations a step takes."""
    counter = Operations()
    with counter:
        part.step()
    return counter.count


def measure(name: str, channels_last: bool, bf16: bool, repeats: int) -> list[dict[str, Any]]:
    """A row for each variant of one network."""
    networks = variants(NETWORKS[name], channels_last)
    weights = {key: Weights(network) for key, network in networks.items()}
    steps = {key: Step(network, channels_last, bf16) for key, network in networks.items()}
    weight_times, step_times = seconds(weights, 4 * repeats), seconds(steps, repeats)

    def ratio(times: dict[str, list[float]], key: str) -> float:
        return statistics.median(a / b for a, b in zip(times[key], times["torch"], strict=True))

    return [
        {
            "network": name,
            "precision": "bf16-mixed" if bf16 else "32-true",
            "order": "channels-last" if channels_last else "standard",
            "variant": key,
            "operations": operations(weights[key]),
            "weights_ms": round(1e3 * statistics.median(weight_times[key]), 2),
            "weights_ratio": round(ratio(weight_times, key), 3),
            "step_ms": round(1e3 * statistics.median(step_times[key]), 1),
            "step_ratio": round(ratio(step_times, key), 3),
        }
        for key in networks
    ]


def main() -> None:
    """Prints a table, and writes it as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10, help="steps of each variant that count (default 10)")
    parser.add_argument("--json", help="a file for the same figures")
    arguments = parser.parse_args()
    rows = [
        row
        for name in NETWORKS
        for channels_last, bf16 in ((False, False), (True, True))
        for row in measure(name, channels_last, bf16, arguments.repeats)
    ]
    print(f"{torch.get_num_threads()} threads\n")
    head = ("D", "precision, order, spectral norm", "operations", "weights, ms", "of torch's", "step, ms", "of torch's")
    figures = ("operations", "weights_ms", "weights_ratio", "step_ms", "step_ratio")
    cells = [
        (row["network"], "{precision}, {order}, {variant}".format(**row), *(str(row[name]) for name in figures))
        for row in rows
    ]
    print(as_table(head, cells))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=2)


if __name__ == "__main__":
    main()
