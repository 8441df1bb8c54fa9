"""What every term asks of its configuration."""

from __future__ import annotations

from adversaria.core.errors import UserError
from adversaria.core.schedules import Ramp


def check_term(name: str, weight: float | Ramp, interval: int, target: float = 0.0) -> None:
    """Refuses values out of range.

    Args:
        name: of the term under ``regulariser``, for messages.
        weight: a number of 0 or more, or a ramp.
        interval: 1 or more.
        target: 0 or more.

    Raises:
        UserError: naming the first that is out of range.
    """
    if isinstance(weight, int | float) and not weight >= 0:
        raise UserError(f"regulariser.{name}.weight={weight} is out of range: it must be 0 or more")
    if interval < 1:
        raise UserError(f"regulariser.{name}.interval={interval} is out of range: it must be 1 or more")
    if not target >= 0:
        raise UserError(f"regulariser.{name}.target={target} is out of range: it must be 0 or more")
