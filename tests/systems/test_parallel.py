"""The exchange of gradients and buffers, layouts and types included, and synchronised BatchNorm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from adversaria.core.errors import UserError
from adversaria.core.ranks import largest_of_ranks
from adversaria.core.types import DataSpec
from adversaria.modalities import Image
from adversaria.nn.layers import ConditionalBatchNorm2d
from adversaria.nn.networks.dcgan import DCGANDiscriminator
from adversaria.systems.parallel import average_gradients, broadcast
from adversaria.training.experiment import build_experiment, make_trainer, time_limit


@pytest.fixture
def other_rank(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A second rank whose tensors are all ones: as many elements as were exchanged, message by message."""
    sizes: list[int] = []

    def reduce(tensor: torch.Tensor, *_: Any) -> None:
        sizes.append(tensor.numel())
        tensor += 0.5  # its share of the mean

    def take(tensor: torch.Tensor, source: int) -> None:
        sizes.append(tensor.numel())
        tensor.fill_(1)

    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", reduce)
    monkeypatch.setattr(dist, "broadcast", take)
    return sizes


def test_gradients_become_their_mean_in_every_layout(other_rank: list[int]) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 1), nn.Flatten(), nn.Linear(5, 2), nn.Linear(2, 2).half())
    net[0].to(memory_format=torch.channels_last)
    unused = nn.Parameter(torch.zeros(7))
    for parameter in net.parameters():
        parameter.grad = torch.empty_like(parameter).normal_()
    net[3].weight.grad = torch.randn(5, 2).t()  # dense in neither order
    before = [p.grad.clone() for p in net.parameters()]
    average_gradients(torch.optim.SGD([*net.parameters(), unused], lr=1.0))
    assert unused.grad is None
    for parameter, own in zip(net.parameters(), before, strict=True):
        assert torch.equal(parameter.grad, own / 2 + 0.5)
        assert parameter.grad.stride() == own.stride() or parameter is net[3].weight
    assert other_rank == [sum(p.numel() for p in net[:4].parameters()), 6]  # one message for each type


def test_broadcast_writes_into_the_tensors(other_rank: list[int]) -> None:
    net = nn.BatchNorm1d(3)
    broadcast(net.buffers())
    assert torch.equal(net.running_mean, torch.ones(3))
    assert net.num_batches_tracked.item() == 1
    assert other_rank == [6, 1]
    broadcast([])
    assert len(other_rank) == 2


def test_a_process_alone_has_the_largest_value() -> None:
    assert largest_of_ranks(3, torch.device("cpu")) == 3


def test_synchronised_batch_norm_takes_the_place_of_ours() -> None:
    """What Lightning's ``sync_batchnorm`` does: state, outputs in evaluation and the class-conditional gain stay."""
    spec = DataSpec((3, 32, 32), 10, Image())
    for network, inputs in (
        (DCGANDiscriminator(spec=spec, width=8), (torch.randn(2, 3, 32, 32),)),
        (nn.Sequential(ConditionalBatchNorm2d(4, 10)), (torch.randn(2, 4, 3, 3), torch.tensor([1, 2]))),
    ):
        network.eval()
        call = network if len(inputs) == 1 else network[0]
        before, state = call(*inputs), {k: v.clone() for k, v in network.state_dict().items()}
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        assert any(isinstance(module, nn.SyncBatchNorm) for module in network.modules())
        after = (network if len(inputs) == 1 else network[0])(*inputs)
        assert network.state_dict().keys() == state.keys()
        for one, other in zip(tuple(before), tuple(after), strict=True):
            assert one is other is None or torch.equal(one, other)


def test_synchronised_batch_norm_is_refused_without_cuda(make_config: Callable[..., Any], tmp_path: Path) -> None:
    from adversaria.runs.folder import Run

    config = make_config("model=mlp", "data=ring8", "trainer.accelerator=cpu", "trainer.sync_batchnorm=true")
    with pytest.raises(UserError, match=r"trainer.sync_batchnorm=true needs CUDA"):
        make_trainer(build_experiment(config), Run(tmp_path), 0)


def test_d_freezes_the_statistics_of_the_layers_it_has_now(make_config: Callable[..., Any]) -> None:
    """Layers that took the place of others after D was given to the GAN."""
    config = make_config("model=dcgan", "data=digits", "model.discriminator.width=8", "trainer.accelerator=cpu")
    gan: Any = build_experiment(config).system
    nn.SyncBatchNorm.convert_sync_batchnorm(gan)

    class Precision:
        precision = "32-true"

    gan._trainer = Precision()
    gan.configure_optimizers()
    layers = [m for m in gan.discriminator.modules() if isinstance(m, nn.SyncBatchNorm)]
    with gan._frozen_statistics:
        assert layers
        assert not any(layer.track_running_stats for layer in layers)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, float("inf")), ("07:30:00", 27000), ("1:00:00:30", 86430), (90, 90), ("00:00:00.5", 0.5)],
)
def test_time_limits(text: Any, seconds: float) -> None:
    assert time_limit(text) == seconds


@pytest.mark.parametrize("text", ["soon", "10:00", "0:0:0", "1:2:3:4:5", "", True, "-1:0:0", "nan"])
def test_what_is_no_time_is_refused(text: Any) -> None:
    with pytest.raises(UserError, match="is no time; write hours:minutes:seconds"):
        time_limit(text)
