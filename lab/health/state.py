"""The states of a host, and what takes it from one to another: no clock, no file."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

HISTORY = 20
"""So many of the last changes are kept."""


class State(StrEnum):
    """good: handed out; suspect: checked first; quarantined, maintenance: not handed out."""

    GOOD = "good"
    SUSPECT = "suspect"
    QUARANTINED = "quarantined"
    MAINTENANCE = "maintenance"


class Event(StrEnum):
    """What happens to a host.

    USE_FAILED:   it did not do what was asked of it, or did not answer, while somebody used it
    NOT_RESTORED: what was changed on it could not be undone
    RESTORED:     everything that was changed on it has been undone
    """

    CHECK_PASSED = "check passed"
    CHECK_FAILED = "check failed"
    USE_FAILED = "use failed"
    NOT_RESTORED = "not restored"
    RESTORED = "restored"


@dataclass(frozen=True)
class Health:
    """What is known of a host.

    reason:  why it is not good; "" if it is
    since:   ISO 8601, when it came to this state; "" if nothing ever happened
    checked: when a check last passed; "" if none ever did
    machine: by what the host is known, address and key; another one of the same name is another host
    history: the last changes, [{at, event, state, reason}]
    """

    state: State = State.GOOD
    reason: str = ""
    since: str = ""
    checked: str = ""
    machine: str = ""
    history: tuple[Mapping[str, Any], ...] = ()


# where no line fits, an event changes nothing
_NEXT: Mapping[tuple[State, Event], State] = {
    (State.GOOD, Event.USE_FAILED): State.SUSPECT,
    (State.GOOD, Event.CHECK_FAILED): State.QUARANTINED,
    (State.SUSPECT, Event.CHECK_PASSED): State.GOOD,
    (State.SUSPECT, Event.CHECK_FAILED): State.QUARANTINED,
    (State.GOOD, Event.NOT_RESTORED): State.QUARANTINED,
    (State.SUSPECT, Event.NOT_RESTORED): State.QUARANTINED,
    # it is clean again, and nobody knows yet whether it works
    (State.QUARANTINED, Event.RESTORED): State.SUSPECT,
}


def after(health: Health, event: Event, at: str, reason: str = "") -> Health:
    """What is known of a host when an event has happened.

    A suspect host that fails again stays suspect, with the newer reason. Maintenance ends by hand only.
    """
    checked = at if event is Event.CHECK_PASSED else health.checked
    state = _NEXT.get((health.state, event), health.state)
    if state is health.state:
        again = state is State.SUSPECT and event is Event.USE_FAILED
        return replace(health, checked=checked, reason=reason if again else health.reason)
    kept = "" if state is State.GOOD else reason or health.reason
    return _moved(replace(health, checked=checked), state, event.value, at, kept)


def by_hand(health: Health, state: State, at: str, reason: str) -> Health:
    """What is known when somebody has said what it is; a host that is called good is believed."""
    return _moved(health, state, "by hand", at, "" if state is State.GOOD else reason)


def refusal(name: str, health: Health) -> str:
    """Why a host is not handed out, and what to do; "" if it is."""
    if health.state is State.QUARANTINED:
        todo = f"look at it (cprlab hosts), then `cprlab restore`, or `cprlab hosts set {name} suspect`"
    elif health.state is State.MAINTENANCE:
        todo = f"when it is done: `cprlab hosts set {name} suspect`"
    else:
        return ""
    return f"host {name} is in {_WORDS[health.state]} since {health.since}: {health.reason}; {todo}"


_WORDS = {State.QUARANTINED: "quarantine", State.MAINTENANCE: "maintenance"}


def _moved(health: Health, state: State, event: str, at: str, reason: str) -> Health:
    change = {"at": at, "event": event, "state": state.value, "reason": reason}
    return replace(health, state=state, reason=reason, since=at, history=(*health.history, change)[-HISTORY:])
