"""A place that is ours for as long as we say so: acquired, renewed by a thread, released however it ends."""

import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

from lab.errors import BenchError
from lab.places.coordinator import Coordinator, Denied, Gone
from lab.places.lease import Terms, now_s
from lab.places.permit import Leave, Permit
from lab.places.view import Place, in_use_key

_AGAIN_S = 0.2
"""A coordinator that starts anew takes a second."""


class LeaseLost(BenchError):
    """Another may have the place now; this run must not touch its host any more."""


class Holding:
    """A place that the coordinator's name has acquired, and the thread that renews its lease until `end`.

    name:    whose it is
    place:   as it was when it was acquired
    asked_s: when it was asked for, by `now_s`; others cannot count from earlier
    permit:  is told how long the run may go on
    """

    def __init__(
        self, coordinator: Coordinator, place: Place, asked_s: float, terms: Terms, permit: Permit
    ) -> None:
        self.name, self.place = coordinator.name, place
        self._coordinator, self._terms, self._permit = coordinator, terms, permit
        self._good_s = asked_s
        self._ending, self._gone, self._why = threading.Event(), threading.Event(), ""
        self._give()
        self._heart = threading.Thread(target=self._beat, name=f"lease of {place.name}", daemon=True)
        self._heart.start()

    @property
    def lost(self) -> str:
        """Why it is not ours any more; "" as long as it is."""
        return self._why

    def require(self) -> None:
        """Raise LeaseLost if it is lost."""
        if self._why:
            raise LeaseLost(f"place {self.place.name}: {self._why}; whoever has it next gives its host back")

    def pause(self, seconds: float) -> None:
        """Let time pass; LeaseLost as soon as it is lost."""
        self._gone.wait(seconds)
        self.require()

    def mark_in_use(self) -> Mapping[str, str]:
        """Write down that the host may be changed from now on; returns who else says so, and since when.

        The order matters: of two who both believe to have the place, as the coordinator forgot the first one,
        the second one sees the first.
        """
        self.require()
        self._coordinator.tag(self.place.name, {in_use_key(self.name): f"{self.name} {now_words()}"})
        said = self._coordinator.read(self.place.name).in_use
        return {holder: since for holder, since in said.items() if holder != self.name}

    def mark_given_back(self, holders: Iterable[str]) -> None:
        """Write down that what these had changed on the host is undone."""
        self.require()
        self._coordinator.tag(self.place.name, {in_use_key(holder): "" for holder in holders})

    def end(self, tags: Mapping[str, str]) -> None:
        """Let go of the place; if the coordinator is gone, or it is lost, the lease's end does that.

        tags: are set before
        """
        self._ending.set()
        self._heart.join()
        if not self._why:
            with suppress(BenchError):
                if not self._coordinator.alive:
                    self._coordinator.reopen(self._terms.beat_s)
                if tags:
                    self._coordinator.tag(self.place.name, tags)
                self._coordinator.release(self.place.name, self._coordinator.name)

    def _beat(self) -> None:
        wait_s = self._terms.beat_s
        while not self._ending.wait(wait_s):
            sent_s = now_s()
            if (left_s := self._good_s + self._terms.stop_s - sent_s) <= 0:
                return self._lose(f"the coordinator did not answer for {self._terms.stop_s:g} s")
            try:
                if not self._coordinator.alive:
                    self._coordinator.reopen(left_s)
                self._coordinator.renew(self.place.name, left_s)
            except Denied as error:
                return self._lose(f"the lease is lost: {error}")
            except Gone:
                wait_s = min(_AGAIN_S, self._terms.beat_s)
                continue
            self._good_s, wait_s = sent_s, self._terms.beat_s
            self._give()
        return None

    def _give(self) -> None:
        stop_at_s = 0.0 if self._why else self._good_s + self._terms.stop_s
        self._permit.give(
            Leave(stop_at_s, self._good_s + self._terms.kill_s, self._why or "its lease was not renewed")
        )

    def _lose(self, why: str) -> None:
        self._why = why
        self._give()
        self._gone.set()


def now_words() -> str:
    """For people, by this machine's clock."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
