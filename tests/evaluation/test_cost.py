"""What a run costs: arithmetic against closed forms, and training that is none the wiser."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from adversaria.core.types import DataSpec
from adversaria.evaluation import cost
from adversaria.modalities import Image, Points
from adversaria.nn.latents import Normal
from adversaria.nn.prior import Prior
from adversaria.runs.folder import Run
from adversaria.systems.build import build_system

POINTS = DataSpec((2,), None, Points((-4.0, 4.0)))
IMAGES = DataSpec((1, 16, 16), 10, Image())
CPU = torch.device("cpu")
MLP = ("model=mlp", "model.generator.width=8", "model.discriminator.width=8", "model.generator.latent_dim=4")


def test_parameters_and_flops_of_a_small_network(make_config: Callable[..., Any]) -> None:
    system = build_system(make_config("data=ring8", *MLP), POINTS)
    measured = cost.measure(system, system.sampler, CPU)
    # weights and biases of 4 -> 8 -> 8 -> 8 -> 2 and of 2 -> 8 -> 8 -> 8 -> 1
    assert measured["parameters"] == {"generator": 40 + 72 + 72 + 18, "discriminator": 24 + 72 + 72 + 9}
    # a multiply-add for each weight
    assert measured["flops"] == {"generator": 2 * (32 + 64 + 64 + 16), "discriminator": 2 * (16 + 64 + 64 + 8)}
    assert set(measured["latency_ms"]) == {"1", "64"}
    assert all(value > 0 for value in measured["latency_ms"].values())
    assert measured["peak_memory_mib"] > 10
    assert measured["peak_memory_of"] == "process"


@pytest.mark.parametrize(
    ("overrides", "networks"),
    [
        (("model=dcgan",), {"generator", "discriminator"}),
        (("model=cgan",), {"generator", "discriminator"}),
        (("model=vae", "model.encoder.width=8"), {"generator", "encoder"}),
        (("model=vae_gan", "model.encoder.width=8"), {"generator", "encoder", "discriminator"}),
    ],
)
def test_every_system_is_measured_and_left_as_it_was(
    make_config: Callable[..., Any], overrides: tuple[str, ...], networks: set[str]
) -> None:
    system = build_system(make_config(*overrides, "model.generator.width=8"), IMAGES).train()
    weights = {name: value.clone() for name, value in system.state_dict().items()}
    random = torch.get_rng_state()
    measured = cost.measure(system, system.sampler, CPU)
    assert set(measured["parameters"]) == networks
    assert all(flops > 0 for flops in measured["flops"].values())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(module.training for module in system.modules())
    assert all(torch.equal(value, weights[name]) for name, value in system.state_dict().items())


def test_flops_of_a_convolution_count_every_position() -> None:
    sampler = nn.Conv2d(3, 5, 3, padding=1)
    # two inputs, so it is no network of samples alone
    system: Any = nn.ModuleDict({"sampler_": sampler, "other": nn.Bilinear(2, 2, 1)})
    system.sampler, system.spec, system.conditional = sampler, POINTS, False
    system.prior = SimpleNamespace(draw=lambda n, device: torch.zeros(n, 3, 8, 8))
    measured = cost.measure(system, sampler, CPU, latency=False)
    assert measured["flops"] == {"sampler_": 2 * 5 * 3 * 9 * 64, "other": None}
    assert measured["latency_ms"] == {}


def test_a_learned_constant_is_counted_and_still_learned() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.constant, self.layer = nn.Parameter(torch.ones(1, 4)), nn.Linear(4, 3)

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return self.layer(self.constant.expand(len(z), -1))

    sampler = Constant()
    system: Any = nn.ModuleDict({"generator": sampler})
    system.sampler, system.spec, system.conditional = sampler, POINTS, False
    system.prior = Prior(Normal(), 2)
    assert cost.measure(system, sampler, CPU, latency=False)["flops"] == {"generator": 2 * 12}
    assert all(parameter.requires_grad for parameter in sampler.parameters())


def test_a_sampler_that_runs_out_of_memory_loses_no_result() -> None:
    class Greedy(nn.Linear):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            if len(z) > 1:
                raise torch.OutOfMemoryError("out of memory")
            return super().forward(z)

    greedy = Greedy(2, 2)
    system = SimpleNamespace(conditional=False, prior=Prior(Normal(), 2))
    assert cost._latency(greedy, system, 1, CPU) is not None
    assert cost._latency(greedy, system, 64, CPU) is None


def test_a_result_holds_the_cost(train_run: Callable[..., Run], tiny: tuple[str, ...]) -> None:
    result = train_run("run", *tiny, "trainer.max_steps=1").read_result() or {}
    assert set(result["cost"]["latency_ms"]) == {"1", "64"}
    assert result["cost"]["parameters"]["generator"] > 0


def test_the_peak_is_forgotten_before_a_run() -> None:
    block = torch.ones(64 * 2**20)  # 256 MiB
    with_block = cost.peak_memory(CPU)
    del block
    cost.reset_peak_memory(CPU)
    after = cost.peak_memory(CPU)
    if after == with_block:
        pytest.skip("this system does not reset the peak memory of a process")
    assert after < with_block - 128


@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
def test_flops_of_recurrent_layers_are_unknown_and_not_zero(layer: Callable[..., nn.RNNBase]) -> None:
    class Sampler(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer(4, 8, batch_first=True)

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return self.layer(z)[0]

    system: Any = nn.Module()
    system.generator = system.sampler = Sampler()
    system.spec, system.conditional = POINTS, False
    system.prior = SimpleNamespace(draw=lambda n, device: torch.zeros(n, 3, 4))
    measured = cost.measure(system, system.sampler, CPU)
    assert measured["flops"] == {"generator": None}
    assert measured["parameters"]["generator"] > 0
    assert measured["latency_ms"]["64"] > 0
