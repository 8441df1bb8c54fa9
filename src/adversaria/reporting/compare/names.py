"""What tells configurations apart, in as few words as possible: `model=dcgan, loss=hinge`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import yaml

from adversaria.config.plain import Plain, conf_dir
from adversaria.reporting.compare.runs import canonical

#: keys that tell runs apart but are no choice of the experiment
INCIDENTAL = (
    "seed",
    "run_dir",
    "sweep_name",
    "sweep_dir",
    "trust",
    "logger",
    "callbacks.progress",
    "data.num_workers",
    "data.cache_dir",
    "metrics.*.cache_dir",
    "auto.choices",  # they stand under the keys that they were made for
)
#: groups whose choice changes none but incidental keys
_SILENT_GROUPS = ("logger", "sweep", "hydra", "local")


def without_incidental(config: Plain) -> Plain:
    """A config with dotted keys, without what may differ between the seeds of one configuration.

    The seed of the data follows that of the run; one that was chosen for itself is a choice.
    """
    incidental = (*INCIDENTAL, "data.seed") if config.get("data.seed") == config.get("seed") else INCIDENTAL
    return {key: value for key, value in config.items() if not _is_under(key, incidental)}


def differing_keys(configs: Sequence[Plain]) -> list[str]:
    """The keys that not all ``configs`` have the same value for; classes come before their arguments."""
    keys = {key for config in configs for key in config}
    differing = [key for key in keys if len({canonical(config.get(key)) for config in configs}) > 1]
    return sorted(differing, key=lambda key: (not key.endswith("_target_"), key))


def name_settings(configs: Sequence[Plain], overrides: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    """For each of different ``configs`` what tells it from the others, by key; no two are equal.

    Choices of groups come first, where some run was started with them, then the keys that were set on a command line,
    then further keys until all configs are told apart; each only if those before it do not explain it. A choice that
    goes with another one is named with it: ``loss`` is then ``wasserstein, regulariser=gradient_penalty``.

    Args:
        configs: with dotted keys, without incidental ones.
        overrides: of a run of each.
    """
    differing = differing_keys(configs)
    choices = [group_choices(lines) for lines in overrides]
    given = dict.fromkeys(_key(line) for lines in overrides for line in lines)
    groups = [key for key in given if any(key in chosen for chosen in choices) and key not in _SILENT_GROUPS]
    columns = {group: [chosen.get(group, "none") for chosen in choices] for group in groups}
    columns = {group: column for group, column in columns.items() if len(set(column)) > 1}
    columns = _folded(columns)
    others = [column for group, column in columns.items() if group != "model"]
    # A model is a bundle of choices: where those that differ tell it, it has nothing to add.
    if "model" in columns and others and _determines(others, columns["model"]):
        del columns["model"]
    typed = [key for key in given if key in differing and key not in groups]
    under_given = [key for key in differing if _is_under(key, given)]
    for key in (*typed, *under_given, *differing):
        if not _determines(list(columns.values()), _values(key, configs)):
            columns[key] = _values(key, configs)
    return [{key: column[i] for key, column in columns.items()} for i in range(len(configs))]


def _folded(columns: dict[str, list[str]]) -> dict[str, list[str]]:
    """``columns``, each that is a function of an earlier one written into that one, where it is more than "none"."""
    folded: dict[str, list[str]] = {}
    sources = dict(columns)
    for key, column in columns.items():
        home = next((other for other in folded if _determines([sources[other]], column)), None)
        if home is None:
            folded[key] = column
            continue
        pairs = zip(folded[home], column, strict=True)
        folded[home] = [value if extra == "none" else f"{value}, {key}={extra}" for value, extra in pairs]
    return folded


def only_name(overrides: Iterable[str]) -> str:
    """The name of a configuration that stands alone: what the user typed."""
    typed = [line for line in overrides if not _is_under(_key(line), INCIDENTAL) and _key(line) not in _SILENT_GROUPS]
    return ", ".join(typed) or "the default"


def group_choices(overrides: Iterable[str]) -> dict[str, str]:
    """The choice in each group that ``overrides`` lead to, defaults included, as far as ``conf/`` tells.

    Precedence as in ``conf/train.yaml``: command line, experiment, model, defaults.
    """
    folder = conf_dir()
    groups = {path.name for path in folder.iterdir() if path.is_dir()}
    given = {_key(line): line.partition("=")[2] for line in overrides if _key(line) in groups and "=" in line}
    choices = _defaults("train")
    experiment = _defaults(f"experiment/{given.get('experiment')}")
    model = {**choices, **experiment, **given}.get("model")
    return {**choices, **_defaults(f"model/{model}"), **experiment, **given}


def _defaults(name: str) -> dict[str, str]:
    """The choices in the ``defaults`` of ``conf/<name>.yaml``; none if there is no such file."""
    path = conf_dir() / f"{name}.yaml"
    try:
        entries = (yaml.safe_load(path.read_text("utf-8")) or {}).get("defaults", [])
    except (OSError, yaml.YAMLError):
        return {}
    pairs = [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]
    return {key.split()[-1].lstrip("/"): str(choice or "none") for key, choice in pairs}


def _key(override: str) -> str:
    """``+optim.lr=1`` -> ``optim.lr``"""
    return override.partition("=")[0].lstrip("+~").strip()


def _is_under(key: str, prefixes: Iterable[str]) -> bool:
    """Whether a dotted ``key`` is one of ``prefixes`` or stands below it; ``*`` is any one name."""
    names = key.split(".")
    return any(
        len(wanted) <= len(names) and all(a in ("*", b) for a, b in zip(wanted, names, strict=False))
        for wanted in (prefix.split(".") for prefix in prefixes)
    )


def _values(key: str, configs: Sequence[Plain]) -> list[str]:
    """The value of ``key`` in each config as on a command line; of classes their own names alone if these differ."""
    values = [config.get(key) for config in configs]
    shown = [value if isinstance(value, str) else json.dumps(value, default=str) for value in values]
    if key.endswith("_target_"):
        short = [value.rpartition(".")[2] for value in shown]
        return short if len(set(short)) == len(set(shown)) else shown
    return shown if len(set(shown)) == len({canonical(value) for value in values}) else list(map(canonical, values))


def _determines(columns: Sequence[Sequence[str]], column: Sequence[str]) -> bool:
    """Whether ``column`` is a function of ``columns``."""
    rows = zip(*columns, strict=True) if columns else [()] * len(column)
    seen: dict[tuple[str, ...], str] = {}
    return all(seen.setdefault(row, value) == value for row, value in zip(rows, column, strict=True))
