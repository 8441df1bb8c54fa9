"""A system with networks of its own: what happens beside the training step asks for none by name."""

from __future__ import annotations

import csv
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from adversaria.core.errors import UserError
from adversaria.reporting.doctor import read_history
from adversaria.reporting.doctor.page import page
from adversaria.runs.folder import Run
from adversaria.training.experiment import build_experiment, train

ROLES = ("encoder", "generator", "discriminator")
THREE = (
    "model=mlp",
    "data=ring8",
    "~model.latent",
    "data.batch_size=16",
    "model._target_=training.three_networks.Autoencoding",
    "+model.encoder={_target_: training.three_networks.Encoder, _partial_: true, width: 8}",
    "trust=[training]",
    "model.generator.width=8",
    "model.discriminator.width=8",
    "metrics=none",
    "trainer.max_steps=8",
    "trainer.log_every_n_steps=2",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "callbacks.health.every_n_steps=2",
    "callbacks.health.samples=16",
    "callbacks.health.singular_values=true",
    "callbacks.samples.count=4",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, make_config: Callable[..., dict[str, Any]]) -> Run:
    config = make_config(*THREE)
    made = Run(tmp_path_factory.mktemp("roles") / "three")
    with made.started({k: v for k, v in config.items() if k != "trust"}, list(THREE)):
        made.write_result(train(build_experiment(config), made))
    return made


def test_each_network_has_its_norms_and_its_rate(run: Run) -> None:
    with open(run.path / "metrics.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    for role in ROLES:
        for name in ("gradient_norm", "gradient_peak", "update_ratio", "rate"):
            assert float(last[f"{name}/{role}"]) > 0, (name, role)
        assert float(last[f"nonfinite_share/{role}"]) == 0
        for name in ("gradient_profile", "singular_value"):
            assert len([column for column in last if column.startswith(f"{name}/{role}/")]) >= 2, (name, role)
    assert float(last["health/d_signal"]) > 0  # D is probed, for the system says that it plays a game


def test_the_doctor_draws_each(run: Run) -> None:
    shown = page(read_history(run.path))
    for role in ROLES:
        assert shown.count(f'aria-label="gradient norm of the {role}"') == 1
        assert shown.count(f'aria-label="gradient by layer of the {role}"') == 1
        assert shown.count(f'aria-label="largest singular value by layer of the {role}"') == 1


def test_names_of_networks_in_a_file_from_anywhere_are_text_on_the_page(run: Run, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run.path, tmp_path / "copy"))
    rows = (copy / "metrics.csv").read_text()
    role = r'"><script>\g<7>'
    assert rows.count("gradient_norm/encoder") == 1
    quoted = role.replace('"', '""')
    (copy / "metrics.csv").write_text(rows.replace("gradient_norm/encoder", f'"gradient_norm/{quoted}"'))
    history = read_history(copy)
    assert role in history.networks
    shown = page(history)
    assert "<script" not in shown
    assert "gradient norm of the &quot;&gt;&lt;script&gt;" in shown


def test_a_warm_start_takes_all_networks_and_freezes_layers_of_the_discriminator(
    run: Run, tmp_path: Path, make_config: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    warm = ("warm_start=checkpoint", f"callbacks.warm_start.checkpoint={run.path}", "trainer.max_steps=1")
    again = build_experiment(make_config(*THREE, *warm, "callbacks.warm_start.freeze_layers=1"))
    logging.getLogger("adversaria").propagate = True
    with caplog.at_level(logging.INFO, "adversaria"):
        other = Run(tmp_path / "warm")
        with other.started({k: v for k, v in again.config.items() if k != "trust"}, []):
            train(again, other)
    logging.getLogger("adversaria").propagate = False
    assert "as initialised: none" in caplog.text
    assert "the first 1 of 4 layers of D" in caplog.text
    source = torch.load(run.last, weights_only=True)["state_dict"]
    frozen = "discriminator.layers.0.weight"
    assert torch.equal(again.system.state_dict()[frozen], source[frozen])
    # Adam's first step moves each weight by about the rate: these began where the others ended.
    for name, value in again.system.state_dict().items():
        assert (value - source[name]).abs().max() < 0.01, name


def test_detectors_that_speak_of_a_missing_network_are_left_out(train_run: Callable[..., Run]) -> None:
    small = ("model.generator.width=8", "model.encoder.width=8", "data.batch_size=8", "callbacks.samples.count=4")
    vae = train_run("vae", "model=vae", "data=digits", *small, *THREE[9:15], "callbacks.health.samples=8")
    with open(vae.path / "metrics.csv", newline="") as file:
        columns = csv.DictReader(file).fieldnames or []
    assert {name.split("/")[1] for name in columns if name.startswith(("gradient_peak/", "rate/"))} == {"generator"}
    health = next(v for n, v in torch.load(vae.last, weights_only=True)["callbacks"].items() if n.startswith("Health"))
    kept = set(read_history(vae.path).now.examination.detectors)
    assert kept == set(health["examination"]["streaks"])
    assert "generator_collapse" in kept
    assert not kept & {"discriminator_won", "discriminator_overfits"}


def test_a_network_without_an_optimizer_or_an_attribute_is_named(
    make_config: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = build_experiment(make_config(*THREE))
    kind: Any = type(experiment.system)
    configure = kind.configure_optimizers
    monkeypatch.setattr(kind, "configure_optimizers", lambda self: configure(self)[:2])
    run = Run(tmp_path / "run")
    with (
        pytest.raises(UserError, match="2 optimizers for the networks encoder, generator, discriminator"),
        run.started({}, []),
    ):
        train(experiment, run)
    monkeypatch.setattr(kind, "network_names", ("generator", "critic"))
    with pytest.raises(UserError, match="Autoencoding says that critic is one of its networks"):
        build_experiment(make_config(*THREE))
