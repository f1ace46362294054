"""What can be waited for while evidence is written."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lab.evidence import Evidence


@pytest.fixture
def evidence(tmp_path: Path) -> Iterator[Evidence]:
    made = Evidence(tmp_path / "case")
    yield made
    made.conclude()


def start(evidence: Evidence, load: str, *streams: str) -> None:
    evidence.record("load.start", load=load, streams={name: {} for name in streams})


def block(evidence: Evidence, table: str) -> None:
    evidence.rows(table, {"seq": np.array([1])})


def test_every_stream_of_every_load_that_runs_must_flow(evidence: Evidence) -> None:
    start(evidence, "nic", "to-guest", "from-guest")
    block(evidence, "nic.to-guest.received")
    assert not evidence.wait_for_flow(0.05)

    def flow() -> None:
        for stream in ("to-guest", "from-guest"):
            block(evidence, f"nic.{stream}.received")

    threading.Timer(0.05, flow).start()
    assert evidence.wait_for_flow(10)


def test_one_direction_is_no_flow(evidence: Evidence) -> None:
    start(evidence, "nic", "to-guest", "from-guest")
    threading.Timer(0.02, lambda: block(evidence, "nic.to-guest.received")).start()
    assert not evidence.wait_for_flow(0.2)


def test_a_load_that_stopped_is_not_waited_for(evidence: Evidence) -> None:
    start(evidence, "nvme", "read")
    evidence.record("load.stop", load="nvme")
    assert evidence.wait_for_flow(0)
