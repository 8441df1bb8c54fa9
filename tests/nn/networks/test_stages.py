"""Middle features of every discriminator, bare and enclosed: those of a whole pass, and no more of it than that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fitting import fitted
from torch import Tensor, nn

from adversaria.config.build import construct
from adversaria.config.plain import conf_dir
from adversaria.core.types import DataSpec, DiscriminatorOutput
from adversaria.modalities import Image
from adversaria.nn.network import as_discriminator, stage_features

SPEC = DataSpec((1, 32, 32), 10, Image(), condition=DataSpec((1, 32, 32), None, Image()))
NAMES = sorted(file.stem for file in (conf_dir() / "discriminator").glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_stages_are_passed_in_order_and_nothing_behind_the_one_that_is_asked_for(
    make_config: Callable[..., Any], name: str
) -> None:
    config = fitted(make_config("model=dcgan", f"discriminator={name}", "data.size=32"), width=8)
    network: nn.Module = construct(config["model"]["discriminator"], "model.discriminator", spec=SPEC).eval()
    said, x = as_discriminator(network), torch.rand(4, 1, 32, 32) * 2 - 1
    beside: Tensor | None = torch.arange(4) if said.conditional else None
    beside = torch.rand(4, 1, 32, 32) if said.translates else beside
    passed: list[int] = []
    outputs: dict[int, Tensor] = {}

    def note(k: int) -> Callable[..., None]:
        def noted(module: nn.Module, inputs: Any, output: Tensor) -> None:
            passed.append(k)
            outputs[k] = output.detach().clone()

        return noted

    assert said.stages
    hooks = [stage.register_forward_hook(note(k)) for k, stage in enumerate(said.stages, 1)]
    with torch.no_grad():
        network(x, beside)
    count = len(said.stages)
    assert passed == list(range(1, count + 1))
    assert len({id(stage) for stage in said.stages}) == count
    whole = dict(outputs)
    for k in range(1, count + 1):
        passed.clear()
        with torch.no_grad():
            features = stage_features(network, k, x, beside)
        assert torch.equal(features, whole[k])
        assert passed == list(range(1, k + 1))
    for hook in hooks:
        hook.remove()
    assert not any(stage._forward_hooks for stage in said.stages)


class Own(nn.Module):
    """As a user would write one."""

    def __init__(self, named: bool = True) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 5), nn.Linear(5, 1)
        if named:
            self.stages = [self.first]

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        return DiscriminatorOutput(self.second(self.first(x)).flatten())


def test_a_network_of_a_users_own_may_name_its_stages() -> None:
    own, x = Own(), torch.randn(2, 3)
    features = stage_features(own, 1, x)
    assert torch.equal(features, own.first(x))
    features.sum().backward()
    assert own.first.weight.grad is not None
    assert own.second.weight.grad is None
    assert not as_discriminator(Own(named=False)).stages
