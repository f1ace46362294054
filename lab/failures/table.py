"""All failures, and which of them share a guest."""

from collections.abc import Mapping, Sequence

from lab.failures import Failure, exec, moments, newcomer, plugging, source, state, transfer
from lab.failures.kills import KILLS

Boot = Sequence[Failure]
"""Failures of one guest, one after the other; one that it may not survive can only be the last."""

_EXEC: Boot = (state.FULL, state.CANCELLED, moments.TWICE, plugging.DURING, moments.PAUSED)
_TRANSFER: Boot = (
    *(transfer.NONE, transfer.EARLY, transfer.REFUSES, transfer.CANCELLED),
    *(source.LATE, source.CONT),
)

SHORT: Boot = (state.NO_FOLDER, transfer.EARLY, exec.MISSING)
"""One of each kind: refused at once, refused when a destination had the descriptors, and lost."""
TOGETHER: Mapping[str, Boot] = {
    "exec": (*_EXEC, moments.REBOOTING),
    "transfer": (*_TRANSFER, source.EARLY),
}
"""Boots that hold several."""
ALONE: Sequence[Failure] = (
    exec.FORBIDDEN,
    exec.SANDBOX,
    newcomer.BAD_ARGV,
    newcomer.LACKS_DEVICE,
    newcomer.CRASHES,
    newcomer.HANGS,
    *KILLS,
    transfer.LATE,
    moments.SUSPENDED,
    moments.RESET,
    plugging.BEFORE,
)
"""Failures after which there may be no guest, or that need a QEMU of their own."""
BY_IOMMUFD: Mapping[str, Boot] = {
    "exec": (*_EXEC, exec.MISSING),
    "transfer": (*_TRANSFER, transfer.LATE),
}
"""Boots by the other back-end, whose mappings are handed over in another way."""
ALL: Sequence[Boot] = (SHORT, *TOGETHER.values(), *BY_IOMMUFD.values(), *((one,) for one in ALONE))
FAILURES: Sequence[Failure] = tuple({one.name: one for boot in ALL for one in boot}.values())


def boots() -> Mapping[str, Boot]:
    """The boots of a nightly run, by name."""
    return {**TOGETHER, **{failure.name: (failure,) for failure in ALONE}}
