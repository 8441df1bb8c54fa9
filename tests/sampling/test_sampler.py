"""A checkpoint is self-contained, and loading one is safe."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import adversaria
from adversaria.core.errors import UserError
from adversaria.runs.folder import Run


@pytest.fixture(scope="module")
def conditional_run(tmp_path_factory: pytest.TempPathFactory, tiny: tuple[str, ...], make_config: Any) -> Run:
    from adversaria.training.experiment import build_experiment, train

    config = make_config("model=cgan", "data=digits", "trainer.max_steps=3", *tiny)
    run = Run(tmp_path_factory.mktemp("runs") / "cgan")
    with run.started(config, []):
        run.write_result(train(build_experiment(config), run))
    return run


def changed(run: Run, folder: Path, **values: Any) -> Path:
    """A copy of the run's checkpoint with other values at the top."""
    checkpoint = torch.load(run.last, weights_only=True) | values
    torch.save(checkpoint, folder / "changed.ckpt")
    return folder / "changed.ckpt"


def test_samples_are_reproducible_and_in_range(conditional_run: Run) -> None:
    sampler = adversaria.load(conditional_run.path)
    images = sampler.sample(70, seed=1, labels=3)
    assert images.shape == (70, 1, 16, 16)
    assert images.min() >= -1
    assert images.max() <= 1
    torch.testing.assert_close(images[:10], sampler.sample(10, seed=1, labels=3, batch_size=3))
    assert not torch.equal(images, sampler.sample(70, seed=2, labels=3))
    assert not torch.equal(images, sampler.sample(70, seed=1, labels=4))
    assert sampler.generator_updates == 3


def test_average_and_raw_weights_differ(conditional_run: Run) -> None:
    average, raw = adversaria.load(conditional_run.last), adversaria.load(conditional_run.last, raw=True)
    assert (average.weights, raw.weights) == ("ema", "raw")
    assert not torch.equal(average.sample(4), raw.sample(4))


def test_the_file_alone_is_enough(conditional_run: Run, tmp_path: Path) -> None:
    alone = tmp_path / "alone.ckpt"
    alone.write_bytes(conditional_run.last.read_bytes())
    assert torch.equal(adversaria.load(alone).sample(4), adversaria.load(conditional_run.path).sample(4))


def test_interpolation_starts_and_ends_at_samples(conditional_run: Run) -> None:
    sampler = adversaria.load(conditional_run.path)
    paths = sampler.interpolate(3, 5, seed=2, labels=1).view(3, 5, 1, 16, 16)
    ends = sampler.sample(6, seed=2, labels=1).view(3, 2, 1, 16, 16)
    torch.testing.assert_close(paths[:, 0], ends[:, 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(paths[:, -1], ends[:, 1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count=0"),
        ({"count": 4, "labels": 10}, "classes 0 to 9"),
        ({"count": 4, "labels": [-1]}, "classes 0 to 9"),
        ({"count": 4, "labels": []}, "classes 0 to 9"),
        ({"count": 4, "truncation": -1.0}, "truncation"),
    ],
)
def test_bad_requests_are_refused(conditional_run: Run, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        adversaria.load(conditional_run.path).sample(**options)


def test_labels_of_an_unconditional_model_are_refused(train_run: Callable[..., Run], tiny: tuple[str, ...]) -> None:
    run = train_run("run", "model=dcgan", "trainer.max_steps=1", *tiny)
    with pytest.raises(UserError, match="labels=3"):
        adversaria.load(run.path).sample(4, labels=3)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a checkpoint nor the folder"):
        adversaria.load(tmp_path / "nowhere")


@pytest.mark.parametrize("kept", [0, 10, 1000, -100])
def test_a_truncated_checkpoint_is_refused(conditional_run: Run, tmp_path: Path, kept: int) -> None:
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(conditional_run.last.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"cut off or no checkpoint"):
        adversaria.load(cut)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, how: str) -> None:
    trap, file = tmp_path / "ran", tmp_path / "hostile.ckpt"
    if how == "torch":
        torch.save({"state_dict": Trap(trap)}, file)
    else:
        file.write_bytes(pickle.dumps(Trap(trap)))
    with pytest.raises(UserError, match=r"could run code|cut off or no checkpoint"):
        adversaria.load(file)
    assert not trap.exists()


def test_code_in_a_checkpoints_config_is_not_run(conditional_run: Run, tmp_path: Path) -> None:
    config = torch.load(conditional_run.last, weights_only=True)["config"]
    trap = tmp_path / "ran"
    for target in ("os.mkdir", "torch.hub.load", "torch.nn.modules.module.torch.load"):
        hostile = {**config, "model": {**config["model"], "generator": {"_target_": target, "path": str(trap)}}}
        with pytest.raises(UserError, match="that a config may name here"):
            adversaria.load(changed(conditional_run, tmp_path, config=hostile))
    assert not trap.exists()


def test_an_unknown_format_version_is_refused(conditional_run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="format version 99"):
        adversaria.load(changed(conditional_run, tmp_path, format_version=99))


def test_a_foreign_pytorch_file_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "foreign.pt")
    with pytest.raises(UserError, match="format version None"):
        adversaria.load(tmp_path / "foreign.pt")


def test_weights_of_other_networks_are_refused(conditional_run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="do not fit"):
        adversaria.load(changed(conditional_run, tmp_path, state_dict={"generator.weight": torch.zeros(1)}))


def test_an_encoder_comes_with_its_average_and_without_one_as_it_was_trained(
    train_run: Callable[..., Run], tiny: tuple[str, ...], tmp_path: Path
) -> None:
    settings = ("model=vae", "data=digits", "trainer.max_steps=3", *tiny, "~metrics.reconstruction")
    run = train_run("vae", *(each for each in settings if "discriminator" not in each), "model.encoder.width=8")
    sampler, raw = adversaria.load(run.path, device="cpu"), adversaria.load(run.path, raw=True, device="cpu")
    checkpoint = torch.load(run.last, weights_only=True)
    assert sampler.encoder is not None
    assert raw.encoder is not None
    for name, value in sampler.encoder.state_dict().items():
        assert torch.equal(value, checkpoint["ema_encoder"][name])
    for name, value in raw.encoder.state_dict().items():
        assert torch.equal(value, checkpoint["state_dict"][f"encoder.{name}"])
    x = torch.rand(5, 1, 16, 16)
    assert not torch.equal(sampler.encode(x), raw.encode(x))

    del checkpoint["ema_encoder"]  # as of version 0.1
    torch.save(checkpoint, tmp_path / "old.ckpt")
    assert torch.equal(adversaria.load(tmp_path / "old.ckpt", device="cpu").encode(x), raw.encode(x))
    checkpoint["ema_encoder"] = {"body.0.weight": torch.zeros(1)}
    torch.save(checkpoint, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="do not fit the networks"):
        adversaria.load(tmp_path / "other.ckpt")
    checkpoint["ema_encoder"] = [1, 2]
    torch.save(checkpoint, tmp_path / "damaged.ckpt")
    with pytest.raises(UserError, match="ema_encoder that is not"):
        adversaria.load(tmp_path / "damaged.ckpt")
