"""dma_intact's account of blocks against a slow model that nobody can get wrong."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.checkers import tables
from lab.checkers.account import Account, account
from lab.checkers.tables import ascending, contiguous, counts, longest_gap_ns

SEQUENCES = st.lists(st.integers(0, 30), max_size=40)


def model(sent: list[int], received: list[int]) -> tuple[int, ...]:
    """Block by block: lost, lost after the last one received, repeated, reordered, foreign."""
    seen: set[int] = set()
    repeated = reordered = foreign = 0
    for seq in received:
        if seq not in sent:
            foreign += 1
        elif seq in seen:
            repeated += 1
        else:
            reordered += any(seq < other for other in seen)
            seen.add(seq)
    lost = [seq for seq in sent if seq not in seen]
    tail = [seq for seq in lost if not any(other > seq for other in seen)]
    return len(lost), len(tail), repeated, reordered, foreign


def told(result: Account) -> tuple[int, ...]:
    return result.lost, result.tail, result.repeated, result.reordered, result.foreign


def u8(values: list[int]) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    return np.asarray(values, np.uint64)


@pytest.fixture(autouse=True, params=[3, 1 << 20], ids=["small pieces", "one piece"])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The edges between pieces must not show."""
    monkeypatch.setattr(tables, "_PIECE", request.param)


def _checked(sent: list[int], received: list[int]) -> None:
    result = account(u8(sent), u8(received))
    assert told(result) == model(sent, received)
    assert (result.sent, result.received) == (len(sent), len(received))
    arrived = set(sent) & set(received)
    assert result.arrived(0, len(sent)) == len(arrived)
    assert list(result.lost_head) == [seq for seq in sent if seq not in arrived][:5]
    assert list(result.foreign_head) == [seq for seq in received if seq not in sent][:5]
    assert len(result.repeated_head) == min(5, result.repeated)
    assert len(result.reordered_head) == min(5, result.reordered)


@given(sent=st.sets(st.integers(0, 30), min_size=1).map(sorted), received=SEQUENCES)
@settings(max_examples=300, deadline=None)
def test_any_record_is_accounted_for_as_the_model_does(sent: list[int], received: list[int]) -> None:
    _checked(sent, received)


@given(first=st.integers(0, 5), count=st.integers(1, 25), received=SEQUENCES)
@settings(max_examples=300, deadline=None)
def test_a_contiguous_sender_is_accounted_for_as_the_model_does(
    first: int, count: int, received: list[int]
) -> None:
    _checked(list(range(first, first + count)), received)


@given(
    count=st.integers(2, 40),
    dropped=st.sets(st.integers(0, 39)),
    doubled=st.sets(st.integers(0, 39)),
    swap=st.none() | st.integers(0, 38),
)
@settings(max_examples=300, deadline=None)
def test_planted_faults_are_counted(
    count: int, dropped: set[int], doubled: set[int], swap: int | None
) -> None:
    received = [s for s in range(count) if s not in dropped for _ in range(1 + (s in doubled))]
    if swap is not None and swap + 1 < len(received):
        received[swap], received[swap + 1] = received[swap + 1], received[swap]
    _checked(list(range(count)), received)


@given(st.lists(st.integers(0, 5)))
@settings(deadline=None)
def test_passes_over_a_column_see_all_of_it(values: list[int]) -> None:
    column = u8(values)
    pairs = list(pairwise(values))
    assert ascending(column) == all(a <= b for a, b in pairs)
    assert ascending(column, strictly=True) == all(a < b for a, b in pairs)
    assert contiguous(column) == all(b == a + 1 for a, b in pairs)
    assert counts(column) == Counter(values)


@given(st.lists(st.integers(0, 50), min_size=1).map(sorted), st.integers(0, 50), st.integers(0, 10))
@settings(max_examples=300, deadline=None)
def test_the_longest_gap_is_that_of_the_model(times: list[int], start: int, length: int) -> None:
    end = start + length
    gaps = [b - a for a, b in pairwise(times) if b > start and a < end]
    found = longest_gap_ns(np.asarray(times, np.int64), start, end)
    if times[0] > start or times[-1] < end:
        assert found is None
    else:
        assert found == max(gaps, default=0)


def test_the_sender_must_number_upwards() -> None:
    with pytest.raises(ValueError, match="strictly ascending"):
        account(u8([1, 1]), u8([1]))
