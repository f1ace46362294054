"""The account of a stream of blocks: what became of every block that was sent."""

from dataclasses import dataclass

import numpy as np

from lab.checkers.tables import Column, ascending, contiguous, equal, pieces

_HEAD = 5


@dataclass(frozen=True)
class Account:
    """Counts over a whole stream, and the first few sequence numbers of each kind.

    lost: sent and never received; tail: those of them after the last one received
    repeated: receptions beyond the first of the same block
    reordered: first receptions after a later block
    foreign: receptions of a number that was not sent
    seen: for every sent row whether it was received; None means all were
    """

    sent: int
    received: int
    lost: int = 0
    tail: int = 0
    repeated: int = 0
    reordered: int = 0
    foreign: int = 0
    lost_head: tuple[int, ...] = ()
    repeated_head: tuple[int, ...] = ()
    reordered_head: tuple[int, ...] = ()
    foreign_head: tuple[int, ...] = ()
    seen: Column | None = None

    def arrived(self, start: int, stop: int) -> int:
        """How many of these sent rows were received."""
        if self.seen is None:
            return stop - start
        return int(np.count_nonzero(self.seen[start:stop]))


def account(sent: Column, received: Column) -> Account:
    """Compare what was sent with what was received, both in the order of the observer.

    Raises:
        ValueError: if the sender's own record is not strictly ascending.
    """
    if not ascending(sent, strictly=True):
        raise ValueError("the sender's record is not strictly ascending")
    if equal(sent, received):
        return Account(len(sent), len(received))
    seen = np.zeros(len(sent), np.bool_)
    foreign, foreign_head = _mark(sent, received, seen)
    lost = np.flatnonzero(~seen)
    tail = int(np.argmax(seen[::-1])) if seen.any() else len(sent)
    repeated, reordered = _disorder(sent, received)
    return Account(
        len(sent),
        len(received),
        lost=len(lost),
        tail=tail,
        repeated=len(repeated),
        reordered=len(reordered),
        foreign=foreign,
        lost_head=_head(sent[lost[:_HEAD]]),
        repeated_head=_head(repeated),
        reordered_head=_head(reordered),
        foreign_head=foreign_head,
        seen=seen,
    )


def _mark(sent: Column, received: Column, seen: Column) -> tuple[int, tuple[int, ...]]:
    """Mark what was received; count what was never sent."""
    whole_range = contiguous(sent)
    foreign = 0
    head: tuple[int, ...] = ()
    for piece in (received[p] for p in pieces(len(received))):
        # with a contiguous sender the row is plain arithmetic; numbers below the first wrap to huge ones
        rows = piece - sent[0] if whole_range else np.searchsorted(sent, piece)
        known = rows < len(sent)
        known[known] = sent[rows[known]] == piece[known]
        seen[rows[known]] = True
        strange = piece[~known]
        foreign += len(strange)
        head = (*head, *_head(strange))[:_HEAD]
    return foreign, head


def _disorder(sent: Column, received: Column) -> tuple[Column, Column]:
    """The sequence numbers of repetitions, and of first receptions out of order, of sent blocks."""
    if ascending(received, strictly=True):
        return received[:0], received[:0]
    places = np.minimum(np.searchsorted(sent, received), len(sent) - 1)
    ours = np.asarray(received)[sent[places] == received]
    late = ours < np.maximum.accumulate(ours)
    first = np.zeros(len(ours), np.bool_)
    first[np.unique(ours, return_index=True)[1]] = True
    return ours[~first], ours[first & late]


def _head(values: Column) -> tuple[int, ...]:
    return tuple(int(v) for v in values[:_HEAD])
