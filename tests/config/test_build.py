"""What a config may name, and that constructor signatures are its schema."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from adversaria.config.admission import EVERYTHING, PLACES, Trust, kinds_of
from adversaria.config.build import check, construct
from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec
from adversaria.modalities import Image
from adversaria.systems.build import build_system
from adversaria.systems.gan import GAN
from adversaria.training.callbacks import EMA

IMAGES = DataSpec((1, 16, 16), 10, Image())


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("model", "adversaria.systems.gan.GAN"),
        ("loss", "adversaria.objectives.losses.AdversarialLoss"),
        ("regulariser", "adversaria.objectives.terms.R1"),
        ("trainer", "lightning.pytorch.trainer.trainer.Trainer"),
        ("callbacks", "lightning.pytorch.callbacks.EarlyStopping"),
        ("callbacks", "adversaria.training.callbacks.EMA"),
        ("logger", "lightning.pytorch.loggers.WandbLogger"),
    ],
)
def test_allowed_targets(group: str, name: str) -> None:
    assert callable(Trust().find(name, group, PLACES[group].kinds))


@pytest.mark.parametrize("group", PLACES)
@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "torch.hub.load",
        "torch.load",
        "torch.nn.modules.module.torch.load",  # an allowed prefix that leads elsewhere
        "torch.optim.adam.torch.hub.load",
        "torch.nn.init.normal_",  # a function outside the package
        "adversaria.cli.train.main",
        "adversaria.data.module.np.load",
        "adversaria.runs.folder.Run",
        "adversaria.data.cache.record.forget",
        "adversaria.data.synthetic.points.ring",  # one of the package's functions, but not a data set
        "adversaria.core.arrays.save_arrays",
        "adversaria.cli.train_classifier.run",
        "lightning.pytorch.callbacks.callback.Any",
        "torch.nn.",
        "torch.nn.NoSuchLayer",
        "",
        7,
        None,
        ["torch.nn.Linear"],
    ],
)
def test_everything_else_is_refused(name: Any, group: str) -> None:
    with pytest.raises(UserError, match="_target_"):
        Trust().find(name, group, PLACES[group].kinds)


def test_hostile_targets_are_found_wherever_they_hide(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    hostile = {"_target_": "os.mkdir", "path": str(trap)}
    layer = {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 2}
    trees: list[Any] = [
        {"a": {"b": [hostile]}},
        {**layer, "_partial_": True, "inner": hostile},
        {**layer, "_recursive_": False},
        {**layer, "bias": hostile},
        {**layer, "device": hostile},
    ]
    for tree in trees:
        for place, node in (
            ("augment", tree),
            ("model", {"_target_": "adversaria.systems.gan.GAN", "generator": tree}),
        ):
            with pytest.raises(UserError):
                check(node, place)
            with pytest.raises(UserError):
                construct(node, place)
    assert not trap.exists()


def test_what_the_run_gives_is_no_field_of_a_config(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step\n1\n")
    node = {"csv": {"_target_": "adversaria.training.loggers.CSV", "run_dir": str(tmp_path)}}
    with pytest.raises(UserError, match=r"logger\.csv\.run_dir is given by the run itself"):
        construct(node, "logger", run_dir="elsewhere", resume_step=0)
    assert (tmp_path / "metrics.csv").read_text() == "step\n1\n"


ANNOTATED = """
from typing import Any
from torch import Tensor, nn
from adversaria.objectives.losses import AdversarialLoss

class Loss(AdversarialLoss):
    def __init__(self, bare=None, anything: Any = None, either: float | Tensor = 0.0, union: nn.Module | Any = None,
                 layer: nn.Module | None = None, layers: "list[nn.Module] | None" = None, number: float = 0.0,
                 **others: nn.Module):
        self.layer, self.layers = layer, layers
"""


@pytest.mark.parametrize("argument", ["bare", "anything", "either", "union", "number", "others"])
def test_an_argument_admits_an_object_by_its_annotation_alone(
    argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "annotated.py").write_text(ANNOTATED)
    monkeypatch.syspath_prepend(str(tmp_path))
    layer = {"_target_": "torch.nn.ReLU"}
    with pytest.raises(UserError, match=f"loss.{argument}"):
        check({"_target_": "annotated.Loss", argument: layer}, "loss", ["annotated"])
    for value in ({"layer": layer}, {"layers": [layer]}):
        built = construct({"_target_": "annotated.Loss", **value}, "loss", ["annotated"])
        assert isinstance(built.layer or built.layers[0], torch.nn.ReLU)


def test_what_a_file_names_is_held_to_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "import torch, lightning.pytorch.callbacks as c\nclass Own(c.Callback): ...\nclass Net(torch.nn.Module): ...\n"
    )
    (tmp_path / "held.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    network = kinds_of(torch.nn.Module, GAN)
    callback = PLACES["callbacks"].kinds
    typed, stored = Trust(["held"]), Trust(["held"], EVERYTHING)
    for trust in (typed, stored):
        assert trust.find("held.Net", "x", network).__name__ == "Net"
        assert trust.find("adversaria.training.callbacks.EMA", "x", callback) is EMA
    for name in ("held.Own", "lightning.pytorch.callbacks.ModelCheckpoint"):
        assert callable(typed.find(name, "x", callback))
        with pytest.raises(UserError, match="may name"):
            stored.find(name, "x", callback)
    with pytest.raises(UserError, match="command line again"):
        stored.find("held.Own", "x", callback)


def test_a_function_of_a_trusted_package_is_a_loss_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import torch\ndef make() -> torch.nn.Module: ...\ndef loss(real, fake): return real.mean()\n"
    (tmp_path / "functions.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    hinge = {"_target_": "adversaria.objectives.losses.functional.hinge_g", "_partial_": True}
    mine = {"_target_": "functions.loss", "_partial_": True}
    node = {"_target_": "adversaria.objectives.losses.AdversarialLoss", "d_loss": mine, "g_loss": hinge}
    check(node, "loss", ["functions"])
    with pytest.raises(UserError, match="add _partial_: true"):
        check({**node, "d_loss": {"_target_": "functions.loss"}}, "loss", ["functions"])
    with pytest.raises(UserError, match="is not a network"):
        check(
            {"_target_": "adversaria.systems.gan.GAN", "generator": {"_target_": "functions.make"}},
            "model",
            ["functions"],
        )


def test_trust_widens_by_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "from adversaria.objectives.losses import AdversarialLoss\n"
        "class Thing(AdversarialLoss):\n    def __init__(self, *, size: int): object.__setattr__(self, 'size', size)\n"
    )
    (tmp_path / "trusted_package.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    node = {"_target_": "trusted_package.Thing", "size": 3}
    with pytest.raises(UserError, match=r"trust=\[trusted_package\]"):
        construct(node, "loss")
    assert construct(node, "loss", ["trusted_package"]).size == 3


COMPONENT = """
from collections.abc import Callable, Sequence
from typing import Any, Literal
from torch.optim import Optimizer
from adversaria.objectives.losses import AdversarialLoss
from adversaria.core.types import DataSpec

class Component(AdversarialLoss):
    def __init__(self, *, count: int, rate: float = 0.5, name: str | None = None, mode: Literal["a", "b"] = "a",
                 widths: Sequence[int] = (), make: Callable[..., Optimizer] | None = None,
                 spec: DataSpec | None = None) -> None:
        for name, value in dict(count=count, rate=rate, make=make, spec=spec).items():
            object.__setattr__(self, name, value)
"""
TRUST = ["own_component"]


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A user's own class."""
    (tmp_path / "own_component.py").write_text(COMPONENT)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "own_component.Component"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cuont": 3}, r"loss\.cuont is unknown.*did you mean count"),
        ({"count": "three"}, r"loss\.count=three is not a whole number"),
        ({"count": 2.5}, r"loss\.count=2.5 is not a whole number"),
        ({"count": True}, r"loss\.count=true"),
        ({"count": None}, r"loss\.count=null"),
        ({"rate": "fast"}, r"loss\.rate=fast is not a number"),
        ({"name": 3}, r"loss\.name=3 is not text or null"),
        ({"mode": "c"}, r"loss\.mode=c is not one of a, b"),
        ({"widths": 3}, r"loss\.widths=3 is not a list"),
        ({"widths": [1, "two"]}, r"loss\.widths"),
    ],
)
def test_signatures_are_the_schema(target: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check({"_target_": target, **values}, "loss", TRUST)


def test_good_values_fit_and_runtime_parts_arrive_by_name(target: str) -> None:
    node = {
        "_target_": target,
        "count": 3,
        "rate": 1,
        "name": None,
        "widths": [1, 2],
        "make": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.1},
    }
    check(node, "loss", TRUST)
    built = construct(node, "loss", TRUST, spec=IMAGES, unwanted=1)
    assert built.spec is IMAGES
    assert built.make.func is torch.optim.Adam
    assert type(built.make) is functools.partial


def test_a_missing_argument_is_named(target: str) -> None:
    with pytest.raises(UserError, match="loss needs count"):
        construct({"_target_": target}, "loss", TRUST)


def test_an_objective_that_the_system_has_no_place_for_is_refused(make_config: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="VAE takes no loss"):
        build_system(make_config("model=vae", "loss=hinge"), IMAGES)
