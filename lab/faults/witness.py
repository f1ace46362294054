"""Faults of the lab itself: what blinds a witness must leave its checkers UNKNOWN, never PASS, nor FAIL."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from lab.faults.fault import ALL_DMA, TO_GUEST, Fault, Plant, Scene, checkers
from lab.guest_link import Connection

GRADES = ("chardev_grade(stream-fd)", "chardev_grade(stream-path)")
JUMP_S = 15.0
"""More than the pause that a virtual bench allows: it would be held against QEMU if nobody knew better."""
STALL_S = 60.0
"""More than anybody waits for a guest."""


def _blind(watch: str) -> Plant:
    return lambda scene: scene.agent.link.call("mishap_blind", name=watch)


def _deafen(scene: Scene) -> None:
    scene.agent.link.call("stream_deafen", chardev="stream-fd")


def _host_clock(scene: Scene) -> None:
    scene.agent.link.call("mishap_clock", seconds=JUMP_S)


def _far_clock(scene: Scene) -> None:
    scene.far["far"].call("mishap_clock", seconds=JUMP_S)


def _freeze_far(scene: Scene) -> None:
    scene.far["far"].call("mishap_freeze", seconds=scene.too_long_s)


def _fill_disk(scene: Scene) -> None:
    """From now on the kernel answers every write to the timeline as a full disk does."""
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, scene.evidence.recorder.fileno())
    os.close(full)


class _Stalled:
    """A connection whose other end is not heard until `until_s`; then all of it comes, late."""

    def __init__(self, connection: Connection, stalled: Callable[[], bool]) -> None:
        self._connection, self._stalled = connection, stalled
        self.settimeout, self.sendall, self.close = (
            connection.settimeout,
            connection.sendall,
            connection.close,
        )

    def recv(self, most_bytes: int, /) -> bytes:
        while self._stalled():
            time.sleep(0.05)
        return self._connection.recv(most_bytes)


def _stall(scene: Scene) -> None:
    """The guest's channel delivers nothing until its loads were given up."""
    over = threading.Event()
    path: Path = scene.evidence.recorder.path

    def wait() -> None:
        end_s = time.monotonic() + STALL_S
        while time.monotonic() < end_s and '"load.stop"' not in path.read_text(encoding="utf-8"):
            time.sleep(0.2)
        over.set()

    threading.Thread(target=wait, name="planted stall", daemon=True).start()
    scene.guest.link.through(lambda connection: _Stalled(connection, lambda: not over.is_set()))


FAULTS = {
    "pins-witness-dies": Fault(unknown=checkers("pages_stayed_pinned"), last=_blind("pins")),
    "kernel-log-witness-dies": Fault(
        unknown=checkers("logs_clean", "device_not_reset", "mappings_kept"),
        last=_blind("kmsg"),
    ),
    "trace-witness-dies": Fault(unknown=checkers("mappings_kept"), last=_blind("trace")),
    "stderr-witness-dies": Fault(unknown=checkers("logs_clean"), serves=False, last=_blind("output")),
    "chardev-witness-dies": Fault(unknown=checkers(GRADES[0]), serves=False, last=_deafen),
    "far-end-freezes": Fault(unknown=checkers(TO_GUEST, "guest_pause_below"), last=_freeze_far),
    "far-clock-jumps": Fault(unknown=checkers(*ALL_DMA, "guest_pause_below"), last=_far_clock),
    "host-clock-jumps": Fault(unknown=checkers("pages_stayed_pinned"), last=_host_clock),
    # what comes late is complete, and its own clocks and epochs vouch for it; but not when it was needed
    "guest-channel-stalls": Fault(
        unknown=checkers(*ALL_DMA, *GRADES),
        unsure=checkers("same_guest", "logs_clean"),
        serves=False,
        after=_stall,
    ),
    "disk-full-while-recording": Fault(breaks="could not be written", after=_fill_disk),
}
