"""A place for one run: queued for, acquired, given back if the one before left it, and released."""

import getpass
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.health import Event, State, Store
from lab.places import health
from lab.places.coordinator import Coordinator
from lab.places.giveback import give_back
from lab.places.holding import Holding
from lab.places.lease import Terms, Watch, holder_name
from lab.places.permit import Permit
from lab.places.target import write_target
from lab.places.turn import Tell, take_turn

Say = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """What a run wants.

    address: of the coordinator
    wanted:  tags of the place; `name` is its name
    limit_s: longest time in the queue
    """

    address: str
    wanted: Mapping[str, str]
    limit_s: float
    terms: Terms = field(default_factory=Terms)


@dataclass(frozen=True)
class Rented:
    """What a run got.

    target:    its target file
    permit:  tells each process how long it may go on
    """

    holding: Holding
    target: Path
    permit: Permit
    say: Say

    def ended(self, trouble: str) -> None:
        """The run is over; without this word whoever comes next gives the host back first.

        trouble: what makes one doubt that it gave the host back itself; "" if nothing

        Raises:
            BenchError: the host could not be given back; it is quarantined.
        """
        if self.holding.lost:
            return
        if trouble:
            name = self.holding.place.name
            Store().happened(name, Event.USE_FAILED, trouble)
            self.say(f"looking after {name}, as {trouble}")
            self.say(f"{name} is given back: {give_back(self.target, self.permit.reader(), cycle=False)}")
        self.holding.mark_given_back([self.holding.name])


@contextmanager
def rented(asked: Asked, run_id: str, template: Path, folder: Path, tell: Tell, say: Say) -> Iterator[Rented]:
    """A place whose host is as nobody had left it; released however the context ends.

    template: see write_target; what is written goes into `folder`
    tell:     is told how it stands in the queue; `say` everything else

    Raises:
        LabUsageError: no place is as asked for, or the template is wrong.
        BenchError: there is none to be had, or its host could not be given back; it is quarantined then.
    """
    watch = Watch()
    name = holder_name(socket.gethostname(), getpass.getuser(), run_id, asked.terms)
    with Permit() as permit, Coordinator(asked.address, name) as coordinator:
        taken = take_turn(coordinator, asked.wanted, watch, tell, asked.limit_s)
        place = taken.place
        holding = Holding(coordinator, place, taken.asked_s, asked.terms, permit)
        try:
            say(f"place {place.name} is ours")
            health.heed_tag(place)
            target = write_target(place.name, coordinator.view.resources(place), template, folder)
            left_by = holding.mark_in_use()
            _require_stopped(holding, left_by, watch, say)
            _tidy(holding, left_by, target, permit, say)
            yield Rented(holding, target, permit, say)
        finally:
            holding.end(health.tags(place))


def _require_stopped(holding: Holding, left_by: Mapping[str, str], watch: Watch, say: Say) -> None:
    """Wait until those who had the place before have certainly stopped."""
    for holder, since in left_by.items():
        left_s = watch.stops_within_s(holding.place.name, holder)
        say(
            f"its host was left as it was by {holder} (there since {since}); "
            f"in {left_s:.0f} s that one has certainly stopped"
        )
        holding.pause(left_s)


def _tidy(holding: Holding, left_by: Mapping[str, str], target: Path, permit: Permit, say: Say) -> None:
    """Give the host back in the place of those who did not; one that is suspect is looked at."""
    name = holding.place.name
    if left_by or Store().read(name).state is State.SUSPECT:
        say(f"{name} is given back: {give_back(target, permit.reader(), cycle=True)}")
        holding.mark_given_back(left_by)
