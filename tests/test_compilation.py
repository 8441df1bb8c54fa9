"""Compiled passes: the same training up to rounding, whatever the objective differentiates."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import adversaria
from adversaria import compilation
from adversaria.compilation import compile_passes
from adversaria.errors import UserError
from adversaria.inprocess import compose
from adversaria.training import build_experiment

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
    import csv

    with (Path(run) / "metrics.csv").open() as file:  # type: ignore[arg-type]
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
        ("model=sngan", "optim.n_critic=2", "penalty=r1", "penalty.r1.interval=1"),
        ("model=dcgan", "loss=relativistic_pairing"),
    ],
    ids=["sngan with R1", "relativistic with BatchNorm"],
)
def test_training_is_the_same(recipe: tuple[str, ...], tmp_path: Path) -> None:
    eager = train(tmp_path / "eager", *recipe, "compile=false", steps=2)
    compiled = train(tmp_path / "compiled", *recipe, "compile=true", steps=2)
    assert len(eager) == 2
    torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("quick")
def test_weights_and_the_networks_themselves_stay(tmp_path: Path) -> None:
    experiment = build_experiment(compose(*SMALL, "model=dcgan"))
    system = experiment.system
    before = set(system.state_dict())
    generator, called = system.generator, []
    assert compile_passes(system, True, torch.device("cpu"))
    assert set(system.state_dict()) == before
    assert system.generator is generator
    generator.register_forward_hook(lambda *_: called.append(1))
    z = generator.sample_latent(4)
    torch.testing.assert_close(system.passes["generator"](z, None), generator(z, None))


def test_choices() -> None:
    cpu = torch.device("cpu")
    experiment = build_experiment(compose(*SMALL, "model=dcgan"))
    before = dict(experiment.system.passes)
    assert not compile_passes(experiment.system, "auto", cpu)
    assert not compile_passes(experiment.system, False, cpu)
    assert experiment.system.passes == before
    with pytest.raises(UserError, match="compile=fast is not one of true, false, auto, reduce-overhead"):
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
    near, far = (2e-3, 0.1) if "compile=true" in choices else (5e-2, 0.25)
    assert (other - eager)[:5].abs().max() < near
    assert (other - eager).abs().mean() < far
