"""Faults of a disk, planted to see whether the lab notices them."""

import errno
import os
import threading
from collections.abc import Callable
from mmap import mmap
from typing import Self

from .direct import BlockFile, buffer
from .rpc import AgentError, Wire


class Plan:
    """What is to go wrong with the next block, the same for all who have the disk open.

    flip:   a bit of it is written wrong
    torn:   of its second half nothing is written
    stale:  nothing of it is written
    hidden: nothing is written to its slot from now on, while reads of the slot get what was not: as if a
            cache lied, so that only who reads the medium later can notice
    drop:   the request does not come back
    """

    def __init__(self, out: Wire) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._planted: list[str] = []
        self._over = threading.Event()
        self._cached: dict[int, bytes] = {}
        self._kinds: dict[str, Callable[[BlockFile, mmap, int], int]] = {
            "flip": self._flip,
            "torn": self._torn,
            "stale": lambda file, data, at: len(data),
            "hidden": self._hide,
            "drop": self._drop,
        }

    def plant(self, kind: str) -> None:
        """Do it to the next block that is written.

        Raises:
            AgentError: if there is no such fault.
        """
        if kind not in self._kinds:
            raise AgentError(f"no fault {kind!r} of a disk: there are {', '.join(self._kinds)}")
        self._planted.append(kind)
        self._out.event("fault.planted", fault=f"disk.{kind}", detail={"kind": kind})

    def end(self) -> None:
        """The load is over: what did not come back does, as an error."""
        self._over.set()

    def write(self, file: BlockFile, data: mmap, at: int) -> int:
        if at in self._cached:
            return self._hide(file, data, at)
        with self._lock:
            kind = self._planted.pop(0) if self._planted else ""
        return self._kinds[kind](file, data, at) if kind else file.write(data, at)

    def read(self, file: BlockFile, into: mmap, at: int) -> int:
        if at not in self._cached:
            return file.read(into, at)
        into[:] = self._cached[at]
        return len(into)

    def _flip(self, file: BlockFile, data: mmap, at: int) -> int:
        data[len(data) // 2] ^= 0x10
        return file.write(data, at)

    def _torn(self, file: BlockFile, data: mmap, at: int) -> int:
        whole = buffer(len(data))
        file.read(whole, at)
        half = len(data) // 2
        whole[:half] = data[:half]
        return file.write(whole, at)

    def _hide(self, file: BlockFile, data: mmap, at: int) -> int:
        self._cached[at] = data[:]
        return len(data)

    def _drop(self, file: BlockFile, data: mmap, at: int) -> int:
        self._over.wait()
        raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))


class FaultyDisk:
    """A disk that does to blocks what is planned, and else passes them on."""

    def __init__(self, file: BlockFile, plan: Plan) -> None:
        self._file, self._plan = file, plan
        self.direct, self.length, self.flush, self.close = file.direct, file.length, file.flush, file.close

    def again(self) -> Self:
        return type(self)(self._file.again(), self._plan)

    def write(self, data: mmap, at: int) -> int:
        return self._plan.write(self._file, data, at)

    def read(self, into: mmap, at: int) -> int:
        return self._plan.read(self._file, into, at)
