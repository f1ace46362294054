"""The streams of a recording: what its loads declared, and nothing of what makes no sense."""

from typing import Any

import pytest

from lab.streams import StreamFacts, stream, streams
from lab.timeline import Event, Timeline

WELL: dict[str, Any] = {"sender": "far", "receiver": "guest"}


def timeline(*starts: dict[str, Any]) -> Timeline:
    return Timeline(tuple(Event(i, i, "load.start", data) for i, data in enumerate(starts)))


def start(load: Any = "nic", told: Any = WELL, **data: Any) -> dict[str, Any]:
    return {"load": load, "kind": "nic", "streams": {"to-guest": told}, **data}


def test_streams_stand_as_declared() -> None:
    """With their flags, the numbers of their load, and the names of their tables."""
    nvme = {"write": {"sender": "guest", "receiver": "guest", "in_flight": True, "ordered": False}}
    gpu = {"frame": {"sender": "guest", "receiver": "controller", "sampled": True}}
    told = timeline(
        start(rate_hz=500.0, block_bytes=768, seed=1),
        {"load": "nvme", "kind": "block", "streams": nvme, "rate_hz": 80, "block_bytes": 65536},
        {"load": "gpu", "kind": "gpu", "streams": gpu},
    )
    nic, block, screen = streams(told)
    assert nic == StreamFacts("nic", "to-guest", "far", "guest", kind="nic", rate_hz=500.0, block_bytes=768)
    assert (str(nic), nic.sent, nic.received) == (
        "nic.to-guest",
        "nic.to-guest.sent",
        "nic.to-guest.received",
    )
    assert (block.ordered, block.in_flight, block.sampled, block.kind) == (False, True, False, "block")
    assert (screen.sampled, screen.rate_hz, screen.block_bytes) == (True, None, None)
    assert stream(told, "nvme.write") == block
    assert stream(told, "nvme.read") is None and stream(told, "nvme") is None


@pytest.mark.parametrize(
    ("sender", "receiver", "outside"),
    [
        ("far", "guest", ("nic.to-guest.sent", "far")),
        ("guest", "far2", ("nic.to-guest.received", "far2")),
        ("guest", "guest", None),
        ("host", "controller", ("nic.to-guest.received", "controller")),
    ],
)
def test_the_end_outside_the_guest(sender: str, receiver: str, outside: tuple[str, str] | None) -> None:
    """Where the clock goes on while the guest stands still."""
    [found] = streams(timeline(start(told={"sender": sender, "receiver": receiver})))
    assert found.outside == outside


def test_declared_again_counts_once() -> None:
    """What was declared last holds."""
    [found] = streams(timeline(start(rate_hz=5), start(rate_hz=7)))
    assert found.rate_hz == 7


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"load": "nic"},
        {"load": "nic", "streams": ["to-guest", "from-guest"]},
        {"load": "nic", "streams": None},
        start(load=None),
        start(load=7),
        start(load=""),
        start(load="../../etc"),
        start(told=None),
        start(told="far"),
        start(told={}),
        start(told={"sender": "far"}),
        start(told={"sender": "far", "receiver": None}),
        start(told={"sender": ["far"], "receiver": "guest"}),
        start(told=WELL | {"ordered": "yes"}),
        {"load": "nic", "streams": {"": WELL, "a/b": WELL}},
    ],
    ids=str,
)
def test_what_is_malformed_is_left_out(data: dict[str, Any]) -> None:
    """It hides nothing that is well declared beside it."""
    assert streams(timeline(data)) == [] and stream(timeline(data), "nic.to-guest") is None
    assert [str(one) for one in streams(timeline(data, start(load="nic2")))] == ["nic2.to-guest"]


@pytest.mark.parametrize(
    "number", [None, "500", 0, -1, True, float("nan"), float("inf"), 10**400, [500]], ids=repr
)
def test_numbers_that_make_no_sense_are_not_told(number: Any) -> None:
    """The stream is there all the same."""
    [found] = streams(timeline(start(rate_hz=number, block_bytes=number)))
    assert found.rate_hz is None and found.block_bytes is None
