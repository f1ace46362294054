"""Numbered lines through a chardev, both ways, counted at both ends."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from lab.drivers.agent import HostAgent
from lab.epochs import Agent
from lab.errors import SutError
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
    """A stream that is open at both ends."""

    chardev: str
    host: StreamEnd
    guest: StreamEnd
    recorder: Recorder

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
        sent_by_host, sent_by_guest = (end.report()["sent"] for end in (self.host, self.guest))
        at_guest = _awaited(self.guest, sent_by_host, wait_s)
        at_host = _awaited(self.host, sent_by_guest, wait_s)
        self.recorder.record(
            "chardev.report",
            chardev=self.chardev,
            backend=at_host["backend"],
            connections=at_host["connections"],
            eofs=at_host["eofs"],
            to_guest={"sent": sent_by_host} | _counted(at_guest),
            from_guest={"sent": sent_by_guest} | _counted(at_host),
            drained=drain,
            update=update,
        )


class _Late(Exception):
    """What was sent has not all come: evidence, no error."""


def _awaited(end: StreamEnd, number: int, wait_s: float) -> Mapping[str, Any]:
    """The report of an end once `number` has come there, or after `wait_s`."""
    with suppress(_Late):
        wait_until(lambda: _last(end) >= number, wait_s, f"line {number}", error=_Late)
    return end.report(upto=number)


def _last(end: StreamEnd) -> int:
    return int(end.report()["received"]["last_number"])


def _counted(report: Mapping[str, Any]) -> dict[str, int]:
    return {name: report["received"][name] for name in _COUNTERS}
