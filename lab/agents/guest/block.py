"""The guest's end of the block load: finds its disk, clears it, lets the threads work."""

from typing import Any

from ..direct import BlockFile, DirectFile, buffer
from ..disk_faults import FaultyDisk, Plan
from ..disks import Disk, chosen, counters, users
from ..frames import SMALLEST
from ..loop import Loop, Timer
from ..pattern import LONGEST
from ..rpc import AgentError, Wire
from ..slots import SECTOR_BYTES, Slots
from .block_work import BlockWork, in_time

ROWS_PERIOD_MS = 250
CLEAR_TIMEOUT_S = 30.0
_CLEAR_BYTES = 256 << 10

Totals = dict[str, dict[str, Any]]


class Block:
    """Writes block after block to a disk and reads each back, several under way at any time.

    Stream "write": block `seq` goes to slot `seq % slots`. Stream "read": the slot is read into a poisoned
    buffer and every bit compared. Reads have numbers of their own: writes overtake each other, so the order
    in which blocks can be read back is not that of their numbers. An anomaly names the block, too.

    opener: opens disks; for tests, one that plants faults
    """

    def __init__(
        self, loop: Loop, out: Wire, load: str, epoch: int, opener: type[DirectFile] = DirectFile
    ) -> None:
        self._loop, self._out, self._load, self._epoch = loop, out, load, epoch
        self._opener = opener
        self._disk: Disk | None = None
        self._faults = Plan(out)
        self._work: BlockWork | None = None
        self._flushing: Timer | None = None

    def epoch(self, number: int) -> None:
        """Requests put from now on carry it."""
        self._epoch = number
        if self._work:
            self._work.epoch = number

    def start(
        self,
        *,
        block_bytes: int,
        rate_hz: float,
        depth: int,
        slots: int,
        seed: int,
        bdf: str | None = None,
        driver: str | None = None,
        path: str | None = None,
    ) -> dict[str, Any]:
        """Clear the slots and begin; {slots, depth, disk}. What the disk held there is lost.

        rate_hz: blocks begun per second at most, each of them a write and a read
        depth:   requests under way at most
        slots:   wanted; a small disk has fewer
        path:    of a file in place of a disk, used as long as it is
        """
        disk = None if path else _free(chosen(bdf, driver))
        file = self._opener.opened(path or (disk.path if disk else ""), write=True)
        try:
            fitting = min(slots, file.length() // max(1, block_bytes))
            _check(disk, block_bytes, depth, fitting)
            _clear(file, fitting * block_bytes)
            slotted = Slots(seed, block_bytes, fitting)
            faulty = FaultyDisk(file, self._faults)
            self._work = BlockWork(self._out, self._load, self._epoch, faulty, slotted)
        except BaseException:
            file.close()
            raise
        self._disk = disk
        self._work.start(rate_hz, depth, self._loop.on_error)
        self._flushing = self._loop.every(ROWS_PERIOD_MS, self._work.flush)
        facts = disk._asdict() if disk else {"path": path, "bytes": file.length()}
        return {"slots": fitting, "depth": depth, "disk": facts | {"direct": file.direct}}

    def stop_sending(self) -> Totals:
        """Begin no block; those under way are still written and read back."""
        if self._work is None:
            raise AgentError(f"the load {self._load} does not run")
        self._work.begin_no_more()
        return self._work.totals()

    def stop(self) -> Totals:
        """Wait a while for what is under way, flush the disk and let it go; nothing if nothing runs."""
        if self._work is None:
            return {}
        work, self._work = self._work, None
        if self._flushing:
            self._loop.cancel(self._flushing)
        work.finish()
        self._faults.end()
        return work.totals()

    def counters(self) -> dict[str, dict[str, int]]:
        """The kernel's counters of the disk, as guest-disk."""
        return {"guest-disk": counters(self._disk.name)} if self._disk else {}

    def fault(self, kind: str) -> None:
        """Do this to the next block on its way to the disk: see disk_faults.Plan."""
        if self._work is None:
            raise AgentError(f"the load {self._load} does not run")
        self._faults.plant(kind)


def _free(disk: Disk) -> Disk:
    """Raises AgentError if anything uses it. Opening it for writing is the same question, to the kernel."""
    if using := users(disk.name):
        raise AgentError(f"{disk.name} is in use: {', '.join(using)}")
    return disk


def _check(disk: Disk | None, block_bytes: int, depth: int, slots: int) -> None:
    unit = disk.logical_block_bytes if disk else SECTOR_BYTES
    if block_bytes % unit or not SMALLEST <= block_bytes <= LONGEST:
        raise AgentError(f"block_bytes must be a multiple of {unit}, at most {LONGEST}, not {block_bytes}")
    if not 1 <= depth <= slots:
        raise AgentError(f"{slots} slots fit, which is not enough for {depth} requests at once")


def _clear(file: BlockFile, length: int) -> None:
    """Zeros in all slots: a block of an earlier run must not pass for one of this run that was lost."""

    def clear(file: BlockFile) -> None:
        for start in range(0, length, _CLEAR_BYTES):
            zeros = buffer(min(_CLEAR_BYTES, length - start))
            if (count := file.write(zeros, start)) != len(zeros):
                raise OSError(0, f"{count} of {len(zeros)} bytes written at {start}")

    try:
        in_time(CLEAR_TIMEOUT_S, file.again(), clear)
    except OSError as error:
        raise AgentError(f"the disk could not be cleared: {error.strerror or error}") from None
