"""What `cprlab doctor` tells of a bench: in words for people, with all that is needed to understand it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.cli import doctor
from lab.cli.doctor import Check, bench_checks, function_checks, row_words
from lab.errors import BenchError
from lab.rows.answers import Answer

FACTS: dict[str, dict[str, Any]] = {
    "host": {
        "kvm": True,
        "iommu": False,
        "tun": False,
        "memlock_bytes": None,
        "iommu_groups": 0,
        "vdpa": [],
        "mdev": {"mtty": ["mtty-1", "mtty-2"]},
        "sriov": {},
    }
}
FOUND = {
    "bdf": "0000:01:00.0",
    "driver": "igb",
    "iommu_group": "7",
    "group_members": ["0000:01:00.0"],
    "reset_methods": ["flr", "bus"],
}


def bench() -> Any:
    at = SimpleNamespace
    tools = at(qemu_old="/old", qemu_new="/new")
    functions = {"nic": at(bdf="0000:01:00.0"), "gpu": at(bdf="0000:02:00.0")}
    return at(name="a", functions=functions, target_file=at(tools=tools))


def test_a_host_in_words() -> None:
    checks = {check.what: check for check in bench_checks("a", "7.3.4", FACTS)}
    found = {what: (check.ok, check.found) for what, check in checks.items()}
    assert found == {
        "answers by ssh": (True, "7.3.4"),
        "kvm": (True, "yes"),
        "iommu": (False, "no"),
        "tun": (False, "no"),
        "memlock_bytes": (True, "unlimited"),
        "iommu_groups": (True, "0"),
        "vdpa": (True, "none"),
        "mdev": (True, "mtty: mtty-1, mtty-2"),
        "sriov": (True, "none"),
    }
    assert checks["iommu"].needed and not checks["tun"].needed


@pytest.mark.parametrize(
    ("differs", "says"),
    [
        ({}, "driver igb, group 7, reset by flr bus"),
        ({"group_members": ["0000:01:00.0", "0000:01:00.1"]}, "group 7 with 0000:01:00.1,"),
        (
            {"driver": None, "iommu_group": None, "reset_methods": []},
            "driver none, group none, reset by none",
        ),
    ],
    ids=["as it should be", "group shared", "bare"],
)
def test_a_function_in_words(differs: dict[str, Any], says: str) -> None:
    here, gone = function_checks(bench(), {"nic": FOUND | differs, "gpu": None}, {"nic": []})
    assert says in here.found and here.ok
    assert gone == Check("a", "function gpu 0000:02:00.0", False, "no such function on this host")


def test_a_function_that_would_not_be_bound_is_not_ok() -> None:
    here, _ = function_checks(
        bench(), {"nic": FOUND, "gpu": None}, {"nic": ["it is a bridge", "it is in use"]}
    )
    assert (
        here == Check("a", "function nic 0000:01:00.0", False, "it is a bridge; it is in use") and here.needed
    )


def test_a_qemu_that_cannot_be_asked_is_a_failed_check_and_knows_nothing() -> None:
    def qemu_probe(path: str) -> dict[str, Any]:
        if path == "/new":
            raise BenchError("/new is not\na QEMU")
        return {"version": "11.1.3", "modes": ["cpr-exec", "normal"]}

    agent: Any = SimpleNamespace(qemu_probe=qemu_probe)
    checks: list[Check] = []
    probes = doctor.probed(bench(), agent, checks)
    assert probes == {"/old": {"version": "11.1.3", "modes": ["cpr-exec", "normal"]}, "/new": {}}
    assert checks == [
        Check("a", "QEMU /old", True, "11.1.3, modes cpr-exec, normal"),
        Check("a", "QEMU /new", False, "/new is not a QEMU"),
    ]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (Answer("nic", "type1", True), "can run"),
        (Answer("nic", "type1", True, blocked_reasons=()), "can run"),
        (
            Answer("nic", "type1", False, ("it has no IOMMU", "it has no NIC")),
            "it has no IOMMU; it has no NIC",
        ),
        (
            Answer("mdev", "type1", True, (), refused=True, blocked_reasons=("no vfio mdev",)),
            "can run; QEMU refuses the update, as is expected: no vfio mdev",
        ),
    ],
)
def test_a_row_in_words(row: Answer, says: str) -> None:
    assert row_words(row) == says


def test_a_bench_that_cannot_be_used_is_a_failed_check(tmp_path: Path) -> None:
    checks, rows = doctor.bench_looked(tmp_path / "none.yaml", ask_qemu=True)
    [check] = checks
    assert (check.where, check.what, check.ok, check.needed, rows) == ("none", "can be used", False, True, [])
