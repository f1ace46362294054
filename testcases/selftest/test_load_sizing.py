"""The rate of a load follows from ring, pause and capacity, and says so."""

from typing import Any

import pytest

from lab.loads.sizing import sized

TABLE: dict[str, tuple[dict[str, Any], float]] = {
    "defaults": ({}, 500.0),
    "the ring is the limit": ({"ring_blocks": 256}, 32.0),
    "the pause is the limit": ({"expected_pause_s": 16.0}, 128.0),
    "the capacity is the limit": ({"capacity_hz": 400.0}, 100.0),
    "a fast machine": ({"capacity_hz": 1e6, "expected_pause_s": 0.5}, 4096.0),
    "asked for": ({"rate_hz": 2000.0}, 2000.0),
}


@pytest.mark.parametrize(("given", "rate_hz"), TABLE.values(), ids=TABLE.keys())
def test_rate(given: dict[str, Any], rate_hz: float) -> None:
    sizing = sized(**given)
    assert sizing.rate_hz == pytest.approx(rate_hz)
    assert f"{rate_hz:g} blocks/s" in sizing.explanation


def test_the_expected_pause_does_not_fill_the_ring() -> None:
    sizing = sized(ring_blocks=1000, expected_pause_s=3.0, capacity_hz=1e9)
    assert sizing.longest_pause_s == pytest.approx(6.0)


@pytest.mark.parametrize("name", ["ring_blocks", "expected_pause_s", "capacity_hz", "share", "rate_hz"])
def test_nothing_may_be_zero(name: str) -> None:
    with pytest.raises(ValueError):
        sized(**{name: 0})
