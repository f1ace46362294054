"""What a path carries is measured by the stamps of blocks, and the stamps are kept from the evidence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.columns import read
from lab.loads.capacity import Stamps, measured_hz
from lab.loads.nic import LoopLoad

from .test_load_nic import Bench


def rows(*t_ns: int) -> dict[str, Any]:
    n = len(t_ns)
    return {
        "seq": np.arange(n, dtype="<u8"),
        "epoch": np.ones(n, "<u4"),
        "t_ns": np.array(t_ns, "<i8"),
        "good": np.ones(n, "|u1"),
    }


def test_rate_is_of_the_stamps_not_of_their_arrival() -> None:
    stamps = Stamps()
    stamps.rows("nic-probe.to-guest.received", rows(0, 10_000_000))
    stamps.rows("nic-probe.to-guest.received", rows(20_000_000, 30_000_000))
    assert stamps.rate_hz("nic-probe.to-guest.received") == pytest.approx(100.0)


def test_one_block_has_no_rate() -> None:
    stamps = Stamps()
    stamps.rows("x.copy.received", rows(5))
    assert stamps.rate_hz("x.copy.received") == stamps.rate_hz("nothing") == 0.0


def test_probe_measures_the_path_and_leaves_no_trace(tmp_path: Path) -> None:
    """The wire loops back at once, so what is asked for is what passes."""
    bench = Bench(tmp_path, wire="unix:{0}/nic:{0}/nic")
    try:
        load = LoopLoad(probe_hz=300.0, seed=3)
        assert measured_hz(load, bench.guest, bench) == pytest.approx(300.0, rel=0.25)
        with load.sized(40.0).running(bench.guest, bench.evidence, bench) as running:
            running.settle(blocks=5)
        timeline = bench.finished()
    finally:
        bench.undo.close()
    assert {e.data["load"] for e in timeline.starting("load.")} == {"loop"}
    assert read(tmp_path / "case" / "columns", "loop-probe.loop.received") is None
    assert timeline.of("load.start")[0].data["rate_hz"] == 10.0
