"""The run record: case folders that tell cases apart, and a run.json that is always whole."""

import json
from pathlib import Path

import pytest

from lab.errors import LabUsageError
from lab.run_record import CaseResult, RunRecord, case_name, new_run_id, read_run

NIC = "testcases/test_cpr_exec_nic.py::test_dma_survives"


@pytest.mark.parametrize(
    ("nodeid", "name"),
    [
        (f"{NIC}[type1]", "test_cpr_exec_nic.test_dma_survives.type1"),
        (NIC, "test_cpr_exec_nic.test_dma_survives"),
        (f"{NIC}[type1-cpr-exec]", "test_cpr_exec_nic.test_dma_survives.type1-cpr-exec"),
        ("testcases/test_a.py::TestB::test_c", "test_a.TestB.test_c"),
    ],
)
def test_case_names_are_readable(nodeid: str, name: str) -> None:
    """What a person would have called them."""
    assert case_name(nodeid) == name


@pytest.mark.parametrize(
    "parameter", ["a/b", "../../etc", "a b", "ä", "x" * 300, "", "a\nb", "..", "a[0]"], ids=repr
)
def test_case_names_are_safe_and_differ(parameter: str) -> None:
    """Whatever a parameter holds, one part of a path; and no two alike."""
    name = case_name(f"{NIC}[{parameter}]")
    assert len(name) < 130 and "/" not in name and ".." not in name
    assert not name.startswith(".") and name == case_name(f"{NIC}[{parameter}]")
    assert name != case_name(f"{NIC}[{parameter}x]") and name.isascii()


def test_what_looks_the_same_is_told_apart() -> None:
    """Two node ids never share a folder by accident."""
    names = {case_name(f"{NIC}[{p}]") for p in ("a b", "a-b", "a/b", "a:b")}
    assert len(names) == 4


def test_run_json_is_whole_from_the_start(tmp_path: Path) -> None:
    """A run that is killed leaves a record without an end."""
    record = RunRecord.create(tmp_path / "r", ["pytest", "-k", "x"])
    started = read_run(tmp_path / "r")
    assert (
        started["end"] is None and started["argv"] == ["pytest", "-k", "x"] and started["schema_version"] == 1
    )
    folder = record.new_case_folder(f"{NIC}[type1]")
    assert record.folder_of(f"{NIC}[type1]") == folder and folder.is_dir()
    assert record.new_case_folder(f"{NIC}[type1]").name == f"{folder.name}.2"
    record.note(bench="virtual", versions={"qemu_old": "1"})
    record.note(versions={"qemu_new": "2"})
    record.case_finished(CaseResult(NIC, folder.name, "passed", "PASS", 1.5))
    record.finish(0)
    ended = json.loads((tmp_path / "r/run.json").read_text())
    assert ended["versions"] == {"qemu_old": "1", "qemu_new": "2"} and ended["end"] >= ended["start"]
    assert ended["cases"][0]["outcome"] == "PASS"


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    """Evidence is written once."""
    RunRecord.create(tmp_path, [])
    with pytest.raises(LabUsageError, match="holds a run already"):
        RunRecord.create(tmp_path, [])


@pytest.mark.parametrize("text", [None, "", "{", "[]"], ids=repr)
def test_no_run_there(tmp_path: Path, text: str | None) -> None:
    """One line that names the file."""
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(LabUsageError, match=r"run\.json"):
        read_run(tmp_path)


def test_run_ids_differ() -> None:
    """Two runs of one second."""
    assert new_run_id() != new_run_id()
