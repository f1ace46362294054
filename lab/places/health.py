"""The health of a host between its place, whose tags all controllers see, and the store of this one."""

from lab.errors import BenchError
from lab.health import State, Store, refusal
from lab.places.view import HEALTH, HEALTH_REASON, Place


def heed_tag(place: Place) -> None:
    """Before a host is used: what its place says goes, as other controllers and people write it there.

    A host of which its place says nothing is what this controller knows of it.

    Raises:
        BenchError: it may not be used.
    """
    store = Store()
    known = store.read(place.name)
    if place.health == State.SUSPECT and known.state is not State.SUSPECT:
        store.set(place.name, State.SUSPECT, place.tags.get(HEALTH_REASON, "its place says so"))
    elif place.health == State.GOOD and known.state is not State.GOOD:
        reason = f"its place says that it is good; known here: {known.state.value}, {known.reason}"
        store.set(place.name, State.SUSPECT, reason)
    elif why := refusal(place.name, known):
        raise BenchError(why)


def tags(place: Place) -> dict[str, str]:
    """After a host was used: what its place must say now; nothing if it says so already."""
    known = Store().read(place.name)
    if known.state == (place.health or State.GOOD):
        return {}
    return {HEALTH: known.state.value, HEALTH_REASON: known.reason}
