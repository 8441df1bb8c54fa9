"""Compiled passes: the same training up to rounding, whatever the objective differentiates."""

import copy
import csv
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from fitting import fitted

import adversaria
from adversaria.cli.inprocess import compose
from adversaria.config.plain import conf_dir
from adversaria.core.errors import UserError
from adversaria.training import compilation
from adversaria.training.compilation import compiled_forwards
from adversaria.training.experiment import build_experiment

SMALL = (
    "data=digits",
    "data.batch_size=8",
    "model.generator.width=8",
    "model.discriminator.width=8",
    "metrics=none",
    "trainer.precision=32-true",
    "trainer.log_every_n_steps=1",
)


def losses(run: dict[str, Any] | Path, names: tuple[str, ...] = ("loss/discriminator", "loss/generator")) -> Any:
    """Of each update, ``[updates, 2]``."""
    with (Path(run) / "metrics.csv").open() as file:
        rows = [[float(row[name]) for name in names] for row in csv.DictReader(file) if row[names[0]]]
    return torch.tensor(rows)


def train(folder: Path, *overrides: str, steps: int) -> Any:
    """The losses of a run."""
    adversaria.train(*SMALL, *overrides, f"trainer.max_steps={steps}", run_dir=str(folder))
    assert yaml.safe_load((folder / "config.yaml").read_text())
    return losses(folder)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced and differentiated as compiled code is, but run by PyTorch's own kernels: no compiler takes its time."""
    monkeypatch.setattr(compilation, "BACKEND", "aot_eager")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "recipe",
    [
        ("model=sngan", "optim.n_critic=2", "regulariser=r1", "regulariser.r1.interval=1"),
        ("model=dcgan", "loss=relativistic_pairing"),
    ],
    ids=["sngan with R1", "relativistic with BatchNorm"],
)
def test_training_is_the_same(recipe: tuple[str, ...], tmp_path: Path) -> None:
    eager = train(tmp_path / "eager", *recipe, "compile=false", steps=2)
    torch._dynamo.utils.counters.clear()
    compiled = train(tmp_path / "compiled", *recipe, "compile=true", steps=2)
    assert len(eager) == 2
    assert torch._dynamo.utils.counters["frames"]["ok"] >= 4  # two networks, each with and without gradients
    torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("quick")
def test_weights_and_the_networks_themselves_stay(tmp_path: Path) -> None:
    experiment = build_experiment(compose(*SMALL, "model=dcgan"))
    system = experiment.system
    before = set(system.state_dict())
    generator = system.generator
    limit = torch._dynamo.config.recompile_limit
    with compiled_forwards(system, True, torch.device("cpu")) as compiled:
        assert compiled
        assert system.forwards["generator"] is not generator
        assert set(system.state_dict()) == before
        assert system.generator is generator
        z = system.prior.draw(4)
        torch.testing.assert_close(system.forwards["generator"](z, None), generator(z, None))
    assert system.forwards["generator"] is generator
    assert torch._dynamo.config.recompile_limit == limit


#: recipes whose networks are those of dcgan
SAME_NETWORKS = {"wgan", "lsgan", "dragan"}
#: and such that are made of the blocks of biggan_large, projection and stylegan2, which take their place by default
SAME_BLOCKS = {"biggan", "sagan", "sngan", "stylegan2_cifar"}
#: and such that are given what they edit
EDITING = {"pix2pix", "regression"}
RECIPES = [
    pytest.param(name, marks=pytest.mark.slow if name in SAME_BLOCKS else ())
    for name in sorted({file.stem for file in (conf_dir() / "model").glob("*.yaml")} - SAME_NETWORKS)
]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("model", RECIPES)
def test_every_recipe_compiles_as_a_whole(model: str) -> None:
    """Nothing is left to the interpreter, in the precision of GPUs, and gradients are those of the networks."""
    size = 32 if model.startswith("biggan") else 16
    given = [*SMALL[:2], f"data.size={size}", "data.channels=3", "metrics=none", f"model={model}"]
    if model in EDITING:
        given.append("pairing=denoise")
    system = build_experiment(fitted(compose(*given), width=8)).system.train()
    plain = copy.deepcopy(system)
    torch.manual_seed(0)
    labels = torch.arange(4) if system.conditional else None
    if (condition := system.condition) is not None:
        labels = torch.randn(4, *condition.shape)
    inputs = {name: torch.randn(4, 3, size, size) for name in system.forwards}
    inputs["generator"] = system.prior.draw(4)
    torch._dynamo.utils.counters.clear()
    with (
        compiled_forwards(system, True, torch.device("cpu")),
        torch.autocast("cpu", torch.bfloat16, cache_enabled=False),
    ):
        for name, compiled in system.forwards.items():
            ours = gradient_of(compiled, getattr(system, name), inputs[name], labels)
            theirs = gradient_of(getattr(plain, name), getattr(plain, name), inputs[name], labels)
            assert (ours - theirs).norm() < 0.03 * theirs.norm()
    counters = torch._dynamo.utils.counters
    assert counters["frames"]["ok"] == counters["frames"]["total"] > 0
    assert not counters["graph_break"]


def gradient_of(call: Any, network: torch.nn.Module, x: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
    """Of what ``call`` gives first, with respect to the weights of ``network``."""
    torch.manual_seed(0)
    output = call(x) if labels is None else call(x, labels)
    first = output if isinstance(output, torch.Tensor) else output[0]
    weights, loss = list(network.parameters()), first.float().square().mean()
    gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.float().flatten() for gradient in gradients])


def test_choices() -> None:
    cpu = torch.device("cpu")
    experiment = build_experiment(compose(*SMALL, "model=dcgan"))
    before = dict(experiment.system.forwards)
    for choice in ("auto", False):
        with compiled_forwards(experiment.system, choice, cpu) as compiled:
            assert not compiled
            assert experiment.system.forwards == before
    with pytest.raises(UserError, match="compile=fast is not true or false or one of auto, reduce-overhead"):
        build_experiment(compose(*SMALL, "compile=fast"))


def test_what_cannot_be_compiled_runs_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no compiler here\nand much more")

    monkeypatch.setattr(torch._dynamo, "lookup_backend", lambda _: broken)
    assert len(train(tmp_path, "model=dcgan", "compile=true", steps=2)) == 2
    assert caplog.text.count("torch.compile fails (no compiler here); such parts run uncompiled") == 1


@pytest.mark.slow
@pytest.mark.parametrize("choices", [("compile=true",), ("trainer.precision=bf16-mixed",)], ids=["compiled", "bf16"])
@pytest.mark.parametrize("model", ["dcgan", "sndcgan"])
def test_fifty_steps_stay_close(model: str, choices: tuple[str, ...], tmp_path: Path) -> None:
    eager = train(tmp_path / "eager", f"model={model}", "compile=false", steps=50)
    other = train(tmp_path / "other", f"model={model}", "compile=false", *choices, steps=50)
    # Rounding grows along a trajectory: the first steps agree closely, and all of them on average.
    near, far = (1e-4, 0.01) if "compile=true" in choices else (5e-3, 0.25)
    assert (other - eager)[:5].abs().max() < near
    assert (other - eager).abs().mean() < far
