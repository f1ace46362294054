"""Counts the blocks that pass by on their way to the evidence, so that one can wait for them."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.link import Receiver

ASK_AGAIN_S = 0.5
"""A predicate may look at more than what is counted here."""


class BlockCounts:
    """How many blocks have been told of: per table, and of the good ones per epoch."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._blocks: Counter[str] = Counter()
        self._good: Counter[tuple[str, int]] = Counter()
        self._last_s: dict[str, float] = {}

    def add(self, table: str, columns: Mapping[str, NDArray[Any]]) -> None:
        """Count the rows of one batch."""
        good_epochs = columns["epoch"][columns["good"] != 0]
        epochs, numbers = np.unique(good_epochs, return_counts=True)
        with self._changed:
            self._blocks[table] += len(columns["seq"])
            for epoch, number in zip(epochs.tolist(), numbers.tolist(), strict=True):
                self._good[table, epoch] += number
            self._last_s[table] = time.monotonic()
            self._changed.notify_all()

    def blocks(self, table: str) -> int:
        """All rows of a table so far."""
        with self._changed:
            return self._blocks[table]

    def good(self, table: str, epoch: int) -> int:
        """Good blocks of one epoch."""
        with self._changed:
            return self._good[table, epoch]

    def wait_for(self, predicate: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until it is true, asked again whenever something was counted; whether it became true."""
        end_s = time.monotonic() + timeout_s
        with self._changed:
            while not predicate():
                if (left_s := end_s - time.monotonic()) <= 0:
                    return False
                self._changed.wait(min(left_s, ASK_AGAIN_S))
            return True

    def wait_for_or_quiet(
        self, predicate: Callable[[], bool], quiet_s: float, tables: tuple[str, ...], timeout_s: float
    ) -> bool:
        """Wait until it is true or nothing came into the tables for a while; False if neither in time."""
        now_s = time.monotonic()
        end_s, quiet_from_s = now_s + timeout_s, now_s
        with self._changed:
            while not predicate():
                now_s = time.monotonic()
                last_s = max([quiet_from_s, *(self._last_s.get(table, 0.0) for table in tables)])
                if now_s >= last_s + quiet_s:
                    return True
                if now_s >= end_s:
                    return False
                self._changed.wait(min(last_s + quiet_s - now_s, end_s - now_s, ASK_AGAIN_S))
            return True


class Meter:
    """A receiver that counts the blocks of one load on their way to the evidence.

    onward: gets what is not of this load
    """

    def __init__(self, counts: BlockCounts, load: str, evidence: Receiver, onward: Receiver) -> None:
        self._counts, self._load, self._evidence, self._onward = counts, load, evidence, onward

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        (self._evidence if data.get("load") == self._load else self._onward).event(kind, data)

    def rows(self, table: str, columns: Mapping[str, NDArray[Any]]) -> None:
        if not table.startswith(f"{self._load}."):
            self._onward.rows(table, columns)
            return
        self._evidence.rows(table, columns)
        self._counts.add(table, columns)
