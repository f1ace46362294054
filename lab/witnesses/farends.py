"""The far ends of a guest's further chardev connections, on the bench host and by its monitor."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from lab.agents.numbered import Checker
from lab.drivers.agent import HostAgent
from lab.errors import BenchError, SutError
from lab.link import AgentRefusal
from lab.qemu.chardevs import Chardev
from lab.timeline import Recorder
from lab.waiting import wait_until
from lab.witnesses.chardev import AskedConnection, ChardevStream, GuestEnd, HostEnd, StreamEnd

if TYPE_CHECKING:
    from lab.guest import Guest
    from lab.qemu.argv import GuestConfig
    from lab.qemu.monitor import Monitor

SETTLED_LINES = 4
SETTLE_S = 30.0


class Reported(Protocol):
    """A stream that can be asked what came of it."""

    def report(self, *, update: int, drain: bool = False, wait_s: float = 5.0) -> None: ...


@dataclass
class RingEnd:
    """A ring buffer in QEMU, read by its monitor (qapi/char.json, ringbuf-read): it only hears.

    monitor: of the QEMU that runs the guest now
    """

    monitor: "Callable[[], Monitor]"
    chardev: str
    checker: Checker = field(default_factory=Checker)
    _BYTES = 1 << 16

    def drain(self) -> None:
        """It sends nothing."""

    def report(self, upto: int | None = None) -> Mapping[str, Any]:
        """As that of a stream; what QEMU has is taken from it.

        Raises:
            SutError: QEMU does not answer.
        """
        wanted = {"device": self.chardev, "size": self._BYTES}
        self.checker.feed(str(self.monitor().execute("ringbuf-read", wanted)).encode())
        told = {"backend": "ringbuf", "connections": 1, "eofs": 0, "sent": 0, "longest_idle_ms": 0}
        return {**told, "received": self.checker.report(upto)}


class FarEnds:
    """Opens them with the guest's ends, follows an update and reports; idle where there are no chardevs."""

    def __init__(self, agent: HostAgent, guest: "Guest", recorder: Recorder) -> None:
        self._agent, self._guest, self._recorder = agent, guest, recorder
        self._chardevs = guest.config.chardevs
        self._terminals: dict[str, str] = {}
        for one in self._chardevs:
            self._open(one)
        # a serial port whose other end is not there throws away what the guest says; one that the guest has
        # not opened yet throws away what it is told
        for one in self._lines():
            guest.link.call("streams_start", names=[one.guest_port], rate_hz=one.rates_hz.guest)
        for one in self._lines():
            if one.backend.far != "ringbuf":
                agent.stream_begin(one.id)
        self._reported = [self._witness(one) for one in self._chardevs]

    @contextmanager
    def dense(self) -> Iterator[None]:
        """Have more on its way than usual: while new QEMU replaces the old one."""
        self._pace(dense=True)
        try:
            yield
        finally:
            self._pace(dense=False)

    def find_again(self) -> None:
        """Ask QEMU for the terminals that it has made anew, as whoever uses them must."""
        for one in self._terminal_chardevs():
            try:
                path = self._terminal(one)
            except SutError as error:
                reason = f"new QEMU does not tell its terminals: {error}"
                self._recorder.record("witness.blind", witness=f"chardev {one.id}", reason=reason)
                return
            self._recorder.record("chardev.found", chardev=one.id, before=self._terminals[one.id], path=path)
            if path != self._terminals[one.id]:
                self._agent.stream_move(one.id, one.backend.far, path)
                self._terminals[one.id] = path

    def follow(self, config: "GuestConfig") -> None:
        """Another process runs the guest: connect to that one."""
        for one in self._chardevs:
            where = one.where(config.run_dir, config.home)
            if one.backend.far == "fd" or (where and not one.backend.prepared and one.backend.far != "file"):
                self._agent.stream_move(one.id, one.backend.far, where or None)

    def settle(self, epoch: int, timeout_s: float = SETTLE_S) -> None:
        """Wait until some lines of this epoch have come everywhere, both ways; never raises for the guest.

        Records `chardev.settled` with the last numbers, or `chardev.stalled` with what is behind.
        """
        first: dict[str, int] = {}
        late: list[str] = []
        heard: dict[str, list[int]] = {}

        def settled() -> bool:
            heard.update(self._heard())
            for name, (number, _) in heard.items():
                first.setdefault(name, number)
            late[:] = [
                n for n, (number, at) in heard.items() if at < epoch or number < first[n] + SETTLED_LINES
            ]
            return not late

        try:
            wait_until(settled, timeout_s, "lines everywhere", error=SutError, period_s=0.5)
        except (SutError, AgentRefusal) as error:
            self._recorder.record("chardev.stalled", epoch=epoch, reason=str(error), behind=late)
        else:
            numbers = {name: number for name, (number, _) in heard.items()}
            self._recorder.record("chardev.settled", epoch=epoch, heard=numbers)

    def report(self, *, update: int, drain: bool) -> None:
        """Record `chardev.report` of each."""
        for stream in self._reported:
            stream.report(update=update, drain=drain)

    def _pace(self, *, dense: bool) -> None:
        rates = {one.id: one.rates_hz for one in self._chardevs if one.backend.far != "ringbuf"}
        if rates:
            self._agent.stream_pace({name: r.dense if dense else r.calm for name, r in rates.items()}, dense)

    def _open(self, one: Chardev) -> None:
        config = self._guest.config
        self._recorder.record(
            "chardev.connection",
            chardev=one.id,
            backend=one.backend.name,
            frontend=one.frontend,
            ways=list(one.ways),
        )
        where = one.where(config.run_dir, config.home)
        if one.backend.far == "ringbuf":
            return
        if one.backend.far == "pty" and not where:
            where = self._terminals[one.id] = self._terminal(one)
        held = not one.protocol
        protocol = one.protocol
        self._agent.stream_open(
            one.id, one.backend.far, where or None, one.rates_hz.calm, held=held, protocol=protocol
        )

    def _witness(self, one: Chardev) -> Reported:
        if one.protocol:
            return AskedConnection(one.id, HostEnd(self._agent, one.id), self._recorder)
        host: StreamEnd = HostEnd(self._agent, one.id)
        if one.backend.far == "ringbuf":
            host = RingEnd(lambda: self._guest.monitor, one.id)
        guest = GuestEnd(self._guest.link, one.guest_port)
        return ChardevStream(one.id, host, guest, self._recorder, one.ways)

    def _heard(self) -> dict[str, list[int]]:
        """End -> last number and last epoch that came there; a ring is read later."""
        by_host, by_guest = self._agent.streams_heard(), self._guest.link.call("streams_heard")
        heard = {f"{one.id} from": by_host[one.id] for one in self._chardevs if one.backend.far != "ringbuf"}
        hear = [one for one in self._lines() if "to_guest" in one.ways]
        return heard | {f"{one.id} to": by_guest[one.guest_port] for one in hear}

    def _terminal(self, one: Chardev) -> str:
        """Raises BenchError if QEMU names none; SutError if it does not answer."""
        for told in self._guest.monitor.execute("query-chardev"):
            if told["label"] == one.id and str(told["filename"]).startswith("pty:"):
                return str(told["filename"]).removeprefix("pty:")
        raise BenchError(f"QEMU does not name the terminal of {one.id}")

    def _terminal_chardevs(self) -> list[Chardev]:
        return [one for one in self._chardevs if one.id in self._terminals]

    def _lines(self) -> list[Chardev]:
        return [one for one in self._chardevs if not one.protocol]
