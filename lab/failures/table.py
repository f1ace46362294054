"""All failures, and which of them share a guest."""

from collections.abc import Mapping, Sequence

from lab.failures import Failure, exec, moments, newcomer, plugging, source, state, transfer
from lab.failures.kills import KILLS

Boot = Sequence[Failure]

SHORT: Boot = (state.NO_FOLDER,)
"""What fails most simply: of every run of the suite."""
TOGETHER: Mapping[str, Boot] = {
    "exec": (state.FULL, state.CANCELLED, moments.TWICE, plugging.DURING, moments.PAUSED),
    "transfer": (
        transfer.NONE,
        transfer.EARLY,
        transfer.REFUSES,
        transfer.CANCELLED,
        source.LATE,
        source.CONT,
    ),
}
"""Failures that a guest survives, one after the other in one boot."""
ALONE: Sequence[Failure] = (
    exec.MISSING,
    exec.FORBIDDEN,
    exec.SANDBOX,
    newcomer.BAD_ARGV,
    newcomer.LACKS_DEVICE,
    newcomer.CRASHES,
    newcomer.HANGS,
    *KILLS,
    transfer.LATE,
    source.EARLY,
    moments.REBOOTING,
    moments.SUSPENDED,
    plugging.BEFORE,
)
"""Failures after which there may be no guest, or that need a QEMU of their own."""
BY_IOMMUFD: Mapping[str, Boot] = {**TOGETHER, exec.MISSING.name: (exec.MISSING,)}
"""Boots that are worth the other back-end, too."""
FAILURES: Sequence[Failure] = (*SHORT, *(one for boot in TOGETHER.values() for one in boot), *ALONE)


def boots() -> Mapping[str, Boot]:
    """The boots of a nightly run, by name."""
    return {**TOGETHER, **{failure.name: (failure,) for failure in ALONE}}
