"""The main job as a user does it: one command from nothing to verdict, record and report.

Everything runs as separate processes in an empty folder; nothing of this session's bench is used.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lab.columns import BLOCKS, Table, read
from lab.record.validate import problems

CASE = "test_dma_survives and type1 and not row"
LINES = [sys.executable, "-c", "from lab.cli import main; main()"]


def cprlab(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    checkout = str(Path(__file__).resolve().parents[1])
    environment = os.environ | {"PYTHONPATH": checkout, "COLUMNS": "200"}
    return subprocess.run(
        [*LINES, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> "tuple[Path, subprocess.CompletedProcess[str]]":
    """The run's folder, and what the command said."""
    folder = tmp_path_factory.mktemp("user")
    done = cprlab(folder, "run", "testcases/test_cpr_exec_nic.py", "-k", CASE)
    runs = [entry for entry in (folder / "runs").iterdir() if entry.is_dir()]
    assert len(runs) == 1, done.stderr
    return runs[0], done


@pytest.fixture
def tampered(ran: "tuple[Path, subprocess.CompletedProcess[str]]", tmp_path: Path) -> Path:
    """A copy of the run, to be tampered with."""
    copy = tmp_path / "run"
    shutil.copytree(ran[0], copy)
    return copy


def case_of(run: Path) -> Path:
    return run / str(json.loads((run / "run.json").read_text())["cases"][0]["folder"])


def test_the_verdict_is_pass_and_the_user_is_told_where_to_look(ran) -> None:  # type: ignore[no-untyped-def]
    run, done = ran
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS 14/14" in done.stdout
    assert str(run) in done.stdout
    assert f"report: {run}" in done.stdout


def test_the_record_is_complete_and_keeps_its_schemas(ran) -> None:  # type: ignore[no-untyped-def]
    run, _ = ran
    assert problems(run) == []
    files = {file.name for file in case_of(run).iterdir()}
    promised = {
        *("timeline.jsonl", "columns", "verdicts.json", "measurements.json", "qmp.jsonl", "reproduce.sh"),
        *("console-host.log", "console-guest.log", "dmesg-host.log", "qemu-old.log", "qemu-new.log"),
    }
    assert promised <= files
    assert {"run.json", "junit.xml", "allure-results", "report"} <= {file.name for file in run.iterdir()}


def test_the_record_alone_gives_the_same_verdicts(ran) -> None:  # type: ignore[no-untyped-def]
    done = cprlab(ran[0].parent, "rejudge", str(ran[0]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not as recorded" not in done.stderr


def test_a_removed_block_is_missed(tampered: Path) -> None:
    folder = case_of(tampered) / "columns"
    rows = {n: np.array(c) for n, c in (read(folder, "nic.to-guest.received") or {}).items()}
    shutil.rmtree(folder / "nic.to-guest.received")
    table = Table(folder / "nic.to-guest.received", BLOCKS)
    table.append({name: np.delete(column, 100) for name, column in rows.items()})
    table.close()
    done = cprlab(tampered, "rejudge", str(tampered))
    assert done.returncode == 1
    assert "not as recorded" in done.stderr
    assert "1 of" in done.stdout


def test_an_update_that_is_struck_from_the_timeline_is_unknown(tampered: Path) -> None:
    timeline = case_of(tampered) / "timeline.jsonl"
    lines = timeline.read_text().splitlines(keepends=True)
    timeline.write_text("".join(line.replace('"cpr.ok"', '"cpr.forgotten"') for line in lines))
    assert cprlab(tampered, "rejudge", str(tampered)).returncode == 2
