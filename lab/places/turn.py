"""Waits in the coordinator's queue until a place is ours.

labgrid hands out places whose exporter is gone, and knows nothing of sick hosts. So everybody who queues
keeps the tag `handout` of the places it could get as it sees them, and reserves with handout=yes.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from lab.errors import BenchError, LabUsageError
from lab.places.coordinator import ANSWER_S, Coordinator, Denied
from lab.places.lease import Watch, lease_of, now_s
from lab.places.view import HANDOUT, HEALTH, HEALTH_REASON, Place, Reservation, View, own_tags

LOOK_S = 5.0
"""How often places are looked at anew, and the reservation is renewed, which ends after 60 s without."""
NONE_FIT_S = 30.0
"""An exporter that starts anew is back by then."""
HANGS_S = 9.0
"""The coordinator waits 10 s for an exporter, and until then answers nobody: no beat either."""
_REFUSALS = 3


@dataclass(frozen=True)
class Taken:
    """A place as it was when it was acquired.

    asked_s: when it was asked for, by `now_s`
    """

    place: Place
    asked_s: float


@dataclass(frozen=True)
class Waiting:
    """How it stands in the queue.

    ahead:  reservations that come first for the same places
    places: those it waits for
    """

    ahead: int
    places: tuple[Place, ...]


Tell = Callable[[Waiting], None]


def take_turn(
    coordinator: Coordinator, wanted: Mapping[str, str], watch: Watch, tell: Tell, limit_s: float
) -> Taken:
    """Queue for a place with these tags, and acquire it.

    watch:   knows the beats of other holders; places whose lease ended meanwhile are freed
    tell:    is told whenever something changed
    limit_s: longest time in the queue

    Raises:
        LabUsageError: no place has these tags.
        BenchError: none of those that have can be handed out, or the time is over.
    """
    return _Turn(coordinator, wanted, watch, tell).taken(limit_s)


class _Turn:
    def __init__(self, coordinator: Coordinator, wanted: Mapping[str, str], watch: Watch, tell: Tell) -> None:
        self._coordinator, self._wanted, self._watch, self._tell = coordinator, wanted, watch, tell
        self._reservation: Reservation | None = None
        self._fit_s = now_s() - NONE_FIT_S  # at first sight there must be one
        self._told: Waiting | None = None
        self._refused = 0

    def taken(self, limit_s: float) -> Taken:
        deadline_s = now_s() + limit_s
        try:
            while True:
                candidates = self._candidates(self._coordinator.view)
                self._reserved(self._poll())
                if taken := self._acquired():
                    return taken
                self._progress(candidates)
                if (left_s := deadline_s - now_s()) <= 0:
                    raise BenchError(
                        f"no place came free within {limit_s:g} s: {_holders(candidates)}; see cprlab places"
                    )
                self._coordinator.wait(self._allocated, min(left_s, self._next_look_s(candidates)))
        finally:
            if self._reservation is not None:
                with suppress(BenchError):  # it ends by itself within a minute
                    self._coordinator.cancel(self._reservation.token)

    def _allocated(self, places: Mapping[str, Place]) -> bool:
        token = self._reservation.token if self._reservation else ""
        return any(place.reservation == token for place in places.values())

    def _candidates(self, view: View) -> tuple[Place, ...]:
        """The places that it could get; their tag and ended leases are seen to."""
        for place in view.places.values():  # any, as two places may share a host
            self._free_if_ended(place)
        matching = [place for place in view.places.values() if place.satisfies(self._wanted)]
        if not matching:
            raise LabUsageError(f"no place has {_words(self._wanted)}; {_offer(view)}")
        reasons = {place.name: view.why_not(place) for place in matching}
        for place in matching:
            answer = "no" if reasons[place.name] else "yes"
            if place.tags.get(HANDOUT) != answer:
                self._coordinator.tag(place.name, {HANDOUT: answer})
        fit = tuple(place for place in matching if not reasons[place.name])
        if fit:
            self._fit_s = now_s()
        elif now_s() - self._fit_s >= NONE_FIT_S:
            told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
            raise BenchError(f"no place with {_words(self._wanted)} can be handed out: {told}")
        return fit

    def _free_if_ended(self, place: Place) -> None:
        if place.holder is None or lease_of(place.holder) is None:
            return
        self._watch.saw(place.name, place.holder, place.changed, now_s())
        if not self._watch.quiet(place.name, place.holder, now_s()):
            return
        with suppress(Denied):  # it may be gone
            now = self._coordinator.read(place.name)
            if now.holder == place.holder and now.changed == place.changed:
                self._watch.ended(place.name, place.holder)
                self._coordinator.release(place.name, place.holder)

    def _next_look_s(self, places: tuple[Place, ...]) -> float:
        ends = (self._watch.left_s(p.name, p.holder, now_s()) for p in places if p.holder)
        return max(0.05, min([LOOK_S, *(end for end in ends if end is not None)]))

    def _poll(self) -> Reservation | None:
        if self._reservation is None:
            return None
        try:
            return self._coordinator.poll(self._reservation.token)
        except Denied:  # it ended, as this machine slept
            return None

    def _reserved(self, now: Reservation | None) -> None:
        if now is None or now.state not in ("waiting", "allocated"):
            now = self._coordinator.reserve({**self._wanted, HANDOUT: "yes"})
        self._reservation = now

    def _acquired(self) -> Taken | None:
        """The place that was allocated, acquired; None if there is none yet or it went bad meanwhile."""
        reservation, view = self._reservation, self._coordinator.view
        if reservation is None or reservation.place is None:
            return None
        if view.why_not(view.places[reservation.place]):
            self._coordinator.cancel(reservation.token)
            self._reservation = None
            return None
        asked_s = now_s()
        try:
            self._coordinator.acquire(reservation.place)
        except Denied as error:
            if now_s() - asked_s > HANGS_S:  # nobody else shall lose as much time with it
                reason = f"its exporter does not answer: {error}"
                self._coordinator.tag(reservation.place, {HEALTH: "quarantined", HEALTH_REASON: reason})
            self._refused += 1
            if self._refused == _REFUSALS:
                raise BenchError(
                    f"place {reservation.place} is free and cannot be had: {error}; does another "
                    "place that is held have the same host, or does its exporter hang?"
                ) from error
            self._coordinator.wait(lambda _: False, LOOK_S)
            return None
        return Taken(self._as_taken(reservation.place), asked_s)

    def _as_taken(self, name: str) -> Place:
        """How it was at that moment; the coordinator's word of it may be under way."""
        self._coordinator.wait(lambda places: places[name].holder == self._coordinator.name, ANSWER_S)
        return self._coordinator.view.places[name]

    def _progress(self, places: tuple[Place, ...]) -> None:
        assert self._reservation is not None
        names = {place.name for place in places}
        ahead = 0
        for other in self._coordinator.reservations():
            if other.token == self._reservation.token:
                break
            reach = (p.name for p in places if p.satisfies(other.wanted))
            ahead += other.state == "waiting" and any(name in names for name in reach)
        told = Waiting(ahead, places)
        if self._told is None or _gist(told) != _gist(self._told):
            self._tell(told)
            self._told = told


def _gist(waiting: Waiting) -> object:
    """What is worth a line; a beat is not."""
    return waiting.ahead, [(p.name, p.holder) for p in waiting.places]


def parsed(words: str) -> dict[str, str]:
    """Tags from `nic=igb,iommufd`; a bare word stands for WORD=yes.

    Raises:
        LabUsageError: it is no list of tags.
    """
    wanted = {}
    for word in words.split(","):
        key, equals, value = word.strip().partition("=")
        if not key or (equals and not value):
            raise LabUsageError(f"--require takes KEY=VALUE or KEY, apart by commas, not {words!r}")
        wanted[key] = value or "yes"
    return wanted


def _words(wanted: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in wanted.items())


def _offer(view: View) -> str:
    if not view.places:
        return "the coordinator has no place at all: labgrid-client -p NAME create"
    tags = {f"{k}={v}" for place in view.places.values() for k, v in own_tags(place).items()}
    return f"there are: {', '.join(sorted(view.places)[:20])}; with tags: {', '.join(sorted(tags)[:20])}"


def _holders(places: tuple[Place, ...]) -> str:
    return ", ".join(f"{p.name} is held by {p.holder}" if p.holder else f"{p.name} is free" for p in places)
