"""The numbers of each stream: over a case, and at its updates."""

from pathlib import Path

import numpy as np
import pytest

from lab.measure import Measurement, measure
from lab.timeline import Event, Timeline
from testcases.selftest.report_handmade import ALL, GPU, LOOP, NIC, NVME, recording


def numbers(timeline: Timeline) -> dict[str, Measurement]:
    found = measure(timeline)
    assert len({one.name for one in found}) == len(found)
    return {one.name: one for one in found}


@pytest.mark.parametrize(
    ("name", "value", "unit", "clock"),
    [
        ("nic.to-guest: sent", 4100, "blocks", "far"),
        ("nic.to-guest: received", 4100, "blocks", "guest"),
        ("nic.from-guest: rate reached", 500, "blocks/s", "guest"),
        ("nic.from-guest: bytes received", 3885 * 768, "bytes", "far"),
        ("update 1: nic.from-guest, received inside the update", 486, "blocks", "far"),
        # the far end sends through the pause, and all of it arrives
        ("update 1: nic.to-guest, share of the update with DMA", 100, "%", "far"),
        # of 28 bins of 50 ms the guest is paused in 8 whole ones
        ("update 1: nic.from-guest, share of the update with DMA", 100 * 20 / 28, "%", "far"),
        ("update 1: nvme.write, in flight when the guest was paused", 7, "blocks", "guest"),
        ("gpu.frame: looked at", 34, "blocks", "controller"),
        ("gpu.frame: sent", 39, "blocks", "guest"),
        ("update 1: pause, frames from the guest (nic)", 0.432, "s", "far"),
    ],
)
def test_each_number_has_its_clock(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: float, unit: str, clock: str
) -> None:
    """By the clock of the end that saw it."""
    found = numbers(recording(tmp_path_factory.mktemp("case"), loads=(NIC, NVME, GPU)))[name]
    assert (found.unit, found.clock) == (unit, clock)
    assert found.value == pytest.approx(value, rel=0.01)


def test_every_load_and_update_is_measured(tmp_path: Path) -> None:
    """What is in flight in the guest, what DMA is seen from outside; never both of one stream."""
    names = set(numbers(recording(tmp_path, 2, loads=ALL)))
    inside = {
        f"{load.name}.{flow.name}" for load in ALL for flow in load.flows if flow.sender == flow.receiver
    }
    assert inside == {"nvme.write", "nvme.read", "edu.copy", "vblk.write", "vblk.read"}
    for load in ALL:
        for flow in load.flows:
            stream = f"{load.name}.{flow.name}"
            for update in (f"update 1: {stream}", f"update 2: {stream}"):
                seen_outside = stream not in inside and not flow.sampled_s
                assert (f"{update}, in flight when the guest was paused" in names) is (stream in inside)
                assert (f"{update}, share of the update with DMA" in names) is seen_outside


def test_what_was_lost_is_no_dma(tmp_path: Path) -> None:
    """Sent alone is not enough: a share counts what arrived."""
    shown = recording(tmp_path)
    table = tmp_path / "columns/nic.to-guest.received"
    kept = (
        np.load(table / "seq.npy") < 1750 + 20
    )  # the update is asked for at 3.5 s of the load, 500 a second
    for file in table.glob("*.npy"):
        np.save(file, np.load(file)[kept])
    share = numbers(shown)["update 1: nic.to-guest, share of the update with DMA"].value
    assert share == pytest.approx(100 / 28)


def test_nothing_was_in_flight_in_a_load_that_waits(tmp_path: Path) -> None:
    """Zero is a number too."""
    found = numbers(recording(tmp_path, loads=(LOOP,), assigned=False))
    assert found["update 1: loop.loop, in flight when the guest was paused"].value == 0


@pytest.mark.parametrize("without", ["clock.sync", "qmp.event", "load.start", "cpr.ok"])
def test_what_is_not_recorded_is_left_out(tmp_path: Path, without: str) -> None:
    """Without its evidence no number is made up, and none raises."""
    whole = recording(tmp_path, loads=(NIC, NVME, GPU))
    kept = [event for event in whole.events if event.kind != without]
    events = tuple(Event(i, e.t_ns, e.kind, e.data) for i, e in enumerate(kept))
    found = numbers(Timeline(events, whole.tables))
    assert not any("in flight" in name for name in found)
    assert any("nic.to-guest" in name for name in found) == (without != "load.start")


def test_tables_that_run_backwards_are_left_out(tmp_path: Path) -> None:
    """A clock that jumped measures nothing."""
    shown = recording(tmp_path, loads=(NVME,))
    file = tmp_path / "columns/nvme.write.received/t_ns.npy"
    np.save(file, np.load(file)[::-1])
    found = numbers(shown)
    assert not any(name.startswith("nvme.write: received") or "nvme.write, in" in name for name in found)
    assert found["nvme.write: sent"].value > 0
