"""The gradient of every layer of deep networks, at their first update and after some more of the real training loop."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from adversaria.cli.inprocess import compose
from adversaria.health.layers import gradient_profile, weight_layers
from adversaria.runs.folder import Run
from adversaria.training.experiment import build_experiment, train
from studies import CONF

#: the median of so many last updates is shown: one batch's gradient is noisy
LAST = 10
QUIET = (
    "metrics=none",
    "logger=none",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "channels_last=false",
)
NETWORKS = ("generator", "discriminator")


@dataclass
class Profile:
    """Of each layer of a network, first to last, ``[layers]`` each.

    Attributes:
        first: norm of the weights' gradient at the first update.
        last: its median over the last updates.
        error: norm of the loss's gradient with respect to the layer's output, at the first update.
        sizes: how many weights the layer has.
    """

    first: list[float]
    last: list[float]
    error: list[float]
    sizes: list[int]


class Profiles(Callback):
    """Reads the gradients that the optimizers of G and D are about to use, clipped if they are clipped."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Tensor]] = {name: [] for name in NETWORKS}
        self.errors: dict[str, dict[str, Tensor]] = {name: {} for name in NETWORKS}
        self.found: dict[str, list[float]] = {}
        self.hooks: dict[str, list[Any]] = {name: [] for name in NETWORKS}

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Listens to both optimizers; Lightning's own hook comes before the clipping."""
        for name, optimizer in zip(NETWORKS, trainer.optimizers, strict=True):
            network = module.networks[name]
            errors = self.errors[name]
            for layer in sizes(network):
                self.hooks[name].append(network.get_submodule(layer).register_forward_hook(_keep_error(errors, layer)))
            optimizer.register_step_pre_hook(
                lambda *_, name=name, network=network: self._read(name, network, trainer.max_steps)
            )
            optimizer.register_step_post_hook(lambda *_, name=name: self._count(name))
        self.steps = dict.fromkeys(NETWORKS, 0)

    def _read(self, name: str, network: nn.Module, updates: int) -> None:
        step = self.steps[name]
        if step == 0:  # D judges again in G's step, which is no concern of its own gradients
            self.found[name] = [float(self.errors[name][layer]) for layer in sizes(network)]
            for hook in self.hooks[name]:
                hook.remove()
        if 0 < step < updates - LAST:
            return
        norms: dict[str, Tensor] = {}
        for layer, norm in gradient_profile(network).items():
            norms[_whole(layer)] = torch.hypot(norms.get(_whole(layer), torch.zeros(())), norm)
        self.seen[name].append(torch.stack(list(norms.values())))

    def _count(self, name: str) -> None:
        self.steps[name] += 1

    def profile(self, name: str, network: nn.Module) -> Profile:
        """What was seen of one network."""
        seen = torch.stack(self.seen[name])
        last = seen[-LAST:].median(0).values
        return Profile(seen[0].tolist(), last.tolist(), self.found[name], list(sizes(network).values()))


def sizes(network: nn.Module) -> dict[str, int]:
    """The number of weights of each layer."""
    counts: dict[str, int] = {}
    for layer, weight in weight_layers(network).items():
        counts[_whole(layer)] = counts.get(_whole(layer), 0) + weight.numel()
    return counts


def _whole(layer: str) -> str:
    """The two parts of a separable convolution are one layer."""
    return layer.removesuffix(".depthwise").removesuffix(".pointwise")


def _keep_error(errors: dict[str, Tensor], layer: str) -> Any:
    """A forward hook that adds up the gradients of the layer's outputs: D may judge reals and fakes apart."""

    def add(gradient: Tensor) -> None:
        errors[layer] = torch.hypot(errors.get(layer, torch.zeros(())), gradient.double().norm())

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(add)  # type: ignore[no-untyped-call]

    return hook


def measure(overrides: tuple[str, ...], updates: int) -> dict[str, Profile]:
    """Trains for so many generator updates; the profiles of G and D."""
    config = compose(*overrides, *QUIET, f"trainer.max_steps={updates}", config_dir=CONF)
    experiment = build_experiment({**config, "callbacks": {}})  # no averages, pictures and checkpoints
    profiles = Profiles()
    experiment.callbacks.append(profiles)
    with tempfile.TemporaryDirectory() as folder:
        train(experiment, Run(Path(folder)))
    return {name: profiles.profile(name, experiment.system.networks[name]) for name in NETWORKS}
