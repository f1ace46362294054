"""What a host agent could not undo, as the controller learns it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lab.errors import BenchError

_NOT_UNDONE = "not undone: "
"""So begin the agent's last lines, each about a change that stays (lab/agents/host/__main__.py)."""


class NotRestored(BenchError):
    """What was changed on a host could not be undone: it must not be used before somebody has looked.

    undone: what was tried, as `HostAgent.restore` returns it
    """

    def __init__(self, message: str, undone: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(message)
        self.undone = list(undone)


def require_restored(name: str, undone: Sequence[Mapping[str, Any]]) -> None:
    """Raise NotRestored if one of these changes stays."""
    if left := [f"{one['what']}: {one['error']}" for one in undone if "error" in one]:
        raise NotRestored(f"the {name} cannot undo what was changed before: {'; '.join(left)}", undone)


def not_undone(said: Iterable[str]) -> list[str]:
    """The changes that stay, out of what an agent printed."""
    return [line.removeprefix(_NOT_UNDONE) for line in said if line.startswith(_NOT_UNDONE)]
