"""The rules of a lease, without a coordinator: names, terms, and who may conclude what when."""

import re
import time
from dataclasses import dataclass, field

_NAME = re.compile(r"(?P<host>[^/]+)/(?P<run>[^/]+)-lease(?P<seconds>\d+(\.\d+)?)")

LEASE_S = 120.0
"""How long a lease lasts without a beat, if nothing else is asked for.

An exporter that hangs keeps the coordinator (labgrid 26.0.1) from answering anybody for 10 s when a place of
it is asked for, and for 20 s when one is released; half a lease must outlast both.
"""


@dataclass(frozen=True)
class Terms:
    """What a holder of a lease of `lease_s` promises.

    lease_s: after so long without a new beat others may take the place
    """

    lease_s: float = LEASE_S

    @property
    def beat_s(self) -> float:
        """Time between two beats."""
        return self.lease_s / 6

    @property
    def stop_s(self) -> float:
        """After so long without a good beat the run is ended in order."""
        return self.lease_s / 2

    @property
    def kill_s(self) -> float:
        """After so long it is killed."""
        return self.lease_s * 11 / 12


def now_s() -> float:
    """This machine's time since it booted, with the time it was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def holder_name(host: str, user: str, run_id: str, terms: Terms) -> str:
    """The name of a holding: used once, and it says how long its lease lasts."""
    host, user = (re.sub(r"[^\w.+-]", "_", part) for part in (host, user))
    return f"{host}/{user}-{run_id}-lease{terms.lease_s:g}"


def lease_of(holder: str | None) -> float | None:
    """How long a holder's lease lasts without a beat, in seconds; None: it never ends, as a person's."""
    match = _NAME.fullmatch(holder or "")
    return float(match["seconds"]) if match else None


@dataclass
class Watch:
    """What one observer knows of others' beats: each holder's last stamp, and since when it knows it."""

    _seen: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    _ended: set[tuple[str, str]] = field(default_factory=set)

    def saw(self, place: str, holder: str, changed: float, at_s: float) -> None:
        """A place was seen held by `holder`, stamped `changed`, at `at_s` of the observer's own clock."""
        if self._seen.get((place, holder), (None,))[0] != changed:
            self._seen[place, holder] = (changed, at_s)

    def quiet(self, place: str, holder: str, at_s: float) -> bool:
        """Whether a holder gave no new stamp for a whole lease, as far as was seen."""
        return self.left_s(place, holder, at_s) == 0.0

    def left_s(self, place: str, holder: str, at_s: float) -> float | None:
        """How long until a lease ends, if no beat comes; None: it never does, or was never seen."""
        if (lease_s := lease_of(holder)) is None or (place, holder) not in self._seen:
            return None
        return max(0.0, self._seen[place, holder][1] + lease_s - at_s)

    def ended(self, place: str, holder: str) -> None:
        """It was read that there is still no new stamp: this lease is over."""
        self._ended.add((place, holder))

    def stops_within_s(self, place: str, holder: str) -> float:
        """How long until one who was there has certainly stopped: a lease, if its end was not read."""
        if (place, holder) in self._ended:
            return 0.0
        lease_s = lease_of(holder)
        return LEASE_S if lease_s is None else lease_s
