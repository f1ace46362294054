"""What people and programs are told of places. Pure."""

import time
from typing import Any

from lab.places.lease import lease_of
from lab.places.view import Place, View, own_tags


def rows(view: View) -> list[dict[str, Any]]:
    """A row a place, by name.

    since:      of the holder, by its own clock; else of the place's last change; None if it is free
    lease_ends: by the coordinator's clock, in s since 1970, if the holder's last beat was its last one;
                None: it is free, or its holder keeps it until it is released
    remarks:    why it is not handed out, and who left its host as it was
    """
    return [_row(view, view.places[name]) for name in sorted(view.places)]


def _row(view: View, place: Place) -> dict[str, Any]:
    remarks = [f"not handed out: {reason}"] if (reason := view.why_not(place)) else []
    remarks += [f"to be given back: {holder} left it" for holder in place.in_use if holder != place.holder]
    lease_s = lease_of(place.holder)
    return {
        "place": place.name,
        "tags": own_tags(place),
        "health": place.health or None,
        "exporter_alive": bool(place.matches) and not view.missing(place),
        "holder": place.holder,
        "since": _since(place) if place.holder else None,
        "lease_ends": None if lease_s is None else place.changed + lease_s,
        "remarks": remarks,
    }


def _since(place: Place) -> str:
    changed = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(place.changed))
    return place.in_use.get(place.holder or "", changed)


def holder_words(place: Place) -> str:
    """Who has a place and since when."""
    if place.holder is None:
        return f"{place.name} is free"
    return f"{place.name} held by {place.holder} since {_since(place)}"
