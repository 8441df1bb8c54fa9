"""What a checkpoint says of its samples, made into objects again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adversaria.config.admission import EVERYTHING, Trust
from adversaria.config.aliases import with_current_names
from adversaria.config.build import construct
from adversaria.core.errors import UserError
from adversaria.core.modality import Modality
from adversaria.core.text import shown
from adversaria.core.types import DataSpec

#: what version 0.1 called modalities, whose value range stood beside them
_OLD = {"image": "adversaria.modalities.image.Image", "points": "adversaria.modalities.points.Points"}


def spec_of(plain: Mapping[str, Any], packages: Sequence[str] = ()) -> DataSpec:
    """The inverse of `DataSpec.to_dict`, also of what version 0.1 wrote.

    Args:
        plain: as `adversaria.runs.checkpoints.read_checkpoint` gives it.
        packages: of the user's own, whose modalities it may name.

    Raises:
        KeyError, TypeError, ValueError: it describes no data.
        UserError: the modality is none of this package or of ``packages``, or refuses its values.
    """
    node = plain["modality"]
    if isinstance(node, str):
        node = {"_target_": _OLD.get(node, node), "value_range": plain.get("value_range")}
    modality = construct(with_current_names(node), "spec.modality", Trust(packages, EVERYTHING))
    if not isinstance(modality, Modality):
        raise UserError(f"spec.modality={shown(node)} of the checkpoint is no modality; the file is damaged")
    condition = None if plain.get("condition") is None else spec_of(plain["condition"], packages)
    if condition is not None and condition.condition is not None:
        raise ValueError("a condition of a condition")
    return DataSpec(modality=modality, condition=condition, **DataSpec.arguments_of(plain))
