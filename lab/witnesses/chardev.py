"""Numbered lines through a chardev, both ways, counted at both ends."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from lab.drivers.agent import HostAgent
from lab.epochs import Agent
from lab.errors import SutError
from lab.qemu.chardevs import BOTH
from lab.timeline import Recorder
from lab.waiting import wait_until
from lab.witnesses.blind import blind_if_refused

_COUNTERS = (
    "received",
    "lost",
    "repeated",
    "reordered",
    "damaged",
    "cut",
    "last_number",
    "first_epoch",
    "last_epoch",
)
PATIENCE = 12
"""So many times longer is waited for lines that keep coming: a guest under emulation was 343 lines behind."""


class StreamEnd(Protocol):
    """One end of a stream: `lab.agents.numbered.NumberedStream` in an agent."""

    def drain(self) -> None:
        """Begin no further line."""

    def report(self, upto: int | None = None) -> Mapping[str, Any]:
        """{sent, drained, received: counters}; `upto`: the last number that the other end sent."""


@dataclass(frozen=True)
class HostEnd:
    """The host agent's end, opened by `stream_open`."""

    agent: HostAgent
    chardev: str

    def drain(self) -> None:
        self.agent.stream_report(self.chardev, drain=True)

    def report(self, upto: int | None = None) -> Mapping[str, Any]:
        return self.agent.stream_report(self.chardev, upto=upto, wait_s=0)


@dataclass(frozen=True)
class GuestEnd:
    """The guest agent's end, opened by `streams_start`; `link` raises SutError when the guest is gone."""

    link: Agent
    port: str

    def drain(self) -> None:
        self.link.call("streams_drain", name=self.port)

    def report(self, upto: int | None = None) -> Mapping[str, Any]:
        report: Mapping[str, Any] = self.link.call("streams_report", name=self.port, upto=upto)
        return report


@dataclass(frozen=True)
class ChardevStream:
    """A stream that is open at both ends.

    ways: the directions that its back-end has
    """

    chardev: str
    host: StreamEnd
    guest: StreamEnd
    recorder: Recorder
    ways: tuple[str, ...] = BOTH

    def report(self, *, update: int, drain: bool = False, wait_s: float = 5.0) -> None:
        """Record `chardev.report`, or `witness.blind` when an end cannot be asked.

        What the other end has sent until now is lost when nothing more of it came for `wait_s`.
        drain: both ends stop sending for good before that; without it, more than `sent` may have come. If
               lines still come when patience ends, the report says that it is not drained
        """
        witness = f"chardev {self.chardev}"
        with blind_if_refused(self.recorder, witness):
            try:
                self._report(update, drain, wait_s)
            except SutError as error:
                self.recorder.record("witness.blind", witness=witness, reason=str(error))

    def _report(self, update: int, drain: bool, wait_s: float) -> None:
        for end in (self.host, self.guest):
            if drain:
                end.drain()
        by_host, by_guest = self.host.report(), self.guest.report()
        at_guest, guest_has_all = _awaited(self.guest, by_host["sent"], wait_s)
        at_host, host_has_all = _awaited(self.host, by_guest["sent"], wait_s)
        ways = {"to_guest": _way(by_host, at_guest), "from_guest": _way(by_guest, at_host)}
        drained = drain and guest_has_all and host_has_all
        _record(self.recorder, self.chardev, at_host, {w: ways[w] for w in self.ways}, drained, update)


@dataclass(frozen=True)
class AskedConnection:
    """A connection at whose other end is QEMU itself: requests and answers."""

    chardev: str
    host: HostEnd
    recorder: Recorder

    def report(self, *, update: int, drain: bool = False, wait_s: float = 5.0) -> None:
        """Record `chardev.report` with the one way `answers`."""
        with blind_if_refused(self.recorder, f"chardev {self.chardev}"):
            if drain:
                self.host.drain()
            asked = self.host.report()
            answered, all_came = _awaited(self.host, asked["sent"], wait_s)
            answers = {"answers": _way(asked, answered)}
            _record(self.recorder, self.chardev, answered, answers, drain and all_came, update)


def _record(
    recorder: Recorder,
    chardev: str,
    at_host: Mapping[str, Any],
    ways: Mapping[str, Any],
    drained: bool,
    update: int,
) -> None:
    told = {name: at_host[name] for name in ("backend", "connections", "eofs")}
    told |= {name: at_host[name] for name in ("truncated", "sessions", "refused") if name in at_host}
    recorder.record("chardev.report", chardev=chardev, **told, **ways, drained=drained, update=update)


def _way(by: Mapping[str, Any], at: Mapping[str, Any]) -> dict[str, int]:
    """One direction: what one end sent, and what came at the other."""
    counted = {name: at["received"][name] for name in _COUNTERS}
    return {"sent": by["sent"], "longest_idle_ms": by["longest_idle_ms"], **counted}


class _Late(Exception):
    """What was sent has not all come: evidence, no error."""


def _awaited(end: StreamEnd, number: int, wait_s: float) -> tuple[Mapping[str, Any], bool]:
    """The report of an end once `number` came there, or nothing for `wait_s`; False if lines still come.

    An end on a busy machine is behind: what it reads now was sent long before, and is not lost.
    """
    patience_s = time.monotonic() + PATIENCE * wait_s
    with suppress(_Late):
        while (last := _last(end)) < number:
            if time.monotonic() >= patience_s:
                return end.report(), False
            rises = partial(_rises, end, last)
            wait_until(rises, wait_s, f"line {last + 1}", error=_Late)
    return end.report(upto=number), True


def _rises(end: StreamEnd, last: int) -> bool:
    return _last(end) > last


def _last(end: StreamEnd) -> int:
    return int(end.report()["received"]["last_number"])
