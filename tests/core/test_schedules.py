"""Ramps at known points, whatever the budget."""

from __future__ import annotations

import pytest

from adversaria.core.errors import UserError
from adversaria.core.schedules import CosineRamp, LinearRamp, Progress, value_at


def at(images: int, total: int = 1000) -> Progress:
    return Progress(images // 10, total // 10, images, total)


def test_ramps_over_images_end_where_they_say() -> None:
    ramp = LinearRamp(2.0, 4.0, images=100)
    assert [ramp(at(n)) for n in (0, 50, 100, 900)] == pytest.approx([2, 3, 4, 4])
    assert ramp(at(50, total=100_000)) == pytest.approx(3)


def test_ramps_over_a_share_stretch_with_the_budget() -> None:
    ramp = CosineRamp(1.0, 0.0, share=0.5)
    assert [ramp(at(n)) for n in (0, 250, 500, 1000)] == pytest.approx([1, 0.5, 0, 0])
    assert [ramp(at(10 * n, total=10_000)) for n in (0, 250, 500, 1000)] == pytest.approx([1, 0.5, 0, 0])
    assert CosineRamp(0.0, 1.0)(at(250)) == pytest.approx((1 - 0.5**0.5) / 2)


def test_a_number_is_its_own_value() -> None:
    assert value_at(0.3, at(0)) == 0.3
    assert value_at(LinearRamp(0, 1), at(100)) == pytest.approx(0.1)


@pytest.mark.parametrize("field", [{"images": 0}, {"share": 0.0}, {"share": 1.5}])
def test_lengths_out_of_range_are_refused(field: dict[str, float]) -> None:
    with pytest.raises(UserError, match="ramp"):
        LinearRamp(0, 1, **field)
