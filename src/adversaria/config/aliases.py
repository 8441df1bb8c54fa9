"""Old spellings of configs: what an earlier version wrote, and what was typed for it, goes on meaning what it meant.

A module that moves gets a line in `MOVED`, a group or a key that is renamed one in `RENAMED`, a key that goes one
in `DROPPED`, and nothing else has to know: `up_to_date` reads whole configs (composed ones, run folders, checkpoints),
`typed_today` an override, and `adversaria.config.files` a config file before Hydra composes it. What a name means is
still decided by `adversaria.config.admission`, which sees the new name alone.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

from adversaria.core.errors import UserError
from adversaria.core.text import shown

log = logging.getLogger("adversaria")

#: modules, packages and single objects of version 0.1, below ``adversaria.``, and where they are now
MOVED: Mapping[str, str] = {
    "augment": "objectives.augment",
    "auto": "recipes",
    "callbacks": "training.callbacks",
    "data.folder": "data.images.folder",
    "data.given": "data.images.given",
    "data.named": "data.images.named",
    "data.points": "data.synthetic.points",
    "data.stacked": "data.images.stacked",
    "diagnosis": "health",
    "gan": "systems.gan",
    "layers": "nn.layers",
    "layers.Normal": "nn.latents.Normal",
    "layers.latent": "nn.latents",
    "layers.packing": "nn.wrappers.packing",
    "loggers": "training.loggers",
    "losses": "objectives.losses",
    "metrics": "evaluation.metrics",
    "metrics.CLIPExtractor": "features.CLIPExtractor",
    "metrics.ClassifierExtractor": "features.ClassifierExtractor",
    "metrics.DINOv2Extractor": "features.DINOv2Extractor",
    "metrics.InceptionExtractor": "features.InceptionExtractor",
    "metrics.Memorisation": "evaluation.memorisation.Memorisation",
    "metrics.Usefulness": "evaluation.usefulness.Usefulness",
    "metrics.VGG16Extractor": "features.VGG16Extractor",
    "metrics.classifier": "features.classifier",
    "metrics.classifier_extractor": "features.classifier_extractor",
    "metrics.fidelity": "features.fidelity",
    "metrics.memorisation": "evaluation.memorisation",
    "metrics.usefulness": "evaluation.usefulness",
    "models": "nn.networks",
    "models.conditional": "nn.wrappers.conditional",
    "models.infogan": "nn.wrappers.infogan",
    "models.mgan": "nn.wrappers.mgan",
    "optim": "systems.optim",
    "penalties": "objectives.terms",
    "penalties.SpectralNorm": "objectives.reparametrisations.SpectralNorm",
    "penalties.WeightClipping": "objectives.constraints.WeightClipping",
    "penalties.clipping": "objectives.constraints.clipping",
    "penalties.spectral_norm": "objectives.reparametrisations.spectral_norm",
    "schedules": "core.schedules",
    "vae": "systems.vae",
}

#: the same of what has left the package and can be named with ``trust=[studies]`` alone, from where that folder lies
STUDIES: Mapping[str, str] = {
    "data.dirac": "studies.dirac.data",
    "data.synthetic.dirac": "studies.dirac.data",
    "models.dirac": "studies.dirac.networks",
    "nn.networks.dirac": "studies.dirac.networks",
}
_LED_ON = {**{old: f"adversaria.{new}" for old, new in MOVED.items()}, **STUDIES}

#: groups and dotted keys that are called otherwise now; a key brings along what is below it
RENAMED: Mapping[str, str] = {"penalty": "regulariser"}

#: keys at the top that are no more and that changed no result: the value that said nothing
DROPPED: Mapping[str, Any] = {"gradient_checkpointing": False}

#: by their class, or by that of their extractor: the names under which ``conf/metrics`` puts the package's own metrics
METRICS: Mapping[str, str] = {
    "adversaria.evaluation.metrics.ModeCoverage": "modes",
    "adversaria.evaluation.metrics.PairedMetrics": "paired",
    "adversaria.evaluation.metrics.Reconstruction": "reconstruction",
    "adversaria.evaluation.metrics.StackedModes": "stacked_modes",
    "adversaria.features.CLIPExtractor": "clip",
    "adversaria.features.ClassifierExtractor": "classifier",
    "adversaria.features.DINOv2Extractor": "dinov2",
    "adversaria.features.InceptionExtractor": "inception",
    "adversaria.features.VGG16Extractor": "vgg16",
}
#: the name of other metrics that have none
_UNNAMED = "own"

_OVERRIDE = re.compile(r"(?P<sign>\+\+|\+|~)?(?P<key>[^\s=@]+)(?:@(?P<package>[^\s=]*))?(?P<rest>(?:=.*)?)", re.DOTALL)

#: an absolute interpolation up to the end of its key
_REFERENCE = re.compile(r"(?P<sign>\$\{)(?P<key>[\w.]+)(?=[}\[])")


def current_name(name: str) -> str:
    """The name by which what was called ``name`` can be named now; any other name stays as it is.

    >>> current_name("adversaria.gan.GAN")
    'adversaria.systems.gan.GAN'
    """
    package, _, inner = name.partition(".")
    if package != "adversaria":
        return name
    parts = inner.split(".")
    for length in range(len(parts), 0, -1):  # the longest beginning says most
        if (moved := _LED_ON.get(".".join(parts[:length]))) is not None:
            return ".".join((moved, *parts[length:]))
    return name


def with_current_names(config: Any) -> Any:
    """A copy of plain containers in which every ``_target_`` is a name of today."""
    if isinstance(config, dict):
        return {
            key: current_name(value) if key == "_target_" and isinstance(value, str) else with_current_names(value)
            for key, value in config.items()
        }
    return [with_current_names(item) for item in config] if isinstance(config, list) else config


def up_to_date(config: Any) -> Any:
    """A copy of a config's plain containers in which every name, group and key is one of today.

    Metrics that stand at the top of ``metrics``, without a name, get theirs; a key beside named ones is that of the
    only one, or of the only one that has such a key.

    Raises:
        UserError: a key of metrics stands beside several of them that may have it.
    """
    config = with_current_names(config)
    if not isinstance(config, dict):
        return config
    config = with_current_keys(config)
    return {**config, "metrics": named_metrics(config["metrics"])} if "metrics" in config else config


def with_current_keys(config: dict[str, Any]) -> dict[str, Any]:
    """A copy of a config's mappings in which every group and key of `RENAMED` stands where it stands today; without
    those of `DROPPED`.
    """
    for old, new in RENAMED.items():
        config, value = _without(config, old.split("."))
        if value is not _ABSENT:
            _say(old, new)
            config = merged(config, _nested(new.split("."), value))
    if isinstance(auto := config.get("auto"), dict):
        config = {**config, "auto": _naming_current_keys(auto)}
    for key in DROPPED.keys() & config.keys():
        if config[key] != DROPPED[key]:
            _say_dropped(key)
    return {key: value for key, value in config.items() if key not in DROPPED}


def current_key(key: str) -> str:
    """A dotted key, a group, or a file of a group, by its name of today; any other stays as it is."""
    for old, new in RENAMED.items():
        if key == old or key.startswith((f"{old}.", f"{old}/")):
            _say(old, new)
            return new + key[len(old) :]
    return key


def with_current_references(node: Any) -> Any:
    """A copy of plain containers, not yet resolved, in which every ``${key}`` is a key of today."""
    if isinstance(node, dict):
        return {key: with_current_references(value) for key, value in node.items()}
    if isinstance(node, list):
        return [with_current_references(item) for item in node]
    if not isinstance(node, str):
        return node
    return _REFERENCE.sub(lambda match: f"{match['sign']}{current_key(match['key'])}", node)


def named_metrics(node: Any) -> Any:
    """The ``metrics`` of a config by name; nodes without any metrics stay as they are.

    >>> named_metrics({"modes": {"_target_": "mine.Modes", "count": 9}, "count": 3})
    {'modes': {'_target_': 'mine.Modes', 'count': 3}}

    Raises:
        UserError: a key stands beside several metrics of which not one alone has such a key.
    """
    if not isinstance(node, dict):
        return node
    if "_target_" in node:
        extractor = node.get("extractor")
        made_of = [part["_target_"] for part in (extractor, node) if isinstance(part, dict) and "_target_" in part]
        name = next((METRICS[str(key)] for key in made_of if str(key) in METRICS), _UNNAMED)
        _say("metrics._target_", f"metrics.{name}._target_")
        return {name: node}
    names = metric_names(node)
    loose = {key: value for key, value in node.items() if key not in names}
    if not names or not loose:
        return node
    found = {name: node[name] for name in names}
    for last, value in loose.items():
        key = f"metrics.{last}"
        owners = names if len(names) == 1 else [name for name in names if last in node[name]] or names
        if len(owners) > 1:
            there = " or ".join(f"metrics.{name}.{last}" for name in owners)
            raise UserError(f"{shown(key)} may be that of {' or '.join(map(shown, owners))}; write {shown(there)}")
        _say(key, f"metrics.{owners[0]}.{last}")
        found[owners[0]] = merged(found[owners[0]], {last: value})
    return found


def metric_names(node: Any) -> list[str]:
    """Under which names metrics stand in the ``metrics`` of a config."""
    entries = node.items() if isinstance(node, dict) else ()
    return [name for name, entry in entries if isinstance(entry, dict) and "_target_" in entry]


def typed_today(override: str) -> str:
    """An override of a command line as it is written today; what is no override stays as it is.

    ``metrics.count=500`` is of the one metrics that there are, whose name only the whole config tells: it is added
    beside them, as ``++metrics.count=500``, and `up_to_date` puts it where it belongs. It also leaves out keys of
    `DROPPED`, which are added in the same way.
    """
    match = _OVERRIDE.fullmatch(override)
    if match is None:
        return override
    sign, package = match["sign"] or "", match["package"]
    key = current_key(match["key"])
    names = key.split(".")
    if not sign and names[0] == "metrics" and len(names) > 1 and names[1] not in METRICS.values():
        sign = "++"
    if not sign and key in DROPPED:
        sign = "++"
    rest = with_current_references(match["rest"])
    return f"{sign}{key}{'' if package is None else f'@{current_key(package)}'}{rest}"


def merged(below: Any, above: Any) -> Any:
    """Two trees as one: mappings entry by entry, of all else ``above``."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{key: merged(below[key], value) if key in below else value for key, value in above.items()}}


def _naming_current_keys(auto: Mapping[str, Any]) -> dict[str, Any]:
    """The node of ``auto``, whose ``fields``, ``keep`` and ``choices`` name keys of the config, by those of today."""

    def keys(node: Any) -> Any:
        return [current_key(key) if isinstance(key, str) else key for key in node] if isinstance(node, list) else node

    now = {name: keys(node) for name, node in auto.items() if name == "keep"}
    if isinstance(fields := auto.get("fields"), dict):
        now["fields"] = {name: keys(node) for name, node in fields.items()}
    if isinstance(choices := auto.get("choices"), dict):
        now["choices"] = {current_key(str(key)): value for key, value in choices.items()}
    return {**auto, **now}


_ABSENT = object()


def _without(tree: dict[str, Any], path: list[str]) -> tuple[dict[str, Any], Any]:
    """``tree`` without what stands at ``path``, and that; `_ABSENT` where nothing does."""
    first, *further = path
    if first not in tree or (further and not isinstance(tree[first], dict)):
        return tree, _ABSENT
    if not further:
        return {key: value for key, value in tree.items() if key != first}, tree[first]
    inner, value = _without(tree[first], further)
    return {**tree, first: inner}, value


def _nested(path: Iterable[str], value: Any) -> Any:
    """``value`` at a ``path`` of otherwise empty mappings."""
    first, *further = path
    return {first: _nested(further, value) if further else value}


@functools.cache
def _say(old: str, new: str) -> None:
    """Says once that a spelling is old."""
    log.info("%-10s %s is called %s now", "old name", shown(old), shown(new))


@functools.cache
def _say_dropped(key: str) -> None:
    """Says once that a key is no more."""
    log.info("%-10s %s is no field any more and changes nothing; leave it out", "old name", shown(key))
