"""What the coordinator says of places and of what exporters offer, as it was at one moment."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

HEALTH, HEALTH_REASON = "health", "health_reason"
"""Tags of a place: the state of its host, and why."""
IN_USE = "in_use_"
"""Tags that begin so name, with since when by its own clock, who may have changed the host and not given it
back. Each holder has a tag of its own, so that one who comes late deletes nobody else's."""
HANDOUT = "handout"
"""yes or no, as whoever queues sees it; the coordinator's scheduler knows only tags."""

BOOKKEEPING = (HEALTH, HEALTH_REASON, HANDOUT)

FIT = ("good", "suspect", "")
"""Of these states hosts are handed out; who gets one that is suspect checks it first."""


def in_use_key(holder: str) -> str:
    """The tag of one holder."""
    return IN_USE + hashlib.sha256(holder.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Exported:
    """A resource that an exporter offers.

    params: what the labgrid class takes
    """

    exporter: str
    group: str
    cls: str
    name: str
    params: Mapping[str, Any]
    avail: bool = True

    @property
    def path(self) -> tuple[str, str, str, str]:
        return (self.exporter, self.group, self.cls, self.name)


@dataclass(frozen=True)
class Match:
    """A pattern of resources that belong to a place.

    rename: the name they get in the target; None: their own
    """

    exporter: str
    group: str
    cls: str
    name: str | None = None
    rename: str | None = None

    def fits(self, resource: Exported) -> bool:
        patterns = (self.exporter, self.group, self.cls, self.name or "*")
        return all(map(fnmatchcase, resource.path, patterns))

    def __str__(self) -> str:
        return "/".join(filter(None, (self.exporter, self.group, self.cls, self.name)))


@dataclass(frozen=True)
class Place:
    """A place.

    holder:      who has it; None if it is free
    changed:     the coordinator's stamp of the last change
    reservation: token of the reservation that it is kept for
    """

    name: str
    tags: Mapping[str, str]
    matches: tuple[Match, ...]
    holder: str | None = None
    changed: float = 0.0
    reservation: str | None = None

    @property
    def health(self) -> str:
        return self.tags.get(HEALTH, "")

    @property
    def in_use(self) -> Mapping[str, str]:
        """Who may have changed the host and not given it back -> since when."""
        said = (value.partition(" ") for key, value in self.tags.items() if key.startswith(IN_USE))
        return {holder: since for holder, _, since in said}

    def satisfies(self, wanted: Mapping[str, str]) -> bool:
        """Whether its tags are as wanted; `name` stands for its name, as in the coordinator's scheduler."""
        have = {**self.tags, "name": self.name}
        return all(have.get(key) == value for key, value in wanted.items())


def own_tags(place: Place) -> dict[str, str]:
    """Its tags without those that cprlab keeps there."""
    return {
        key: value
        for key, value in sorted(place.tags.items())
        if key not in BOOKKEEPING and not key.startswith(IN_USE)
    }


@dataclass(frozen=True)
class Reservation:
    """A place in the queue.

    state: waiting, allocated, acquired, expired, invalid
    place: what it was given
    """

    token: str
    owner: str
    state: str
    priority: float
    created: float
    wanted: Mapping[str, str]
    place: str | None = None


@dataclass(frozen=True)
class View:
    """Everything at one moment."""

    places: Mapping[str, Place]
    exported: tuple[Exported, ...]

    def resources(self, place: Place) -> dict[str, Exported]:
        """What exporters offer of a place, by the name it gets there; the first pattern to fit names it."""
        found: dict[str, Exported] = {}
        paths = set()
        for match in place.matches:
            for resource in self._fitting(match):
                if resource.path not in paths:
                    found[match.rename or resource.name] = resource
                    paths.add(resource.path)
        return found

    def missing(self, place: Place) -> tuple[Match, ...]:
        """Patterns of a place that no available resource fits: an exporter is gone, or a device."""
        return tuple(match for match in place.matches if not any(one.avail for one in self._fitting(match)))

    def why_not(self, place: Place) -> str:
        """Why a place is not handed out, whoever has it; "" if nothing speaks against it."""
        if place.health not in FIT:
            return f"{place.health}: {place.tags.get(HEALTH_REASON, 'no reason given')}"
        if not place.matches:
            return "it has no resources: labgrid-client -p NAME add-match EXPORTER/GROUP/*"
        if missing := self.missing(place):
            return f"no exporter offers {missing[0]}"
        return ""

    @cached_property
    def _by_exporter(self) -> Mapping[str, list[Exported]]:
        found: dict[str, list[Exported]] = {}
        for resource in self.exported:
            found.setdefault(resource.exporter, []).append(resource)
        return found

    def _fitting(self, match: Match) -> Iterator[Exported]:
        # a lab has hundreds of exporters, and a pattern names one of them as a rule
        named = not set(match.exporter) & set("*?[")
        among = self._by_exporter.get(match.exporter, ()) if named else self.exported
        return filter(match.fits, among)
