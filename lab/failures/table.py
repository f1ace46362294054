"""All failures, and which of them share a guest."""

from collections.abc import Mapping, Sequence

from lab.failures import Failure, exec, moments, newcomer, state, transfer

Boot = Sequence[Failure]

SHORT: Boot = (state.NO_FOLDER,)
"""What fails most simply: of every run of the suite."""
TOGETHER: Mapping[str, Boot] = {
    "exec": (state.FULL, state.CANCELLED, moments.TWICE, moments.PLUGGED, moments.PAUSED),
    "transfer": (transfer.NONE, transfer.EARLY, transfer.REFUSES),
}
"""Failures that a guest survives, one after the other in one boot."""
ALONE: Sequence[Failure] = (
    exec.MISSING,
    exec.FORBIDDEN,
    exec.SANDBOX,
    newcomer.BAD_ARGV,
    *newcomer.KILLED,
    transfer.LATE,
    transfer.CONT,
    moments.REBOOTING,
)
"""Failures after which there may be no guest."""
BY_IOMMUFD: Mapping[str, Boot] = {**TOGETHER, exec.MISSING.name: (exec.MISSING,)}
"""Boots that are worth the other back-end, too."""
FAILURES: Sequence[Failure] = (*SHORT, *(one for boot in TOGETHER.values() for one in boot), *ALONE)


def boots() -> Mapping[str, Boot]:
    """The boots of a nightly run, by name."""
    return {**TOGETHER, **{failure.name: (failure,) for failure in ALONE}}
