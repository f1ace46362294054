"""The command `cprlab`, as a process: what it prints where, and how it exits."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.cli.progress import duration
from lab.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
CPRLAB = [sys.executable, "-c", "import sys; sys.argv[0] = 'cprlab'; from lab.cli import main; main()"]
BENCH = "targets:\n  host: {resources: {}, drivers: {}}\n"
CASE = """
import json, pathlib, threading
import pytest
from lab.report.pytest_run import run_record

@pytest.fixture
def device(tmp_path_factory):
    yield
    (pathlib.Path(__file__).parent / "given-back").touch()

@pytest.mark.parametrize("outcome", ["PASS", "FAIL", "UNKNOWN"])
def test_says(request, outcome):
    run = run_record(request.config)
    folder = run.new_case_folder(request.node.nodeid)
    verdict = {"checker": "c", "outcome": outcome, "summary": "seen [so]", "evidence": []}
    (folder / "verdicts.json").write_text(json.dumps([verdict]))

def test_hangs(device):
    (pathlib.Path(__file__).parent / "hangs").touch()
    threading.Event().wait(60)
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A folder with cases that need no bench."""
    (tmp_path / "bench.yaml").write_text(BENCH)
    (tmp_path / "test_cpr_demo.py").write_text(CASE)
    return tmp_path


def argv(suite: Path, select: str, *options: str) -> list[str]:
    """A run of some cases of the suite."""
    where = ["--bench", str(suite / "bench.yaml"), "--runs-dir", str(suite / "runs")]
    return [*CPRLAB, "run", str(suite / "test_cpr_demo.py"), "-k", select, *where, *options]


def cprlab(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run it to its end."""
    command = words if words[0] == CPRLAB[0] else (*CPRLAB, *words)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_help_names_every_command_and_is_quick() -> None:
    """Heavy imports wait until they are needed."""
    began_s = time.process_time()
    done = cprlab("--help")
    assert done.returncode == 0 and time.process_time() - began_s < 1
    for command in ("run", "rejudge", "report", "doctor", "preflight", "images", "bench"):
        assert f"  {command} " in done.stdout
    names = "('labgrid', 'matplotlib', 'allure', 'pytest', 'paramiko')"
    heavy = f"import lab.cli, sys; lab.cli.application([]);print([m for m in {names} if m in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", heavy], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "words",
    [
        ["report", "/nonexistent"],
        ["rejudge", "/nonexistent"],
        ["run", "--bench", "/nonexistent.yaml"],
        ["images", "build", "nonesuch"],
    ],
    ids=lambda words: words[0],
)
def test_an_error_of_the_lab_is_one_line(words: list[str]) -> None:
    """On stderr, with exit status 2, and nothing on stdout."""
    done = cprlab(*words)
    assert done.returncode == 2 and done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("cprlab: ")


@pytest.mark.parametrize("words", [["frob"], ["run", "--nonesuch"], ["run", "--updates", "x"], ["report"]])
def test_wrong_usage_exits_2(words: list[str]) -> None:
    """As the parser does it."""
    assert cprlab(*words).returncode == 2


@pytest.mark.parametrize(("outcome", "status"), [("PASS", 0), ("FAIL", 1), ("UNKNOWN", 2)])
def test_run_exits_by_the_record(suite: Path, outcome: str, status: int) -> None:
    """pytest passed all of them: the verdicts on disk count."""
    done = cprlab(*argv(suite, outcome))
    assert done.returncode == status, done.stderr
    assert f"test_says[{outcome}]" in done.stdout and "report/index.html" in done.stdout
    assert outcome in done.stderr and ("seen [so]" in done.stdout) == (outcome != "PASS")


def test_json_is_all_there_is_on_stdout(suite: Path) -> None:
    """For programs."""
    done = cprlab(*argv(suite, "FAIL", "--json"))
    told = json.loads(done.stdout)
    assert told["result"] == done.returncode == 1
    assert told["cases"][0]["verdicts"][0]["outcome"] == "FAIL"
    assert Path(told["report"]).is_file() and told["end"]


def test_no_case_is_a_clear_line_and_2(suite: Path) -> None:
    """A green run of nothing would be a lie."""
    done = cprlab(*argv(suite, "nonesuch"))
    assert done.returncode == 2 and "no case ran" in done.stderr and "4 deselected" in done.stderr


def in_the_background() -> None:
    """A shell starts a job in the background with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def in_front() -> None:
    """However these tests were started."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("start", [in_front, in_the_background])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "killed"])
def test_interrupted_it_gives_everything_back(
    suite: Path, how: signal.Signals, start: Callable[[], None]
) -> None:
    """pytest ends in order, even if the command itself is killed; the evidence stays."""
    pipe, command = subprocess.PIPE, argv(suite, "hangs")
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, preexec_fn=start) as running:
        wait_until((suite / "hangs").exists, 60, "the case to run")
        os.kill(running.pid, how)
        status = running.wait(60)
    wait_until((suite / "given-back").exists, 30, "the fixture to be torn down")
    [record] = (suite / "runs").glob("*/run.json")
    if how is signal.SIGINT:
        [case] = json.loads(record.read_text())["cases"]
        assert status == 130 and (case["status"], case["reason"]) == ("broken", "interrupted")


def test_doctor_says_what_it_looked_at() -> None:
    """Also for programs."""
    done = cprlab("doctor", "--json")
    told = json.loads(done.stdout)
    looked = {check["what"]: check for check in told["checks"]}
    assert told["rows"] == []  # no bench, no rows
    assert looked["Python 3.11 or newer"]["ok"] and "mmdebstrap" in looked
    missing = [check for check in looked.values() if check["needed"] and not check["ok"]]
    assert done.returncode == (2 if missing else 0)


@pytest.mark.parametrize(("seconds", "text"), [(4.2, "4 s"), (125, "2 min 05 s"), (0, "0 s")])
def test_duration(seconds: float, text: str) -> None:
    """As people say it."""
    assert duration(seconds) == text
