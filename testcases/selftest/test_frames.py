"""Every wrong bit of a load's frame is noticed, and said for what it is.

Claim: a block that was lost, torn, stale or damaged is known from its content alone
(`lab/agents/frames.py`), whatever the device reports.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.agents.frames import HEADER_BYTES, FrameReader, FrameWriter, mac_bytes
from lab.agents.pattern import STARTS, Pattern

BYTES = 200
PATTERN = Pattern(1)
GUEST, FAR = mac_bytes("02:00:00:00:00:01"), mac_bytes("02:00:00:00:00:02")
WRITER = FrameWriter("to-guest", PATTERN, BYTES, GUEST, FAR)
READER = FrameReader("to-guest", PATTERN, BYTES)
SEQS = st.integers(0, 2**40)


@given(seq=SEQS, epoch=st.integers(0, 2**32 - 1))
def test_good_frame_gives_its_numbers(seq: int, epoch: int) -> None:
    frame = WRITER.frame(seq, epoch)
    assert len(frame) == BYTES
    assert READER.check(frame) == (seq, epoch)


@settings(max_examples=300)
@given(seq=SEQS, bit=st.integers(0, BYTES * 8 - 1))
def test_any_flipped_bit_is_damage(seq: int, bit: int) -> None:
    frame = bytearray(WRITER.frame(seq, 3))
    frame[bit // 8] ^= 1 << bit % 8
    assert READER.check(bytes(frame)) is None
    diagnosis = READER.diagnose(bytes(frame))
    assert (diagnosis.what, diagnosis.seq) == ("damaged", seq)


@given(seq=SEQS, other=SEQS)
def test_stale_content_is_damage_that_names_the_old_block(seq: int, other: int) -> None:
    if seq == other:
        return
    frame = WRITER.frame(seq, 1)[:HEADER_BYTES] + WRITER.frame(other, 1)[HEADER_BYTES:]
    assert READER.check(frame) is None
    assert READER.diagnose(frame).seq == seq
    assert READER.diagnose(frame).detail["content_of_seq"] == other


@given(seq=SEQS, ahead=st.integers(1, STARTS - 1), cut=st.integers(HEADER_BYTES + 8, BYTES - 16))
def test_frame_of_two_blocks_is_torn(seq: int, ahead: int, cut: int) -> None:
    frame = WRITER.frame(seq, 1)[:cut] + WRITER.frame(seq + ahead, 1)[cut:]
    assert READER.check(frame) is None
    diagnosis = READER.diagnose(frame)
    assert (diagnosis.what, diagnosis.seq, diagnosis.detail["content_of_seq"]) == ("torn", seq, seq + ahead)
    assert cut <= diagnosis.detail["first_wrong_byte"] < cut + 16


@pytest.mark.parametrize("length", [0, 10, 20, 40, 46, BYTES - 1, BYTES + 1])
def test_wrong_length_is_noticed(length: int) -> None:
    frame = (WRITER.frame(7, 1) * 2)[:length]
    assert READER.check(frame) is None
    assert READER.diagnose(frame).what == ("foreign" if length < 14 else "damaged")


def test_frames_of_others_are_foreign() -> None:
    neighbour_discovery = bytes.fromhex("333300000002 020000000001 86dd") + bytes(80)
    other_direction = FrameWriter("from-guest", PATTERN, BYTES, FAR, GUEST).frame(1, 1)
    assert READER.diagnose(neighbour_discovery).what == "foreign"
    assert READER.diagnose(other_direction).what == "foreign"


def test_another_seed_is_damage() -> None:
    other = FrameWriter("to-guest", Pattern(2), BYTES, GUEST, FAR)
    assert READER.diagnose(other.frame(5, 1)).what == "damaged"
