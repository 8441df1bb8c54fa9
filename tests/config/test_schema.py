"""Bad values made from the schema itself: for every field of every file in ``conf/``."""

from __future__ import annotations

import copy
import itertools
import math
import pkgutil
import shutil
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Union

import pytest

from adversaria.cli import train
from adversaria.config.build import check
from adversaria.config.fields import check_fields
from adversaria.config.plain import conf_dir
from adversaria.config.schema import describe, fits, signature
from adversaria.core.errors import UserError
from adversaria.core.ranges import AtLeast, Between, Length, Range
from adversaria.core.schedules import Ramp, Weight
from adversaria.health import Detector
from adversaria.training.experiment import trainer_node

BAD: tuple[Any, ...] = (math.nan, math.inf, -1, "word", None, [1])
#: numbers of any sign are meant there: targets of logits, positions, and what grows from a negative number
ANY_SIGN = {"start", "end", "target", "real_target", "fake_target", "psi", "theta", "p"}
#: -1 stands for all devices of the machine
ALL_DEVICES = "trainer.devices"


@dataclass(frozen=True)
class Mine(Detector):
    """A user's own."""

    threshold: float = 1.0


class Field(typing.NamedTuple):
    """One field: the config that has it, its group and its path within."""

    config: dict[str, Any]
    group: str
    path: tuple[str, ...]
    hint: Any

    @property
    def key(self) -> str:
        return ".".join((self.group, *self.path))

    def with_value(self, value: Any) -> Any:
        node = copy.deepcopy(self.config[self.group])
        inner = node
        for name in self.path[:-1]:
            inner = inner[name]
        inner[self.path[-1]] = value
        return node

    def refusal(self, value: Any) -> str | None:
        """What the check says of the field with ``value``."""
        node = self.with_value(value)
        try:
            if self.group == "trainer":
                node = trainer_node({**self.config, "trainer": node})
            check(node, self.group)
        except UserError as error:
            return str(error)
        return None


def leaves(config: dict[str, Any], group: str) -> Iterator[Field]:
    """Every field below a group that stands in the node of an object."""

    def walk(node: Any, path: tuple[str, ...]) -> Iterator[Field]:
        if not isinstance(node, dict):
            return
        hints: Mapping[str, Any] = {}
        if "_target_" in node:
            _, hints = signature(pkgutil.resolve_name(node["_target_"]))
        for key, value in node.items():
            if isinstance(value, dict):
                yield from walk(value, (*path, key))
            elif "_target_" in node and not key.startswith("_"):
                yield Field(config, group, (*path, key), hints.get(key, Any))

    yield from walk(config[group], ())


@pytest.fixture(scope="session")
def fields(make_config: Callable[..., Any]) -> dict[tuple[str, str], Field]:
    """By class and argument, every field that some choice of some group brings."""
    choices = {
        folder.name: [f"{folder.name}={file.stem}" for file in sorted(folder.glob("*.yaml"))]
        for folder in sorted(path for path in conf_dir().iterdir() if path.is_dir())
        if folder.name not in ("hydra", "local", "sweep", "debug", "experiment", "usefulness", "memorisation")
    }
    # A model chooses from the other groups. Those leave each other alone: one of each at a time.
    models = [(model,) for model in choices.pop("model")]
    models += [("model=pix2pix", pairing) for pairing in choices.pop("pairing")]
    found: dict[tuple[str, str], Field] = {}
    for overrides in (*models, *itertools.zip_longest(*choices.values())):
        config = make_config(*filter(None, overrides))
        for group in config:
            for field in leaves(config, group) if isinstance(config[group], dict) else ():
                inner = field.with_value(None)
                for name in field.path[:-1]:
                    inner = inner[name]
                found.setdefault((inner["_target_"], field.path[-1]), field)
    return found


def numbers_of(hint: Any) -> Iterator[tuple[Any, bool]]:
    """The numeric types within an annotation, and whether a range is stated for each."""

    def walk(hint: Any, ranged: bool) -> Iterator[tuple[Any, bool]]:
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin is Annotated:
            yield from walk(arguments[0], ranged or any(isinstance(part, Range) for part in hint.__metadata__))
        elif hint in (int, float):
            yield hint, ranged
        elif origin is not None and "Callable" not in str(origin):
            for argument in arguments:
                yield from walk(argument, ranged and origin in (Union, type(int | str)))

    yield from walk(hint, False)


def takes(hint: Any, kind: type) -> bool:
    """Whether plain values of a type may stand at the top of an annotation."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return takes(arguments[0], kind)
    if origin in (Union, type(int | str)):
        return any(takes(argument, kind) for argument in arguments)
    if kind is list:
        return isinstance(origin, type) and origin is not dict and issubclass(list, origin)
    return hint in (kind, Any) or hint is kind


def test_every_field_states_its_range_and_refuses_bad_values_by_its_path(fields: dict[tuple[str, str], Field]) -> None:
    # In one test, for each process of the tests would compose all configs again.
    bare = {
        f"{target}.{name}"
        for (target, name), field in fields.items()
        if any(not ranged for _, ranged in numbers_of(field.hint))
    }
    # A time is text or seconds, which `time_limit` reads.
    assert sorted(name for name in bare if not name.startswith("lightning.pytorch.loggers.")) == [
        "lightning.pytorch.trainer.trainer.Trainer.max_time"
    ]
    assert len(fields) > 250
    refused = accepted = 0
    for (target, name), field in fields.items():
        if target.startswith("lightning.pytorch.loggers."):
            continue
        for value in BAD:
            said = field.refusal(value)
            if said is not None:
                assert field.key in said or name in ("max_time", "devices", "num_nodes"), (field.key, value, said)
                assert "\n" not in said
                refused += 1
                continue
            accepted += 1
            where = f"{field.key}={value} ({describe(field.hint)})"
            if isinstance(value, float):
                pytest.fail(f"{where} is accepted, and is no number")
            elif value == -1:
                assert name in ANY_SIGN or field.key == ALL_DEVICES or field.hint is Any, where
            elif value == "word":
                assert takes(field.hint, str), where
            elif value is None:
                assert takes(field.hint, type(None)) or field.key.startswith("trainer."), where
            else:
                assert takes(field.hint, list), where
    print(f"{len(fields)} fields: {refused} values refused, {accepted} within the stated range")
    assert refused > 4 * len(fields)


@pytest.mark.parametrize("command", ["train", "sample", "invert", "evaluate", "compare", "doctor", "cache"])
def test_fields_at_the_top_are_checked_as_well(command: str, make_config: Callable[..., Any]) -> None:
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = hydra.compose(command)
    OmegaConf.set_struct(composed, False)
    for key in OmegaConf.missing_keys(composed):
        composed[key] = "somewhere"
    config: dict[str, Any] = OmegaConf.to_container(composed)
    check_fields(command, config)
    with pytest.raises(UserError, match="nonsense is not a key or group"):
        check_fields(command, {**config, "nonsense": 1})
    for key in config:
        with pytest.raises(UserError, match=key):
            check_fields(command, {name: value for name, value in config.items() if name != key} | {f"{key}x": 1})
        values: list[Any] = [math.nan, math.inf, [[1]], 2**70 if key == "seed" else [[2]]]
        for value in values if isinstance(config[key], bool) or key == "compile" else [*values, -1, True]:
            with pytest.raises(UserError, match=rf"^{key}( is|=)"):
                check_fields(command, {**config, key: value})


def test_a_range_around_a_union_holds_for_both_ends_of_a_ramp() -> None:
    ramp = {"_target_": "adversaria.core.schedules.LinearRamp", "start": 0.5, "end": 1.0}
    assert fits(ramp, Weight)
    assert not fits({**ramp, "end": -1.0}, Weight)
    assert not fits({**ramp, "start": -0.1}, Weight | None)
    assert describe(Annotated[float | Ramp, AtLeast(0)]) == "a number of at least 0 or a ramp"
    with pytest.raises(
        UserError, match=r"regulariser\.second\.weight\.end=-1\.0 is not a number of at least 0 or a ramp"
    ):
        check(
            {"second": {"_target_": "adversaria.objectives.terms.R1", "weight": {**ramp, "end": -1.0}}}, "regulariser"
        )


def test_the_true_path_is_named(make_config: Callable[..., Any]) -> None:
    config = make_config("model=infogan")
    config["model"]["generator"]["network"]["width"] = 0
    with pytest.raises(UserError, match=r"^model\.generator\.network\.width=0 is not a whole number from 1 to"):
        check(config["model"], "model")


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (Annotated[float, Between(0, 1, below_high=True)], [0, 0.99], [1, -0.1, math.nan, "0", True, None]),
        (Annotated[int, Between(1, 3)], [1, 3], [0, 4, 1.0, 2**64]),
        (Annotated[list[float], Length(2, 2)], [[0, 1.5]], [[0], [0, 1, 2], [0, math.inf], 1]),
        (int, [2**63 - 1], [2**63, -(2**63)]),
        (bool | None, [True, None], [0, "true"]),
    ],
)
def test_ranges(hint: Any, good: list[Any], bad: list[Any]) -> None:
    assert all(fits(value, hint) for value in good)
    assert not any(fits(value, hint) for value in bad)


@pytest.mark.slow
def test_bad_values_end_to_end(
    fields: dict[tuple[str, str], Field],
    tiny: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One field of each kind of the default run: refused without a traceback or a folder, or it trains an update."""
    monkeypatch.chdir(tmp_path)
    kinds: dict[tuple[str, str], Field] = {}
    for field in fields.values():
        if field.group in ("model", "optim", "data", "trainer", "callbacks", "metrics"):
            kinds.setdefault((field.group, describe(field.hint)), field)
    common = ["trainer.max_steps=1", "trainer.accelerator=cpu", *tiny, "run_dir=run"]
    refused = trained = 0
    for field in kinds.values():
        for value in BAD:
            text = {None: "null", "word": "word"}.get(value, str(value)) if not isinstance(value, list) else "[1]"
            monkeypatch.setattr("sys.argv", ["train.py", *common, f"++{field.key}={text}"])
            code = train.main()
            err = capsys.readouterr().err
            assert "Traceback" not in err, (field.key, value, err)
            if code:
                assert err.count("error: ") == 1, (field.key, value, err)
                assert not (tmp_path / "run").exists(), (field.key, value)
                refused += 1
            else:
                trained += 1
                shutil.rmtree(tmp_path / "run")
    print(f"{len(kinds)} kinds of fields end to end: {refused} values refused, {trained} trained")
    assert refused > trained


def test_inherited_fields_of_a_dataclass_are_checked_by_the_names_of_the_module_that_declares_them() -> None:
    assert "Count" not in globals()  # which is what `patience` is annotated with there
    assert signature(Mine)[1]["patience"] == typing.get_type_hints(Detector, include_extras=True)["patience"]
    assert signature(Mine)[1]["threshold"] is float
