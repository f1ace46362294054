"""Numbered streams count what was lost, repeated, reordered, damaged or cut, and nothing else."""

import itertools
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.agents.numbered import LINE_BYTES, Checker, Line, NumberedStream, parsed


def lines(*numbers: int, epoch: int = 1) -> bytes:
    return b"".join(Line(epoch, number).encoded() for number in numbers)


ONE = lines(1)
TRUTH = {
    "nothing came": (b"", {}),
    "all came": (lines(1, 2, 3), {"received": 3, "last_number": 3}),
    "first lost": (lines(2), {"received": 1, "lost": 1, "last_number": 2}),
    "two lost in the middle": (lines(1, 4), {"received": 2, "lost": 2, "last_number": 4}),
    "repeated": (lines(1, 1), {"received": 2, "repeated": 1, "last_number": 1}),
    "came late": (lines(1, 3, 2), {"received": 3, "reordered": 1, "last_number": 3}),
    "came late, twice": (lines(2, 1, 1), {"received": 3, "reordered": 1, "repeated": 1, "last_number": 2}),
    "one byte wrong": (
        ONE + lines(2).replace(b"2 ", b"3 ", 1) + lines(3),
        {"received": 2, "damaged": 1, "lost": 1, "last_number": 3},
    ),
    "foreign text": (b"login: \n" + ONE, {"received": 1, "damaged": 1, "last_number": 1}),
    "byte dropped": (ONE[:5] + ONE[6:], {"damaged": 1}),
    "cut, then whole again": (ONE[:9] + ONE, {"received": 1, "cut": 1, "last_number": 1}),
    "cut, then the next": (ONE[:9] + lines(2), {"received": 1, "cut": 1, "lost": 1, "last_number": 2}),
    "cut at the end": (ONE + lines(2)[:9], {"received": 1, "last_number": 1, "tail_bytes": 9}),
}


@pytest.mark.parametrize(("data", "expected"), TRUTH.values(), ids=TRUTH.keys())
def test_counters(data: bytes, expected: dict[str, int]) -> None:
    checker = Checker()
    checker.feed(data)
    counted = {name: value for name, value in checker.report().items() if value and "epoch" not in name}
    assert counted == expected


@given(cuts=st.lists(st.integers(0, 20 * LINE_BYTES)))
def test_how_the_bytes_are_split_is_no_matter(cuts: list[int]) -> None:
    data, checker = lines(*range(1, 21)), Checker()
    edges = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        checker.feed(data[start:end])
    counted = {name: value for name, value in checker.report(upto=20).items() if value}
    assert counted == {"received": 20, "last_number": 20, "first_epoch": 1, "last_epoch": 1}


def test_missing_at_the_end_is_lost_once_the_last_number_is_known() -> None:
    checker = Checker()
    checker.feed(lines(1, 2))
    assert checker.report()["lost"] == 0
    assert checker.report(upto=5)["lost"] == 3


def test_the_oldest_and_the_newest_epoch_are_kept() -> None:
    checker = Checker()
    checker.feed(lines(1, epoch=2) + lines(2, epoch=1) + lines(3, epoch=2))
    assert (checker.first_epoch, checker.last_epoch) == (1, 2)


@given(st.binary(max_size=40))
def test_no_line_is_read_out_of_noise(noise: bytes) -> None:
    assert (line := parsed(noise)) is None or line.encoded() == noise


def run_ends(a: NumberedStream, b: NumberedStream) -> tuple[threading.Event, list[threading.Thread]]:
    stop = threading.Event()
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    threads = [
        threading.Thread(target=lambda s=s, e=e: (s.run(e.fileno(), stop), e.close()), daemon=True)
        for s, e in zip((a, b), ends, strict=True)
    ]
    for thread in threads:
        thread.start()
    return stop, threads


def drained(a: NumberedStream, b: NumberedStream) -> tuple[dict[str, object], dict[str, object]]:
    a.drain()
    b.drain()
    return a.report(b.sent, timeout_s=5), b.report(a.sent, timeout_s=5)


def test_both_directions_over_two_connections() -> None:
    a, b = NumberedStream(rate_hz=500), NumberedStream(rate_hz=500)
    for epoch in (1, 2):
        a.epoch = b.epoch = epoch
        stop, threads = run_ends(a, b)
        a.report(upto=b.sent + 10, timeout_s=5)
        b.report(upto=a.sent + 10, timeout_s=5)
        if epoch == 2:
            at_a, at_b = drained(a, b)
        stop.set()
        for thread in threads:
            thread.join(5)
    for counted, sent in ((at_a["received"], b.sent), (at_b["received"], a.sent)):
        assert isinstance(counted, dict)
        # the first connection was broken while lines were under way: those and only those may be lost
        assert counted["received"] + counted["lost"] == sent
        assert (counted["repeated"], counted["damaged"], counted["last_epoch"]) == (0, 0, 2)
    assert at_a["drained"] and at_b["drained"]


def test_eof_ends_a_run() -> None:
    a, b = socket.socketpair()
    a.setblocking(False)
    b.close()
    assert NumberedStream().run(a.fileno(), threading.Event()) != "stopped"
    a.close()


def test_a_partly_written_line_is_written_whole_next_time() -> None:
    stream, stop, whole = NumberedStream(rate_hz=1000), threading.Event(), Line(1, 1).encoded()
    stream.drain()
    stream._line, stream._rest = whole, whole[9:]  # as a broken connection leaves it
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    thread = threading.Thread(target=stream.run, args=(ours.fileno(), stop))
    thread.start()
    assert theirs.recv(100) == whole
    stop.set()
    thread.join(5)
    ours.close()
    theirs.close()
