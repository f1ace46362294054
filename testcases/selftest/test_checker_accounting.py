"""accounting_kept: truth table."""

from pathlib import Path
from typing import Any

import pytest

from lab.checkers import accounting_kept

from .truth import FAIL, PASS, UNKNOWN, hold, row


def process(when: str, **charges: int) -> Any:
    return lambda s: s.change("host.process", {"when": when, "update": 1}, **charges)


TYPE1 = {"vmlck_kb": 262400, "vmpin_kb": 0}
IOMMUFD = {"vmlck_kb": 0, "vmpin_kb": 262400}
NOTHING = {"vmlck_kb": 0, "vmpin_kb": 0}

TABLE = [
    row(
        "type1 is charged as before",
        PASS,
        "VmLck 262400 kB",
        process("before", **TYPE1),
        process("after", **TYPE1),
    ),
    row(
        "iommufd is charged as before",
        PASS,
        "VmPin 262400",
        process("before", **IOMMUFD),
        process("after", **IOMMUFD),
    ),
    row(
        "VmPin is gone",
        FAIL,
        "VmPin was 262400 kB and is 0",
        process("before", **IOMMUFD),
        process("after", **NOTHING),
    ),
    row(
        "nobody looked before the first update, and the second one loses the charge",
        FAIL,
        "^VmPin was 262400 kB and is 0 kB since update 2$",
        lambda s: s.drop("host.process", when="before", update=1),
        lambda s: s.change("host.process", {"when": "before", "update": 2}, **IOMMUFD),
        lambda s: s.change("host.process", {"when": "after", "update": 2}, **NOTHING),
        updates=2,
    ),
    row(
        "VmLck is gone",
        FAIL,
        "VmLck was 262400 kB and is 0",
        process("before", **TYPE1),
        process("after", **NOTHING),
    ),
    row(
        "charged twice",
        FAIL,
        "VmLck was 262400",
        process("before", **TYPE1),
        process("after", vmlck_kb=524800, vmpin_kb=0),
    ),
    row(
        "charged elsewhere", FAIL, "VmLck was 262400", process("before", **TYPE1), process("after", **IOMMUFD)
    ),
    row(
        "never charged",
        UNKNOWN,
        "nothing was charged",
        process("before", **NOTHING),
        process("after", **NOTHING),
    ),
    row("not looked at afterwards", UNKNOWN, "host.process", lambda s: s.drop("host.process", when="after")),
    row("no update", UNKNOWN, "no update was begun", lambda s: s.drop("cpr.invoke").drop("cpr.ok")),
]


@pytest.mark.parametrize(("spoil", "outcome", "says", "updates"), TABLE)
def test_accounting_kept(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(accounting_kept, tmp_path, spoil, updates, outcome, says)
