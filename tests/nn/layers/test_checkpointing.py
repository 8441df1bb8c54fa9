"""Gradient checkpointing keeps less and changes no number."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import TWO_STEPS
from fitting import fitting
from torch import nn

from adversaria.core.errors import UserError
from adversaria.nn.layers import spectral_norm
from adversaria.nn.layers.checkpointing import checkpoint_blocks
from adversaria.runs.folder import Run
from adversaria.sampling.sampler import read_checkpoint
from adversaria.training.experiment import build_experiment

#: recipes with every kind of state, randomness and second derivative
RECIPES = {
    "BatchNorm and R1": ("model=dcgan", "penalty=r1"),
    "spectral norm, two passes of D": ("model=sndcgan", "optim.n_critic=2", "penalty=gradient_penalty"),
    "everything in BigGAN, in parts": ("model=biggan_large", "data.size=32", "optim.accumulate=2"),
    "noise, lazy steps and path lengths": ("model=stylegan2", "penalty=[r1,path_length]"),
    "R1 and R2": ("model=r3gan",),
    "spectral norm beside BatchNorm": ("model=dcgan", "penalty=spectral_norm"),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_update_is_the_same_bit_for_bit(
    make_config: Callable[..., Any], one_update: Callable[[Any], dict[str, torch.Tensor]], recipe: str
) -> None:
    overrides = [*TWO_STEPS, *RECIPES[recipe], "metrics=none"]
    overrides += fitting(make_config(*overrides), width=8)
    plain = one_update(make_config(*overrides))
    saving = one_update(make_config(*overrides, "gradient_checkpointing=true"))
    assert plain.keys() == saving.keys()
    assert [name for name, value in plain.items() if not torch.equal(value, saving[name])] == []


class Block(nn.Module):
    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm, self.dropout = conv, nn.BatchNorm2d(4), nn.Dropout()

    def forward(self, x: torch.Tensor, gain: float = 1.0) -> torch.Tensor:
        return x + gain * self.dropout(self.norm(self.conv(x).relu()))


class Net(nn.Module):
    """A chain of layers, then a list of blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = nn.Sequential(
            nn.Identity(), self.conv(3), nn.BatchNorm2d(4), nn.ReLU(), self.conv(4), nn.Dropout(), nn.ReLU()
        )
        self.blocks = nn.ModuleList([Block(self.conv(4)), nn.Identity(), Block(self.conv(4))])

    @staticmethod
    def conv(channels: int) -> nn.Module:
        return spectral_norm(nn.Conv2d(channels, 4, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.chain(x)
        for block in self.blocks:
            h = block(h, gain=0.5) if isinstance(block, Block) else block(h)
        return h.square().mean()


@pytest.fixture
def pair() -> tuple[Net, Net]:
    """The same network without and with checkpointing."""
    plain = Net()
    saving = copy.deepcopy(plain)
    assert checkpoint_blocks(saving) == 4
    return plain, saving


def gradients(network: Net, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """Of the sum of as many passes, which are all made before the backward pass."""
    torch.manual_seed(1)
    network.zero_grad()
    sum(network(x) for x in inputs).backward()
    return [p.grad for p in network.parameters() if p.grad is not None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_several_passes_before_one_backward_pass(pair: tuple[Net, Net], dtype: torch.dtype) -> None:
    inputs = torch.randn(2, 5, 3, 6, 6)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        plain, saving = (gradients(network, *inputs) for network in pair)
    assert len(plain) == len(saving) == len(list(pair[0].parameters()))
    assert all(torch.equal(a, b) for a, b in zip(plain, saving, strict=True))
    for (name, a), b in zip(pair[0].named_buffers(), pair[1].buffers(), strict=True):
        assert torch.equal(a, b), name


def test_activations_are_let_go_until_they_are_needed(pair: tuple[Net, Net]) -> None:
    alive = []
    for network in pair:
        seen: list[weakref.ref[torch.Tensor]] = []
        for layer in (network.chain[1], network.chain[2], network.blocks[0].conv, network.blocks[2].norm):
            layer.register_forward_hook(lambda *args, seen=seen: seen.append(weakref.ref(args[-1])))
        loss = network(torch.randn(5, 3, 6, 6))
        alive.append(sum(reference() is not None for reference in seen))
        assert loss.requires_grad
    assert alive[0] > 0
    assert alive[1] == 0


@pytest.mark.parametrize("mode", ["evaluation", "no gradients"])
def test_other_modes_compute_as_ever(pair: tuple[Net, Net], mode: str) -> None:
    for network in pair:
        network.train(mode != "evaluation")
        torch.manual_seed(1)
        calls = []
        network.chain[1].register_forward_hook(lambda *args, calls=calls: calls.append(args))
        with torch.set_grad_enabled(mode == "evaluation"):
            loss = network(torch.randn(5, 3, 6, 6, requires_grad=True))
        if mode == "evaluation":
            loss.backward()
        assert len(calls) == 1


def test_names_classes_and_buffers_stay(pair: tuple[Net, Net]) -> None:
    plain, saving = pair
    assert plain.state_dict().keys() == saving.state_dict().keys()
    assert isinstance(saving.blocks[0], Block)
    buffers = [id(b) for b in saving.buffers()]
    gradients(saving, torch.randn(5, 3, 6, 6))
    assert [id(b) for b in saving.buffers()] == buffers


def test_a_copy_trains_itself(pair: tuple[Net, Net]) -> None:
    _, saving = pair
    clone = copy.deepcopy(saving)
    before = copy.deepcopy(saving.state_dict())
    gradients(clone, torch.randn(5, 3, 6, 6))
    assert all(p.grad is None for p in saving.parameters())
    assert all(torch.equal(before[name], value) for name, value in saving.state_dict().items())


def test_a_run_may_go_on_with_it(train_run: Callable[..., Run]) -> None:
    overrides = ("model=mlp", "data=ring8", *TWO_STEPS, "metrics=none")
    whole = train_run("whole", *overrides, "trainer.max_steps=4")
    train_run("parts", *overrides)
    parts = train_run("parts", *overrides, "trainer.max_steps=4", "gradient_checkpointing=true")
    states = [read_checkpoint(run.last)["state_dict"] for run in (whole, parts)]
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())


def test_networks_without_blocks_are_refused(make_config: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="gradient_checkpointing=true finds no blocks"):
        build_experiment(make_config("model=dirac", "data=dirac", "metrics=none", "gradient_checkpointing=true"))
