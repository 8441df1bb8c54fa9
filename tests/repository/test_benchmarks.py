"""The loop that the speed table compares with is the same recipe: step for step it computes the same numbers."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import ROOT, config_of
from fitting import fitting

from adversaria.core.seeding import seed_step
from adversaria.runs.folder import Run
from adversaria.training.experiment import Experiment, build_experiment, make_trainer

CPU = torch.device("cpu")
UPDATES = 3
RECIPES = (
    ("model=dcgan", "data.mirror=true"),
    ("model=biggan", "data.size=32", "optim.n_critic=2"),
    ("model=stylegan2", "regulariser.r1.interval=2", "regulariser.path_length.interval=2", "augment=ada"),
    ("model=r3gan",),
    ("model=infogan",),
    ("model=wgan", "optim.n_critic=2"),
)


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """``benchmark_module("plain")``: a module of `benchmarks`."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    before = set(sys.modules)
    yield importlib.import_module
    for name in {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - before:
        sys.modules.pop(name, None)


@pytest.fixture
def plain(benchmark_module: Callable[[str], Any]) -> Any:
    return benchmark_module("plain")


def experiment_of(*overrides: str) -> Experiment:
    given = ("data=digits", "data.batch_size=8", "metrics=none", *overrides)
    return build_experiment(
        config_of(
            *given,
            *fitting(config_of(*given), width=8),
            "trainer.accelerator=cpu",
            "trainer.precision=32-true",
            f"trainer.max_steps={UPDATES}",
            "callbacks={}",
            "logger=none",
        )
    )


def weights(network: torch.nn.Module) -> list[torch.Tensor]:
    return [value.detach().clone() for value in network.state_dict().values()]


@pytest.mark.parametrize("overrides", RECIPES, ids=[case[0] for case in RECIPES])
def test_the_loop_with_all_means_is_the_recipe_bit_for_bit(
    plain: Any, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    experiment = experiment_of(*overrides)
    loop = plain.Loop(experiment, CPU, plain.Means.all(bf16=False))
    trainer = make_trainer(experiment, Run(tmp_path), 0)
    system: Any = experiment.system
    before = weights(system.generator)
    trainer.fit(system, datamodule=experiment.data)
    for update in range(UPDATES):
        seed_step(system.seed, 0, update, 0, CPU)
        loop.run(1)
    for trained, other in ((system.generator, loop.generator), (system.discriminator, loop.discriminator)):
        assert all(torch.equal(a, b) for a, b in zip(weights(trained), weights(other), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(before, weights(system.generator), strict=True))


def test_each_means_alone_trains_on_the_same_data(plain: Any) -> None:
    experiment = experiment_of("model=sndcgan")
    spec = experiment.data.spec
    item, label = plain.Items(experiment.data)[5]
    split = experiment.data.split("train")
    assert torch.allclose(item, spec.modality.decode(split.batch([5]).samples)[0], atol=1e-6)
    assert label == split.labels[5]
    for means in (plain.Means(), *(plain.Means(**{name: True}) for name in ("channels_last", "joint", "foreach"))):
        loop = plain.Loop(experiment, CPU, means, workers=0)
        before = weights(loop.generator)
        loop.run(1)
        assert all(torch.isfinite(value).all() for value in weights(loop.generator))
        assert not torch.equal(before[0], weights(loop.generator)[0])
        assert loop.read[0] != 0


def test_arithmetic_of_both_passes_is_counted(benchmark_module: Callable[[str], Any]) -> None:
    layer, x = torch.nn.Linear(3, 5), torch.randn(7, 3, requires_grad=True)
    with benchmark_module("bounds").Flops() as counter:
        (gradient,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
        gradient.square().sum().backward()
    # forward; to x; and of that the gradients to the weight, twice, and to what came before, on to weight and x
    assert counter.total == 2 * 7 * 3 * 5 * 6


def test_shares_of_a_profile(benchmark_module: Callable[[str], Any]) -> None:
    bounds = benchmark_module("bounds")

    def event(key: str, milliseconds: float, kind: Any, annotation: bool = False) -> Any:
        times = {"self_cpu_time_total": 1e3 * milliseconds, "self_device_time_total": 1e3 * milliseconds}
        return SimpleNamespace(key=key, device_type=kind, is_user_annotation=annotation, **times)

    cpu, cuda = bounds.DeviceType.CPU, bounds.DeviceType.CUDA
    on_cpu = [event("aten::addmm", 200, cpu), event("aten::mkldnn_convolution", 300, cpu), event("aten::add", 100, cpu)]
    host = [*on_cpu, event("AddmmBackward0", 50, cpu)]
    assert bounds.shares(host, 1.0) == pytest.approx({"matrix": 0.5, "memory": 0.1, "gaps": 0.4})
    kernels = [event("sm90_xmma_gemm_bf16", 150, cuda), event("vectorized_elementwise_kernel", 250, cuda)]
    annotation = event("Optimizer.step#Adam.step", 400, cuda, annotation=True)
    assert bounds.shares([*host, *kernels, annotation], 1.0) == pytest.approx(
        {"matrix": 0.15, "memory": 0.25, "gaps": 0.6}
    )
    assert bounds.bound({"matrix": 0.15, "memory": 0.25, "gaps": 0.6}) == "launches (15% / 25% / 60%)"


def test_ratios_are_medians_and_segments_whole_periods(benchmark_module: Callable[[str], Any]) -> None:
    turns = benchmark_module("turns")
    pairs = turns.Pairs(steps=10, pairs=[(3.0, 1.0), (40.0, 20.0), (2.0, 0.1)])
    assert pairs.ratio() == 3.0
    assert pairs.spread() == (2.0, 20.0)
    assert pairs.seconds_per_step() == (0.3, 0.1)
    assert turns.segment_length(100, 0.5, 16) == 48
    assert turns.segment_length(1, 0.5, 16) == 16


def test_what_differs_between_two_checkouts_is_named(benchmark_module: Callable[[str], Any]) -> None:
    compared = benchmark_module("equal").compared
    old: dict[str, Any] = {
        "a": torch.tensor([1.0, float("nan")]),
        "rows": [{"loss": "0.5"}, {"loss": "nan"}],
        "none": None,
    }
    assert str(compared(old, dict(old))) == "equal"
    assert str(compared([], {})) == ""
    renamed = compared(old, {"b": old["a"].clone(), "rows": old["rows"], "none": None})
    assert str(renamed) == "equal (1 renamed)"
    assert str(compared(old, {"b": old["a"] + 1e-7, "rows": old["rows"], "none": None})) == "**1 of 4 differ**"
    for other in (
        {**old, "a": torch.tensor([-1.0, float("nan")])},
        {**old, "a": old["a"].double()},
        {**old, "a": old["a"].view(2, 1)},
        {**old, "rows": [{"loss": "0.5"}, {"loss": "0.50"}]},
        {**old, "none": 0},
        {**old, "more": old["a"]},
        {"a": old["a"], "rows": old["rows"]},
    ):
        assert len(compared(old, other).differing) == len(compared(other, old).differing) == 1
    zeros = compared({"x": torch.tensor(0.0)}, {"x": torch.tensor(-0.0)})
    assert zeros.differing == ["x: by up to 0"]
