"""Makes any composed config quick to try: narrow networks, and both given labels if one of them is."""

from __future__ import annotations

from typing import Any

from hydra.utils import get_object

from adversaria.config.plain import flatten

#: the fields by which networks say how wide they are
WIDTHS = ("width", "channel_max")
#: what else makes a network large, and a small value of it
SIZES = {"style_dim": 32, "mapping_layers": 2}


def fitting(config: dict[str, Any], width: int = 16) -> list[str]:
    """Overrides for ``config``; fields that it does not have are left alone."""
    return [f"{key}={str(value).lower()}" for key, value in _changes(config, width).items()]


def fitted(config: dict[str, Any], width: int = 16) -> dict[str, Any]:
    """``config`` itself, changed as `fitting` says: without composing it a second time."""
    for key, value in _changes(config, width).items():
        *path, name = key.split(".")
        node = config
        for part in path:
            node = node[part]
        node[name] = value
    return config


def _changes(config: dict[str, Any], width: int) -> dict[str, Any]:
    flat = flatten({"model": config["model"]})
    small = {**dict.fromkeys(WIDTHS, width), **SIZES}
    changes: dict[str, Any] = {
        key: small[name]
        for key, value in flat.items()
        if (name := key.rsplit(".", 1)[-1]) in small and value is not None
    }
    if config["optim"].get("generator_batch") is not None:
        changes["optim.generator_batch"] = 2 * config["data"]["batch_size"]
    conditional = [key for key in flat if key.endswith(".conditional")]
    # Networks that are given labels by what encloses them take none themselves.
    labelled = tuple(f"model.{name}." for name in ("generator", "discriminator") if _always_conditional(config, name))
    wanted = bool(labelled) or any(flat[key] for key in conditional)
    return changes | {key: wanted for key in conditional if not key.startswith(labelled)}


def _always_conditional(config: dict[str, Any], name: str) -> bool:
    target = flatten({"model": config["model"]}).get(f"model.{name}._target_")
    return target is not None and getattr(get_object(target), "conditional", None) is True
