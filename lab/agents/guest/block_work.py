"""The threads of the block load: each writes one block, reads it back, and takes the next that is due."""

import threading
import time
from collections.abc import Callable
from mmap import mmap
from typing import Any

from ..direct import BlockFile, buffer
from ..pacing import Pacer
from ..requests import Requests
from ..rpc import Wire
from ..slots import STREAM, Slots

GIVE_UP_S = 3.0
"""What the end waits for requests, and again for the flush; the controller waits 10 s for both."""
_NS_PER_S = 1e9


class BlockWork:
    """Blocks under way, up to `depth` at once.

    Threads, not one loop: a thread that waits for the device waits without Python's lock, and no other
    interface of the kernel that Python has keeps several requests in flight on one disk.
    Each thread has a descriptor of its own: one that hangs in the device keeps it, all others let go.
    """

    def __init__(self, out: Wire, load: str, epoch: int, file: BlockFile, slots: Slots) -> None:
        self.epoch = epoch
        self._file, self._slots = file, slots
        self._writes, self._reads = Requests(out, load, STREAM), Requests(out, load, "read")
        self._stopping, self._given_up = threading.Event(), False
        self._turn = threading.Lock()
        self._busy: set[int] = set()
        self._next = 0
        self._pacer: Pacer | None = None
        self._threads: list[threading.Thread] = []

    def start(self, rate_hz: float, depth: int, on_error: Callable[[Exception], None]) -> None:
        """Begin; on_error is told of what should not happen, and ended its thread."""
        self._pacer = pacer = Pacer(rate_hz, time.monotonic_ns(), burst=depth)
        for _ in range(depth):
            # a daemon: one that hangs in the device must not keep the agent
            args = (self._file.again(), pacer, on_error)
            thread = threading.Thread(target=self._run, args=args, daemon=True)
            self._threads.append(thread)
            thread.start()

    def flush(self) -> None:
        """Send the rows that were collected."""
        self._writes.flush()
        self._reads.flush()

    def begin_no_more(self) -> None:
        self._stopping.set()

    def finish(self) -> None:
        """Begin no more, wait for what is under way, flush the disk, let it go."""
        self._stopping.set()
        end_s = time.monotonic() + GIVE_UP_S
        for thread in self._threads:
            thread.join(max(0.0, end_s - time.monotonic()))
        self._given_up = True
        try:
            in_time(GIVE_UP_S, self._file.again(), lambda file: file.flush())
        except OSError as error:
            self._writes.failed({"call": "flush", **_why(error)})
        self._file.close()
        self._writes.close()
        self._reads.close()

    def totals(self) -> dict[str, dict[str, Any]]:
        missed = self._pacer.missed if self._pacer else 0
        return {STREAM: self._writes.totals(missed), "read": self._reads.totals()}

    def _run(self, file: BlockFile, pacer: Pacer, on_error: Callable[[Exception], None]) -> None:
        data, back = buffer(self._slots.block_bytes), buffer(self._slots.block_bytes)
        try:
            while (begun := self._begin(data, pacer)) is not None:
                self._write_and_read(file, data, back, *begun)
        except Exception as error:
            on_error(error)
        finally:
            file.close()

    def _begin(self, data: mmap, pacer: Pacer) -> tuple[int, int] | None:
        """Wait for the next block to be due, put it into the buffer; its number and epoch, None at the end.

        One thread waits for the time, the others for their turn: what is put is in order.
        """
        with self._turn:
            while not self._stopping.wait(max(0.0, (pacer.next_ns - time.monotonic_ns()) / _NS_PER_S)):
                if not pacer.due(time.monotonic_ns()):
                    continue
                pacer.sent(1)
                seq, epoch = self._free_number(), self.epoch
                data[:] = self._slots.block(seq, epoch)
                return self._writes.begin(epoch, seq), epoch
            return None

    def _free_number(self) -> int:
        """The next number whose slot is not in use: one that hangs costs its numbers, not the load."""
        while self._slots.slot(self._next) in self._busy:
            self._next += 1
        seq = self._next
        self._busy.add(self._slots.slot(seq))
        self._next += 1
        return seq

    def _write_and_read(self, file: BlockFile, data: mmap, back: mmap, seq: int, epoch: int) -> None:
        slot = self._slots.slot(seq)
        what, detail = _done(file.write, data, self._slots.at(slot))
        self._writes.end(seq, epoch, what, detail | {"slot": slot})
        # what a failed write left in the slot nobody knows; and when given up, rows are no longer told
        if not what and not self._given_up:
            self._read_back(file, back, slot, seq)
        self._busy.discard(slot)

    def _read_back(self, file: BlockFile, back: mmap, slot: int, seq: int) -> None:
        back[:] = self._slots.poison
        epoch = self.epoch
        number = self._reads.begin(epoch)
        what, detail = _done(file.read, back, self._slots.at(slot))
        if not what:
            what, detail = self._compared(back, slot, seq)
        self._reads.end(number, epoch, what, detail | {"block": seq, "slot": slot})

    def _compared(self, back: mmap, slot: int, seq: int) -> tuple[str, dict[str, Any]]:
        """What is wrong with a slot that was read back, if anything."""
        look = self._slots.look(slot, back[:])
        what = look.what or ("stale" if look.seq != seq else "")
        return what, look.detail | ({"found_block": look.seq} if what else {})


def in_time(seconds: float, file: BlockFile, act: Callable[[BlockFile], object]) -> None:
    """Do it in a thread, which closes the file.

    Raises:
        OSError: as it did; TimeoutError if it is not done in time, and goes on alone.
    """
    failed: list[OSError] = []

    def run() -> None:
        try:
            act(file)
        except OSError as error:
            failed.append(error)
        finally:
            file.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {seconds:g} s")
    if failed:
        raise failed[0]


def _done(request: Callable[[mmap, int], int], data: mmap, at: int) -> tuple[str, dict[str, Any]]:
    """Put a request and wait for it; what is wrong with how it ended, if anything."""
    try:
        count = request(data, at)
    except OSError as error:
        return "error", _why(error)
    return ("", {}) if count == len(data) else ("short", {"bytes": count, "wanted": len(data)})


def _why(error: OSError) -> dict[str, Any]:
    return {"errno": error.errno, "error": error.strerror or str(error)}
