"""Where `conf/` lies, and the checks that look at more than one component."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from adversaria.core.text import check_name

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
        raise ValueError("regulariser.r1.weight follows data.size, which is null: give one of the two")
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
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent.parent
    return checkout / "conf" if (checkout / "pyproject.toml").is_file() else package / "conf"


def without_trust(config: Plain) -> Plain:
    """``config`` as it is kept: whom a user trusts is said at each start, and no stored file may bring it back."""
    return {key: value for key, value in config.items() if key != "trust"}


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


def without_absent_callbacks(config: Plain) -> Plain:
    """``config`` without the settings that data sets and models have for callbacks which are not there.

    With ``callbacks=health`` or after ``~callbacks.evaluation`` they are about nothing. What is no callback of
    ``conf/callbacks`` is left for a check to refuse.
    """
    callbacks = config.get("callbacks")
    if not isinstance(callbacks, dict):
        return config
    texts = [path.read_text("utf-8") for path in (conf_dir() / "callbacks").glob("*.yaml")]
    known = {name for text in texts for name in re.findall(r"^(\w+):", text, re.M)}
    absent = {name for name in known & callbacks.keys() if "_target_" not in (callbacks[name] or {})}
    return {**config, "callbacks": {name: node for name, node in callbacks.items() if name not in absent}}
