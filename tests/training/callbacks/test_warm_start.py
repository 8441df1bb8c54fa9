"""A run that begins with another's weights: what is taken, what is not, and layers that stay."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec
from adversaria.modalities import Image
from adversaria.nn.layers import spectral_norm
from adversaria.runs.folder import Run
from adversaria.systems.build import build_system
from adversaria.training.callbacks import Checkpoint, WarmStart
from adversaria.training.callbacks.warm_start import layers_from_the_image

#: a model without a discriminator
VAE = ("model=vae", "model.generator.width=8", "model.encoder.width=8")
DIGITS = DataSpec((1, 16, 16), 10, Image())


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = logging.getLogger("adversaria")
    propagate, logger.propagate = logger.propagate, True
    with caplog.at_level(logging.INFO, "adversaria"):
        yield caplog
    logger.propagate = propagate


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, make_config: Any, tiny: tuple[str, ...]) -> dict[str, Run]:
    """Runs of a few updates to start from."""
    from adversaria.training.experiment import build_experiment, train

    made = {}
    for name in ("dcgan", "sndcgan", "cgan"):
        config = make_config(*tiny, f"model={name}", "trainer.max_steps=3", "seed=7")
        made[name] = Run(tmp_path_factory.mktemp("sources") / name)
        with made[name].started(config, []):
            made[name].write_result(train(build_experiment(config), made[name]))
    return made


def system_of(make_config: Callable[..., Any], tiny: tuple[str, ...], *overrides: str, classes: int = 10) -> Any:
    torch.manual_seed(1)
    spec = DataSpec((1, 16, 16), classes, Image())
    return build_system(make_config(*tiny, *overrides), spec)


def stored(run: Run) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(run.last, weights_only=True)
    return content


@pytest.mark.parametrize("model", ["dcgan", "sndcgan"])
@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_everything_of_equal_networks_is_taken(
    make_config: Callable[..., Any], tiny: tuple[str, ...], sources: dict[str, Run], model: str, weights: Any
) -> None:
    system = system_of(make_config, tiny, f"model={model}")
    WarmStart(checkpoint=str(sources[model].path), weights=weights).take(system)
    content = stored(sources[model])
    average = {f"generator.{name}": value for name, value in content["ema"].items()} if weights == "ema" else {}
    expected = {**content["state_dict"], **average}
    for name, value in system.state_dict().items():
        if name.startswith(("generator.", "discriminator.")):
            assert torch.equal(value, expected[name]), name
    names = [name for name, _ in system.named_buffers()]
    assert any("running_mean" in name or name.endswith(".u") for name in names)
    assert all(parameter.requires_grad for parameter in system.parameters())


def test_what_depends_on_the_number_of_classes_stays_and_is_named(
    make_config: Callable[..., Any], tiny: tuple[str, ...], sources: dict[str, Run], log: pytest.LogCaptureFixture
) -> None:
    system = system_of(make_config, tiny, "model=cgan", classes=4)
    before = {name: value.clone() for name, value in system.state_dict().items()}
    content = stored(sources["cgan"])
    expected = {**content["state_dict"], **{f"generator.{name}": value for name, value in content["ema"].items()}}
    WarmStart(checkpoint=str(sources["cgan"].last)).take(system)
    other = {name for name, value in before.items() if expected[name].shape != value.shape}
    assert other
    [line] = [record.getMessage() for record in log.records]
    for name, value in system.state_dict().items():
        assert torch.equal(value, before[name] if name in other else expected[name]), name
        assert (f"{name} {list(value.shape)}" in line) == (name in other), name


def test_singular_vectors_go_with_their_weight_or_not_at_all(tmp_path: Path) -> None:
    class System(nn.Module):
        encoder_name = None

        def __init__(self, classes: int) -> None:
            super().__init__()
            self.generator, self.discriminator = nn.Linear(2, 3), spectral_norm(nn.Embedding(classes, 5))

        @property
        def sampler(self) -> nn.Module:
            return self.generator

    source, target = System(10), System(4)
    file = tmp_path / "source.ckpt"
    spec = {"shape": [2], "num_classes": None, "value_range": [-1, 1], "modality": "points"}
    rest = {"format_version": 1, "config": {}, "spec": spec, "global_step": 0, "images_seen": 0}
    torch.save({**rest, "state_dict": source.state_dict()}, file)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    vector = "discriminator.parametrizations.weight.0.v"
    assert source.state_dict()[vector].shape == before[vector].shape
    WarmStart(checkpoint=str(file)).take(target)
    for name, value in target.state_dict().items():
        assert torch.equal(value, (source.state_dict() if name.startswith("generator") else before)[name]), name


def test_a_checkpoint_that_shares_nothing_is_refused(
    make_config: Callable[..., Any], tiny: tuple[str, ...], sources: dict[str, Run], tmp_path: Path
) -> None:
    system = system_of(make_config, tiny, "model=dcgan", "model.generator.width=16", "model.discriminator.width=16")
    with pytest.raises(UserError, match="shares no weight"):
        WarmStart(checkpoint=str(sources["sndcgan"].path)).take(system)
    with pytest.raises(UserError, match="neither a checkpoint nor the folder"):
        WarmStart(checkpoint=str(tmp_path)).take(system)
    hostile = tmp_path / "hostile.ckpt"
    torch.save({"format_version": 1, "state_dict": SimpleNamespace()}, hostile)
    with pytest.raises(UserError, match="could run code"):
        WarmStart(checkpoint=str(hostile)).take(system)


@pytest.mark.parametrize(
    "arguments", [{}, {"checkpoint": "x", "freeze_layers": -1}, {"checkpoint": "x", "weights": "best"}], ids=str
)
def test_senseless_arguments(arguments: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"callbacks\.warm_start\."):
        WarmStart(**arguments)


class Projection(nn.Module):
    """Registered in another order than an image takes, with normalisations and an embedding between."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 8)
        self.last = nn.Linear(8, 1)
        self.second = spectral_norm(nn.Conv2d(4, 8, 3))
        self.norm = nn.BatchNorm2d(4)
        self.first = nn.Conv2d(1, 4, 3)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        code = self.embed(labels)
        h = self.second(self.norm(self.first(x))).mean((2, 3))
        return self.last(h) + (code * h).sum(1, keepdim=True)


def test_layers_are_those_an_image_passes_in_their_order() -> None:
    d = Projection()
    d.second.eval()
    state = {name: value.clone() for name, value in d.state_dict().items()}
    layers = layers_from_the_image(d, DIGITS, conditional=True)
    names = {parameter: name for name, parameter in d.named_parameters()}
    assert [[names[parameter] for parameter in layer] for layer in layers] == [
        ["first.weight", "first.bias", "norm.weight", "norm.bias"],
        ["second.bias", "second.parametrizations.weight.original"],
        ["last.weight", "last.bias"],
    ]
    assert all(torch.equal(value, state[name]) for name, value in d.state_dict().items())
    assert d.training
    assert not d.second.training


def test_too_many_layers_or_no_discriminator(make_config: Callable[..., Any], tiny: tuple[str, ...]) -> None:
    system = system_of(make_config, tiny, "model=dcgan")
    count = len(layers_from_the_image(system.discriminator, DIGITS, conditional=False))
    with pytest.raises(UserError, match=f"give at most {count - 1}"):
        WarmStart(checkpoint="x", freeze_layers=count).freeze(system)
    with pytest.raises(UserError, match="this model has none"):
        WarmStart(checkpoint="x", freeze_layers=1).freeze(system_of(make_config, VAE))


@pytest.mark.parametrize("optim", ["adamw", "sgd"])
def test_frozen_layers_stay_and_the_others_move(
    train_run: Callable[..., Run], tiny: tuple[str, ...], sources: dict[str, Run], optim: str
) -> None:
    warm = ("warm_start=checkpoint", f"callbacks.warm_start.checkpoint={sources['sndcgan'].path}")
    decay = ("++optim.discriminator.weight_decay=0.5",)
    freeze = ("callbacks.warm_start.freeze_layers=2", "regulariser=r1", "trainer.max_steps=3", f"optim={optim}", *decay)
    run = train_run("frozen", *tiny, "model=sndcgan", *warm, *freeze)
    start, end = stored(sources["sndcgan"])["state_dict"], stored(run)["state_dict"]
    first = ("discriminator.layers.0.", "discriminator.layers.2.")
    for name in start:
        if (
            name.startswith("discriminator")
            and name.endswith(("original", "bias"))
            and name != "discriminator.head.bias"
        ):
            assert torch.equal(start[name], end[name]) == name.startswith(first), name


class Killed(BaseException):
    """Stands for the end of the process: nothing is written after it."""


def test_a_warm_started_run_resumes_bit_for_bit_without_its_source(
    train_run: Callable[..., Run],
    tiny: tuple[str, ...],
    sources: dict[str, Run],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    source = tmp_path / "source.ckpt"
    source.write_bytes(sources["dcgan"].last.read_bytes())
    warm = (
        "warm_start=checkpoint",
        f"callbacks.warm_start.checkpoint={source}",
        "callbacks.warm_start.freeze_layers=1",
    )
    overrides = (*tiny, "model=dcgan", *warm, "trainer.max_steps=8", "callbacks.checkpoint.every_n_steps=2")
    whole = train_run("whole", *overrides)
    original = Checkpoint._end_of_step

    def dies(self: Checkpoint, trainer: Any, module: Any) -> None:
        if trainer.global_step == 5:
            raise Killed
        original(self, trainer, module)

    monkeypatch.setattr(Checkpoint, "_end_of_step", dies)
    with pytest.raises(Killed):
        train_run("cut", *overrides)
    monkeypatch.setattr(Checkpoint, "_end_of_step", original)
    source.unlink()
    resumed = train_run("cut", *overrides)
    one, other = stored(whole), stored(resumed)
    assert one["global_step"] == other["global_step"] == 8
    for part in ("state_dict", "ema"):
        assert all(torch.equal(value, other[part][name]) for name, value in one[part].items())
    states = zip(one["optimizer_states"], other["optimizer_states"], strict=True)
    for a, b in states:
        assert a["state"].keys() == b["state"].keys()
        for key, values in a["state"].items():
            assert all(torch.equal(value, b["state"][key][name]) for name, value in values.items())


def test_the_average_begins_with_what_was_taken(
    train_run: Callable[..., Run], tiny: tuple[str, ...], sources: dict[str, Run]
) -> None:
    warm = ("warm_start=checkpoint", f"callbacks.warm_start.checkpoint={sources['dcgan'].path}")
    rates = ("optim.generator.lr=0", "optim.discriminator.lr=0", "trainer.max_steps=1")
    content = stored(train_run("still", *tiny, "model=dcgan", *warm, *rates))
    before = stored(sources["dcgan"])["ema"]
    for name, value in content["ema"].items():
        if "running" not in name and "num_batches" not in name:
            assert torch.allclose(value, before[name], rtol=1e-6), name
