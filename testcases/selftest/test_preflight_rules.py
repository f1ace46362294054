"""Preflight's rules: for each what it says when the thing is there, when it is not, and when nobody knows.

Source: lab/preflight; each rule names its own. What proves a finding: lab/preflight/proofs.py.
"""

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lab.cpr.preflight import Forced
from lab.errors import BenchError, LabUsageError
from lab.preflight import RULES, Report, preflight, require_safe
from lab.preflight.command import Command
from lab.preflight.facts import Facts
from lab.preflight.proofs import NOT_SHOWN, PROOFS
from lab.qemu.argv import GuestConfig
from lab.qemu.devices import IommuBackend, VfioFunction
from lab.rows import EXEC, TRANSFER
from lab.rows.table import cases
from testcases.test_preflight import SPOILT

from .preflight_quiet import QUIET
from .preflight_said import SAID as FIRST
from .preflight_said_more import MORE
from .preflight_words import (
    BDF,
    QEMU,
    SOUND_HOST,
    TYPE1,
    Line,
    alone,
    facts,
)

ROOT = Path(__file__).resolve().parents[2]
SAID = [*FIRST, *MORE]


def said(report: Report) -> set[tuple[str, str, str]]:
    """(rule, severity or "untold", text)"""
    found = {(one.name, str(one.severity), one.reason) for one in report.findings}
    return found | {(one.name, "untold", one.what) for one in report.untold}


@pytest.mark.parametrize("line", SAID, ids=lambda line: f"{line.rule}-{line.says}")
def test_what_is_there_is_said(line: Line) -> None:
    report = preflight(line.of)
    assert [
        text
        for name, says, text in said(report)
        if (name, says) == (line.rule, line.says) and line.text in text
    ]
    assert report.exit_status == {"refuse": 1, "untold": 2}.get(line.says, report.exit_status)


QUIET_LINES = [pytest.param(name, one, id=name) for name, several in QUIET.items() for one in several]


@pytest.mark.parametrize(("name", "one"), QUIET_LINES)
def test_what_is_not_there_is_not_said(name: str, one: Facts) -> None:
    assert [text for rule, _, text in said(preflight(one)) if rule == name] == []


@pytest.mark.parametrize("mode", ["cpr-exec", "cpr-transfer"])
def test_nothing_speaks_against_a_sound_guest(mode: str) -> None:
    for known in (facts(mode=mode), facts(*TYPE1, mode=mode), replace(alone(), mode=mode)):
        report = preflight(known)
        assert (report.findings, report.untold, report.exit_status) == ((), (), 0)


def test_every_rule_is_in_the_table() -> None:
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert {line.rule for line in SAID} == set(names)
    # these two have nothing to be quiet about but a guest without it
    assert {*QUIET, "ram-epc", "ram-encrypted", "more-arguments"} == set(names)


def test_every_refusal_has_a_proof_that_exists() -> None:
    """A case or a reproduction in which what it prevents is seen; few cannot be shown here, and say why."""
    refusing = {line.rule for line in SAID if line.says == "refuse"}
    assert refusing - PROOFS.keys() <= NOT_SHOWN.keys()
    assert not PROOFS.keys() & NOT_SHOWN.keys() and PROOFS.keys() | NOT_SHOWN.keys() <= {
        r.name for r in RULES
    }
    for proof in (proof for proofs in PROOFS.values() for proof in proofs):
        path, _, test = proof.partition("::")
        assert (ROOT / path).is_file(), proof
        if path.endswith(".sh"):
            assert (ROOT / path).with_suffix(".out").read_text().splitlines()[-1].startswith("PRESENT: "), (
                proof
            )
        else:
            assert test.partition("[")[0] in functions(ROOT / path), proof


def test_cases_and_rows_know_the_findings_they_force() -> None:
    """What a test's parameters must hold for a proof is what its parameters are made of."""
    mine = {
        name for name, proofs in PROOFS.items() if any("test_what_is_refused_is_lost" in p for p in proofs)
    }
    assert {one.finding for one in SPOILT} == mine
    for name in ("tap-by-name", "vhost-vsock", "vfio-no-flr"):
        part = PROOFS[name][-1].partition("[")[2].removesuffix("]")
        assert [c.name for c in cases() if name in c.forced and c.fate.lost and c.name.startswith(part)]
    forced = {name for mode in (EXEC, TRANSFER) for case in cases(mode) for name in case.forced}
    assert forced <= {rule.name for rule in RULES}
    # what is expected to be lost or refused, preflight knows of
    for case in (case for mode in (EXEC, TRANSFER) for case in cases(mode)):
        assert bool(case.fate.lost or case.refused) == bool(case.forced), case


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_a_refusal_is_one_whatever_else_is_not_known() -> None:
    assert preflight(alone(*TYPE1, "-serial", "file:/c.log")).exit_status == 1
    assert preflight(alone(*TYPE1)).exit_status == 2


def test_what_nobody_asked_is_told() -> None:
    assert preflight(facts()).assumed == ("new QEMU knows cpr-exec",) or preflight(facts()).assumed == ()
    assert len(preflight(alone()).assumed) == 5


def test_the_worst_comes_first() -> None:
    both = preflight(facts("-chardev", "socket,id=c,path=/c", "-serial", "pty", "-add-fd", "fd=4,set=1"))
    assert [one.severity for one in both.findings] == ["refuse", "warn", "note"]


@pytest.mark.parametrize("iommu", ["type1", "iommufd"])
def test_the_labs_own_guest_is_safe(iommu: IommuBackend) -> None:
    config = GuestConfig("/k", "/i", "/run/g", iommu=iommu, devices=(VfioFunction(BDF),))
    old, new = Command.parse(config.argv(QEMU)), Command.parse(config.incoming(QEMU))
    assert preflight(Facts(old, new, host=SOUND_HOST)).exit_status == 0


def test_new_qemu_gets_all_of_old_qemus_arguments_and_incoming() -> None:
    guest = GuestConfig("/k", "/i", "/run/g", "type1", (VfioFunction(BDF),))
    assert guest.incoming("qemu") == [*guest.argv("qemu"), "-incoming", "file:/run/g/vm.state"]


SERIAL = facts("-serial", "file:/c.log")
Check = Callable[[], object]


def test_a_refusal_names_all_findings_and_the_way_through() -> None:
    with pytest.raises(LabUsageError, match=r"^refusing cpr-exec: file-truncated: .* \(--force updates all"):
        require_safe(SERIAL)
    assert require_safe(SERIAL, ["file-truncated"]).refused
    with pytest.raises(LabUsageError, match="add-fd"):
        require_safe(facts("-serial", "file:/c.log", "-add-fd", "fd=4,set=1"), ["file-truncated"])


def test_what_is_forced_must_be_found() -> None:
    """A case that means to lose something, and does not, would prove nothing."""
    named = Forced(frozenset({"file-truncated"}))
    assert named.checked(SERIAL).refused
    with pytest.raises(BenchError, match="expected to refuse this update by file-truncated"):
        named.checked(facts())
    assert Forced(everything=True).checked(SERIAL).refused
