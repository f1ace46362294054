"""Numbered lines through a chardev, both ways, counted at both ends."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from lab.drivers.agent import HostAgent
from lab.epochs import Agent
from lab.errors import SutError
from lab.qemu.chardevs import BOTH
from lab.timeline import Recorder
from lab.waiting import wait_until
from lab.witnesses.blind import blind_if_refused

_COUNTERS = ("received", "lost", "repeated", "reordered", "damaged", "cut", "last_number", "last_epoch")


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

        Each end is given `wait_s` to get what the other has sent until now; what has not come then is lost.
        drain: both ends stop sending for good before that; without it, more than `sent` may have come
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
        at_guest = _awaited(self.guest, by_host["sent"], wait_s)
        at_host = _awaited(self.host, by_guest["sent"], wait_s)
        ways = {"to_guest": _way(by_host, at_guest), "from_guest": _way(by_guest, at_host)}
        _record(self.recorder, self.chardev, at_host, {w: ways[w] for w in self.ways}, drain, update)


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
            answered = _awaited(self.host, asked["sent"], wait_s)
            _record(self.recorder, self.chardev, answered, {"answers": _way(asked, answered)}, drain, update)


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


def _awaited(end: StreamEnd, number: int, wait_s: float) -> Mapping[str, Any]:
    """The report of an end once `number` has come there, or after `wait_s`."""
    with suppress(_Late):
        wait_until(lambda: _last(end) >= number, wait_s, f"line {number}", error=_Late)
    return end.report(upto=number)


def _last(end: StreamEnd) -> int:
    return int(end.report()["received"]["last_number"])
