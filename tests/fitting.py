"""Makes any composed config quick to try: narrow networks, and both given labels if one of them is."""

from __future__ import annotations

from typing import Any

from hydra.utils import get_object

from adversaria.config.plain import flatten

#: the fields by which networks say how wide they are
WIDTHS = ("width", "channel_max")


def fitting(config: dict[str, Any], width: int = 16) -> list[str]:
    """Overrides for ``config``; fields that a network does not have are left alone."""
    flat = flatten({"model": config["model"]})
    narrow = [f"{key}={width}" for key, value in flat.items() if key.rsplit(".", 1)[-1] in WIDTHS and value is not None]
    conditional = [key for key in flat if key.endswith(".conditional")]
    # Networks that are given labels by what encloses them take none themselves.
    labelled = tuple(f"model.{name}." for name in ("generator", "discriminator") if _always_conditional(config, name))
    wanted = bool(labelled) or any(flat[key] for key in conditional)
    return narrow + [f"{key}={str(wanted).lower()}" for key in conditional if not key.startswith(labelled)]


def _always_conditional(config: dict[str, Any], name: str) -> bool:
    target = flatten({"model": config["model"]}).get(f"model.{name}._target_")
    return target is not None and getattr(get_object(target), "conditional", None) is True
