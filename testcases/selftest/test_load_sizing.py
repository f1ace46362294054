"""The rate of a load follows from ring, pause and capacity, and says so."""

from typing import Any, cast

import pytest

from lab.loads import Agent
from lab.loads.nic import LoopLoad, NicLoad
from lab.loads.sizing import ring_bound

TABLE: dict[str, tuple[dict[str, Any], float]] = {
    "a share of the capacity": ({}, 500.0),
    "the ring is the limit": ({"ring_blocks": 256}, 32.0),
    "the pause is the limit": ({"expected_pause_s": 16.0}, 128.0),
    "the capacity is the limit": ({"capacity_hz": 400.0}, 100.0),
    "a fast machine": ({"capacity_hz": 1e6, "expected_pause_s": 0.5}, 4096.0),
    "asked for": ({"rate_hz": 2000.0}, 2000.0),
}


@pytest.mark.parametrize(("given", "rate_hz"), TABLE.values(), ids=TABLE.keys())
def test_rate(given: dict[str, Any], rate_hz: float) -> None:
    sizing = ring_bound(**({"capacity_hz": 2000.0} | given))
    assert sizing.rate_hz == pytest.approx(rate_hz)
    assert f"{rate_hz:g} blocks/s" in sizing.explanation


def test_the_expected_pause_does_not_fill_the_ring() -> None:
    sizing = ring_bound(ring_blocks=1000, expected_pause_s=3.0, capacity_hz=1e9)
    assert sizing.longest_pause_s == pytest.approx(6.0)


@pytest.mark.parametrize("name", ["ring_blocks", "expected_pause_s", "capacity_hz", "share", "rate_hz"])
def test_nothing_may_be_zero(name: str) -> None:
    zero: dict[str, Any] = {"capacity_hz": 2000.0, name: 0}
    with pytest.raises(ValueError):
        ring_bound(**zero)


def test_a_load_takes_its_share_of_what_was_measured() -> None:
    load = LoopLoad().sized(80.0)
    assert (
        load.rate_hz == 20.0
        and "a share of 0.25 of the 80/s that passed when 600/s were asked for" in load.sizing
    )
    nic = NicLoad(cast(Agent, None)).sized(400.0)
    assert nic.rate_hz == 100.0 and "the ring is full after 40.96 s" in nic.sizing


def test_nothing_that_passed_is_no_load() -> None:
    with pytest.raises(ValueError):
        NicLoad(cast(Agent, None)).sized(0.0)
    with pytest.raises(ValueError):
        LoopLoad().sized(0.0)
