"""What a config may name, and that constructor signatures are its schema."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from adversaria.build import build_system, check, construct, find_target
from adversaria.errors import UserError
from adversaria.types import DataSpec

IMAGES = DataSpec((1, 16, 16), 10, (-1.0, 1.0), "image")


@pytest.mark.parametrize(
    "name",
    [
        "torch.nn.Linear",
        "torch.optim.Adam",
        "adversaria.gan.GAN",
        "adversaria.losses.functional.hinge_d",
        "lightning.pytorch.trainer.trainer.Trainer",
        "lightning.pytorch.callbacks.EarlyStopping",
    ],
)
def test_allowed_targets(name: str) -> None:
    assert callable(find_target(name, "x"))


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
        "adversaria.runs.Run",
        "lightning.pytorch.callbacks.callback.Any",
        "torch.nn.",
        "torch.nn.NoSuchLayer",
        "",
        7,
    ],
)
def test_everything_else_is_refused(name: Any) -> None:
    with pytest.raises(UserError, match="_target_"):
        find_target(name, "x")


def test_hostile_targets_are_found_wherever_they_hide(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    hostile = {"_target_": "os.mkdir", "path": str(trap)}
    trees: list[Any] = [
        {"a": {"b": [hostile]}},
        {"_target_": "torch.nn.Sequential", "_partial_": True, "inner": hostile},
        {"_target_": "torch.nn.Linear", "_recursive_": False, "bias": hostile},
    ]
    for tree in trees:
        with pytest.raises(UserError):
            check(tree, "model")
        with pytest.raises((UserError, TypeError)):
            construct(tree, "model")
    assert not trap.exists()


def test_trust_widens_by_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "class Thing:\n    def __init__(self, *, size: int): self.size = size\n"
    (tmp_path / "trusted_package.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    node = {"_target_": "trusted_package.Thing", "size": 3}
    with pytest.raises(UserError, match=r"trust=\[trusted_package\]"):
        construct(node, "x")
    assert construct(node, "x", ["trusted_package"]).size == 3


COMPONENT = """
from collections.abc import Callable, Sequence
from typing import Any, Literal
from adversaria.types import DataSpec

class Component:
    def __init__(self, *, count: int, rate: float = 0.5, name: str | None = None, mode: Literal["a", "b"] = "a",
                 widths: Sequence[int] = (), make: Callable[..., Any] | None = None,
                 spec: DataSpec | None = None) -> None:
        self.count, self.rate, self.make, self.spec = count, rate, make, spec
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
        ({"cuont": 3}, r"x\.cuont is unknown.*did you mean count"),
        ({"count": "three"}, r"x\.count=three is not a whole number"),
        ({"count": 2.5}, r"x\.count=2.5 is not a whole number"),
        ({"count": True}, r"x\.count=True"),
        ({"count": None}, r"x\.count=None"),
        ({"rate": "fast"}, r"x\.rate=fast is not a number"),
        ({"name": 3}, r"x\.name=3 is not text or null"),
        ({"mode": "c"}, r"x\.mode=c is not one of a, b"),
        ({"widths": 3}, r"x\.widths=3 is not a list"),
        ({"widths": [1, "two"]}, r"x\.widths"),
    ],
)
def test_signatures_are_the_schema(target: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check({"_target_": target, **values}, "x", TRUST)


def test_good_values_fit_and_runtime_parts_arrive_by_name(target: str) -> None:
    node = {
        "_target_": target,
        "count": 3,
        "rate": 1,
        "name": None,
        "widths": [1, 2],
        "make": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.1},
    }
    check(node, "x", TRUST)
    built = construct(node, "x", TRUST, spec=IMAGES, unwanted=1)
    assert built.spec is IMAGES
    assert built.make.func is torch.optim.Adam
    assert type(built.make) is functools.partial


def test_a_missing_argument_is_named(target: str) -> None:
    with pytest.raises(UserError, match="x needs count"):
        construct({"_target_": target}, "x", TRUST)


def test_an_objective_that_the_system_has_no_place_for_is_refused(make_config: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="VAE takes no loss"):
        build_system(make_config("model=vae", "loss=hinge"), IMAGES)
