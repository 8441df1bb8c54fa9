"""Where `conf/` lies, and the checks that look at more than one component."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from adversaria.errors import UserError
from adversaria.text import check_name

Plain = dict[str, Any]

#: besides true and false: modes of `torch.compile`, see there
COMPILE = ("auto", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


def stylegan2_gamma(size: int | None, batch_size: int) -> float:
    """The weight of R1 by the rule of StyleGAN2's authors, 0.0002 * size^2 / batch size.

    In a config: ``${stylegan2_gamma:${data.size},${data.batch_size}}``. Source: Karras et al. 2020, "Training
    Generative Adversarial Networks with Limited Data", appendix C; NVlabs/stylegan2-ada-pytorch, ``--cfg=auto``.

    Raises:
        ValueError: images of their own size, which the config does not know.
    """
    if size is None:
        raise ValueError("penalty.r1.weight follows data.size, which is null: give one of the two")
    return 0.0002 * size**2 / batch_size


def given(value: Any, default: Any) -> Any:
    """In a config ``${given:${run_dir},runs}``: a value, or another one where it is null."""
    return default if value is None else value


def folder_name(key: str, name: Any) -> Any:
    """In a config ``${folder_name:sweep_name,${sweep_name}}``: a value that becomes part of a path.

    Raises:
        UserError: it would lead to another folder, or some file system refuses it.
    """
    check_name(key, name)
    return name


OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
OmegaConf.register_new_resolver("stylegan2_gamma", stylegan2_gamma, replace=True)
OmegaConf.register_new_resolver("given", given, replace=True)


def conf_dir() -> Path:
    """The absolute folder of the configs: the checkout's ``conf/``, else the copy beside the installed package.

    The checkout comes first: an editable install leaves a copy in site-packages that goes stale.
    """
    package = Path(__file__).resolve().parent
    checkout = package.parent.parent
    return checkout / "conf" if (checkout / "pyproject.toml").is_file() else package / "conf"


def near(word: str, choices: Iterable[str]) -> str:
    """``"; did you mean a, b?"`` with the choices that look like ``word``, else an empty string."""
    matches = difflib.get_close_matches(word, list(choices), n=3, cutoff=0.5)
    return f"; did you mean {', '.join(matches)}?" if matches else ""


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Plain:
    """Nested mappings as one, with dotted keys; empty mappings keep their own key."""
    flat: Plain = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def check_type(key: str, value: Any, kind: type[Any], minimum: int | None = None) -> None:
    """Raises UserError unless ``value`` is a ``kind`` (a bool is no int) of at least ``minimum``."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UserError(f"{key}={value} is not {'a whole number' if kind is int else f'a {kind.__name__}'}")
    if minimum is not None and value < minimum:
        raise UserError(f"{key}={value} must be at least {minimum}")


def check_train_config(config: Plain) -> None:
    """The checks between components; each component checks its own fields when it is built.

    Raises:
        UserError: says which fields do not go together and what to change.
    """
    check_type("seed", config["seed"], int, 0)
    if config["compile"] not in (True, False, *COMPILE):
        raise UserError(f"compile={config['compile']} is not one of true, false, {', '.join(COMPILE)}")
    for key in ("channels_last", "gradient_checkpointing"):
        check_type(key, config[key], bool)
    check_type("trainer.max_steps", config["trainer"].get("max_steps"), int, 1)
    check_type("data.batch_size", config["data"].get("batch_size"), int, 1)
    trust = config["trust"]
    if not isinstance(trust, list) or not all(isinstance(name, str) for name in trust):
        raise UserError(f"trust={trust} is not a list of package names; write it as trust=[mypackage]")
    for key in ("run_dir", "sweep_dir", "sweep_name"):
        if config[key] is not None:
            check_type(key, config[key], str)
    batch, parts = config["data"]["batch_size"], config["optim"].get("accumulate", 1)
    generator_batch = config["optim"].get("generator_batch") or batch
    if isinstance(parts, int) and parts > 0 and (batch % parts or generator_batch % parts):
        raise UserError(
            f"optim.accumulate={parts} does not divide data.batch_size={batch} and optim.generator_batch="
            f"{generator_batch}; choose a number that divides both"
        )
