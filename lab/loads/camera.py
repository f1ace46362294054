"""Looks at a screen for as long as a load runs, and tells what it saw."""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.agents.blocks import EVENTS_OF_A_KIND
from lab.drivers.screen import Screen
from lab.errors import BenchError
from lab.link import Receiver
from lab.loads.pictures import PictureReader, Seen
from lab.loads.running import FarSide
from lab.waiting import wait_until

FIRST_TIMEOUT_S = 10.0
"""A display that was just set up shows its first picture in far less."""
END_TIMEOUT_S = 20.0


class Camera(FarSide):
    """The outer end of a GPU load: a screenshot several times a second, in a thread of its own.

    receiver: gets rows and events; safe to call from any thread

    Guarantees:
      - each picture that can be told is a row {seq, epoch, t_ns, good}. `t_ns` is the controller's clock
        (that of the timeline) before the shot was asked for: what it shows was on the screen between
        then and the next row's time. `good` is 1 if every pixel is right;
      - each one that is not, and each that nobody can tell, is an event load.anomaly;
      - a screen that cannot be looked at is an event witness.blind, once each time that begins.
    """

    def __init__(
        self, load: str, screen: Screen, reader: PictureReader, receiver: Receiver, rate_hz: float
    ) -> None:
        self._load, self._screen, self._reader, self._receiver = load, screen, reader, receiver
        self._period_s = 1 / rate_hz
        self._seen: Counter[str] = Counter()
        self._blind = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera of {load}", daemon=True)

    def start(self) -> None:
        """Begin as soon as the screen shows something of the load.

        Raises:
            BenchError: it does not, or cannot be looked at.
        """

        seen = self._reader.look(self._screen.shot())

        def shows_something() -> bool:
            nonlocal seen
            seen = self._reader.look(self._screen.shot())
            return seen.what != "blank"

        try:
            wait_until(shows_something, FIRST_TIMEOUT_S, "a picture", error=TimeoutError)
        except TimeoutError:
            raise BenchError(
                f"the screen of {self._load} shows nothing of it {FIRST_TIMEOUT_S:g} s after it began: "
                f"{seen.what} {seen.detail}; see the guest's log, and whether this screen is that function's"
            ) from None
        self._thread.start()

    def stop_sending(self) -> None:
        """Take the last shot: of the last picture, if the guest stopped before."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(END_TIMEOUT_S)

    def stop(self) -> Mapping[str, Mapping[str, Any]]:
        seen = dict(self._seen)
        received = sum(number for what, number in seen.items() if what != "unseen")
        return {"frame": {"received": received, "shots": seen}}

    def _run(self) -> None:
        while True:
            last = self._over.is_set()
            self._look()
            if last:
                return
            self._over.wait(self._period_s)

    def _look(self) -> None:
        t_ns = time.monotonic_ns()
        try:
            seen = self._reader.look(self._screen.shot())
        except BenchError as error:
            self._unseen(str(error))
            return
        self._blind = False
        self._seen[seen.what] += 1
        if seen.what != "good":
            self._tell(seen, t_ns)
        if seen.seq is not None:
            self._row(seen.seq, seen.epoch, t_ns, seen.what == "good")

    def _row(self, seq: int, epoch: int, t_ns: int, good: bool) -> None:
        columns: dict[str, NDArray[Any]] = {
            "seq": np.array([seq], np.uint64),
            "epoch": np.array([epoch], np.uint32),
            "t_ns": np.array([t_ns], np.int64),
            "good": np.array([good], np.uint8),
        }
        self._receiver.rows(f"{self._load}.frame.received", columns)

    def _tell(self, seen: Seen, t_ns: int) -> None:
        if self._seen[seen.what] > EVENTS_OF_A_KIND:
            return
        data = {"load": self._load, "stream": "frame", "what": seen.what, "seq": seen.seq}
        self._receiver.event("load.anomaly", data | {"detail": seen.detail, "t_src_ns": t_ns})

    def _unseen(self, reason: str) -> None:
        self._seen["unseen"] += 1
        if not self._blind:
            self._receiver.event("witness.blind", {"witness": f"screen-{self._load}", "reason": reason})
        self._blind = True
