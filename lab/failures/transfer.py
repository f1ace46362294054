"""cpr-transfer whose destination is not there, dies, or refuses what it gets.

Source: QEMU docs/devel/migration/CPR.rst, cpr-transfer; docs/devel/migration/main.rst: until the destination
runs the guest, a migration that fails leaves it in old QEMU, which can go on with it.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.cpr.cpr_transfer import channel
from lab.cpr.steps import set_capabilities, wait_for_migration, wait_for_status
from lab.errors import BenchError, Refused
from lab.failures import LOST, Failure, Scene
from lab.incarnation import Incarnation
from lab.qemu.monitor import Monitor
from lab.timeline import Recorder

SOURCE = "docs/devel/migration/main.rst: a migration that fails leaves the guest in old QEMU"
LISTENER = Path(__file__).with_name("listener.py")
Channel = dict[str, Any]


@dataclass(frozen=True)
class NoDestination:
    """Nobody listens."""

    scene: Scene
    mode = "cpr-transfer"

    def apply(self, recorder: Recorder, update: int) -> None:
        """Do it once; recorded as any update."""
        monitor, folder = self.scene.guest.monitor, self.scene.guest.qemus.next_config().run_dir
        cpr, main = channel("cpr", f"{folder}/cpr.sock"), channel("main", f"{folder}/main.sock")
        monitor.begin(update)
        with recorder.operation("cpr", mode=self.mode, update=update, argv=[]):
            self.hand_over(monitor, update, cpr, main)

    def hand_over(self, monitor: Monitor, update: int, cpr: Channel, main: Channel) -> None:
        """Begin it, and wait what comes of it."""
        self.ask(monitor, cpr, main)
        self.wait(monitor)

    def ask(self, monitor: Monitor, cpr: Channel, main: Channel) -> None:
        """Tell old QEMU."""
        set_capabilities(monitor, "events")
        monitor.execute("migrate-set-parameters", {"mode": self.mode})
        monitor.execute("migrate", {"channels": [main, cpr]})

    def wait(self, monitor: Monitor) -> None:
        """Until old QEMU is done with it."""
        wait_for_migration(monitor, self.scene.timeout_s, "the end of the transfer in old QEMU")


@dataclass(frozen=True)
class Destination(NoDestination):
    """A destination that gets the descriptors, takes the stream if it can, and is ended in any case.

    words: what it is started with beside what the source has
    """

    words: Sequence[str] = ()

    def hand_over(self, monitor: Monitor, update: int, cpr: Channel, main: Channel) -> None:
        """Begin it, and do `then` with the destination."""
        with self._started(cpr, update) as (new, theirs):
            self.ask(monitor, cpr, main)
            # it has no monitor until it has the descriptors
            theirs.begin(update)
            theirs.open("new", self.scene.timeout_s)
            set_capabilities(theirs, "events")
            self.then(monitor, new, theirs, main)

    def then(self, monitor: Monitor, new: Incarnation, theirs: Monitor, main: Channel) -> None:
        """It takes the stream; whether it can is seen."""
        theirs.execute("migrate-incoming", {"channels": [main]})
        self.wait(monitor)

    @contextmanager
    def _started(self, cpr: Channel, update: int) -> Iterator[tuple[Incarnation, Monitor]]:
        qemus, path = self.scene.guest.qemus, str(cpr["addr"]["path"])
        incoming = [*self.words, "-incoming", "defer", "-incoming", json.dumps(cpr)]
        new = qemus.start(self.scene.qemu, incoming, beside=True)
        theirs = qemus.monitor(new)
        try:
            if not self.scene.agent.await_socket(new.pid, path, self.scene.timeout_s):
                raise Refused(f"new QEMU {qemus.how_it_ended(new.pid) or 'did not listen'}")
            yield new, theirs
        finally:
            qemus.give_up(new, theirs, update)


class DiesEarly(Destination):
    """It is killed once it has the descriptors, before it listens for the stream."""

    def then(self, monitor: Monitor, new: Incarnation, theirs: Monitor, main: Channel) -> None:
        """Kill it, and see what old QEMU does."""
        self.scene.agent.kill(new.pid)
        self.wait(monitor)


class Cancelled(Destination):
    """It is cancelled when the destination has the descriptors."""

    def then(self, monitor: Monitor, new: Incarnation, theirs: Monitor, main: Channel) -> None:
        """Cancel it, and see what old QEMU does."""
        monitor.execute("migrate_cancel")
        self.wait(monitor)


class DiesLate(Destination):
    """It is killed when old QEMU has sent all, and has stopped the guest; then old QEMU is told to go on.

    The stream is taken by a listener of the lab's, so that nothing of the guest ever ran in the destination.
    """

    def then(self, monitor: Monitor, new: Incarnation, theirs: Monitor, main: Channel) -> None:
        """Take the stream, kill the destination, and go on in old QEMU."""
        path = str(main["addr"]["path"])
        with self._listening(path):
            # old QEMU waits until the destination is done with the descriptors, which this tells it
            theirs.execute("migrate-incoming", {"channels": [channel("main", f"{path}.never")]})
            self.wait(monitor)
        self.scene.agent.kill(new.pid)
        monitor.execute("cont")
        wait_for_status(monitor, ["running"], self.scene.timeout_s, "runstate running in old QEMU")
        raise Refused("the destination died with the whole stream; old QEMU was told to go on")

    @contextmanager
    def _listening(self, path: str) -> Iterator[None]:
        host = self.scene.host
        with host.stream(["python3", host.put_blob(LISTENER), path]) as listener:
            if b"ready" not in listener.stdout.readline():
                raise BenchError(f"the listener on {path} did not start")
            yield


NONE = Failure(
    "transfer-no-destination",
    "cpr-transfer with no destination",
    NoDestination,
    r"(?i)failed to connect|no such file or directory",
    SOURCE,
)
EARLY = Failure(
    "transfer-dies-early",
    "a destination that dies when it has the descriptors",
    DiesEarly,
    r"(?i)failed to connect|no such file or directory|connection refused",
    SOURCE,
)
REFUSES = Failure(
    "transfer-refuses-stream",
    "a destination that refuses the stream (another machine type)",
    lambda scene: Destination(scene, ("-machine", "pc-q35-10.0")),
    r"Machine type received is",
    SOURCE,
)
CANCELLED = Failure(
    "transfer-cancelled",
    "a transfer that is cancelled when the destination has the descriptors",
    lambda scene: Cancelled(scene),
    r"update cancelled",
    SOURCE,
)
LATE = Failure(
    "transfer-dies-late",
    "a destination that dies with the whole stream, then `cont` in old QEMU",
    DiesLate,
    r"the destination died with the whole stream|cont: the connection ended before the reply",
    SOURCE,
    known={"11.1": {question: answer for question, answer in LOST.items() if question != "unpinned"}},
    reason="QEMU 11.1.3: `cont` after a transfer with VFIO is SIGSEGV (reproductions/vfio-transfer-cont.sh)",
)
