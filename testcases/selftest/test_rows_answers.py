"""Which cases a bench can run: by what it has, and by what its QEMU says against an update."""

from collections.abc import Callable

import pytest

from lab.drivers.capabilities import NEEDS
from lab.errors import BenchError
from lab.rows import EXEC, VHOST, Case, Fate, Row
from lab.rows.answers import Answer, answers

FACTS = {"host": {"kvm": True}, "qemu": {"modes": ["cpr-exec"]}}
CASE = Case(Row("tap", "a tap", (), VHOST), "vhost")
REFUSED = Case(
    Row("mdev", "an mdev", (), VHOST, fates={EXEC: Fate(refused={"vhost": "CPR does not support"})}), "vhost"
)
REASON = "CPR does not support vfio mdev 1"


def says(*reasons: str) -> Callable[[Case], list[str]]:
    return lambda case: list(reasons)


def fails(case: Case) -> list[str]:
    raise BenchError("QEMU ended with 1;\nit said last: no such device")


def test_what_is_missing_is_why_and_qemu_is_not_asked() -> None:
    [told] = answers([CASE], {"host": {}, "qemu": {}}, fails)
    why = (NEEDS["kvm"].remedy, NEEDS["mode"].remedy.format("cpr-exec"))
    assert told == Answer("tap", "vhost", ok=False, why=why)


def test_without_asking_qemu_the_needs_decide() -> None:
    assert list(answers([CASE, REFUSED], FACTS, None)) == [
        Answer("tap", "vhost", ok=True),
        Answer("mdev", "vhost", ok=True),
    ]


@pytest.mark.parametrize(
    ("case", "reasons", "ok", "refused", "why"),
    [
        (CASE, (), True, False, ()),
        (CASE, (REASON,), False, False, (f"its QEMU would refuse to update this guest: {REASON}",)),
        (REFUSED, (REASON,), True, True, ()),
        (
            REFUSED,
            (),
            False,
            False,
            ("its QEMU was expected to refuse (CPR does not support), and says nothing",),
        ),
    ],
    ids=["goes", "is blocked", "is blocked as expected", "is blocked no longer"],
)
def test_what_qemu_says_is_held_against_what_is_expected(
    case: Case, reasons: tuple[str, ...], ok: bool, refused: bool, why: tuple[str, ...]
) -> None:
    assert list(answers([case], FACTS, says(*reasons))) == [
        Answer(case.name, "vhost", ok, why, refused, blocked_reasons=reasons)
    ]


def test_a_device_that_cannot_be_made_is_why_and_the_next_row_is_asked() -> None:
    asked = iter([fails, says()])
    failed, went = answers([CASE, CASE], FACTS, lambda case: next(asked)(case))
    assert (failed.ok, failed.why) == (False, ("QEMU ended with 1; it said last: no such device",))
    assert failed.blocked_reasons is None and went.ok
