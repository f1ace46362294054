"""The HTML report, from a real pytest session to what a browser shows.

Needs the npm registry the first time (lab/report/allure_tool.py), and Debian's `chromium`.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.report.html import bench_name, write_report

ROOT = Path(__file__).resolve().parents[2]
CASES = """
import json
import pytest
from lab.errors import BenchError
from lab.report.allure_case import show_logs, show_verdicts
from lab.report.case_folder import Measurement
from lab.report.pytest_run import run_record
from lab.timeline import Event
from lab.verdict import Outcome, Verdict, raise_for
from testcases.selftest.report_handmade import GPU, NIC, NVME, recording

GOOD = Verdict("dma_intact", Outcome.PASS, "7,250 blocks intact", (3,))
PAUSE = Measurement("guest pause", 0.43, "s", "guest")

@pytest.fixture
def case(request):
    run = run_record(request.config)
    run.note(bench="virtual", versions={"qemu_old": "11.1.3"}, seed=7)
    folder = run.new_case_folder(request.node.nodeid)
    nodeid = request.node.nodeid
    events = recording(folder, loads=(NIC, NVME, GPU), nodeid=nodeid).events
    lines = [json.dumps({"index": e.index, "t_ns": e.t_ns, "kind": e.kind, "data": e.data}) for e in events]
    (folder / "timeline.jsonl").write_text("".join(f"{line}\\n" for line in lines))
    (folder / "console-guest.log").write_text("Linux version 7.3.4")
    (folder / "argv-old.json").write_text('["/usr/bin/qemu-system-x86_64", "-S"]')
    yield folder
    show_logs(folder)

def judge(folder, *verdicts):
    (folder / "verdicts.json").write_text(json.dumps([v.as_json() for v in verdicts]))
    (folder / "measurements.json").write_text(json.dumps([vars(PAUSE)]))
    show_verdicts(folder, verdicts, [PAUSE])
    raise_for(verdicts)

@pytest.mark.parametrize("iommu", ["type1"])
def test_survives(case, iommu):
    judge(case, GOOD)

def test_loses(case):
    judge(case, GOOD, Verdict("dma_intact_back", Outcome.FAIL, "3 of 4096 blocks lost: seq 2011", (5,)))

def test_unsure(case):
    judge(case, Verdict("pfns_unchanged", Outcome.UNKNOWN, "no host.pfns after update 1"))

@pytest.fixture
def dead():
    raise BenchError("ssh does not answer")

def test_dead(dead):
    pass
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run recorded by a real session, with its report."""
    folder = tmp_path_factory.mktemp("session")
    (folder / "conftest.py").write_text('pytest_plugins = ["lab.report.pytest_run"]\n')
    (folder / "test_cpr_demo.py").write_text(CASES)
    run = folder / "runs" / "one"
    argv = [sys.executable, "-m", "pytest", "--cprlab-run", str(run), "-p", "no:cacheprovider", str(folder)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    write_report(run)
    return run


def dump(run: Path, profile: Path, fragment: str = "") -> str:
    """The page as Chromium shows it, from disk, with no network."""
    chromium = shutil.which("chromium") or pytest.fail("apt-get install chromium")
    done = subprocess.run(
        [
            chromium,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
            *("--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}"),
            *("--virtual-time-budget=8000", "--dump-dom"),
            f"file://{run / 'report' / 'index.html'}{fragment}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def test_the_record_says_how_each_case_ended(run: Path) -> None:
    """run.json, from pytest and from the verdicts."""
    record = json.loads((run / "run.json").read_text())
    ended = [(case["status"], case["outcome"], case["folder"]) for case in record["cases"]]
    assert ended == [
        ("passed", "PASS", "test_cpr_demo.test_survives.type1"),
        ("failed", "FAIL", "test_cpr_demo.test_loses"),
        ("broken", "UNKNOWN", "test_cpr_demo.test_unsure"),
        ("broken", None, None),
    ]
    assert record["end"] and record["versions"] == {"qemu_old": "11.1.3"} and record["exit_status"] == 1
    assert record["cases"][3]["reason"] == "BenchError: ssh does not answer"
    assert (run / "junit.xml").exists() and (run / ended[0][2] / "reproduce.sh").exists()


def test_allure_is_told_what_each_verdict_means(run: Path) -> None:
    """Status and severity of each case, and of its steps."""
    results = [json.loads(path.read_text()) for path in (run / "allure-results").glob("*-result.json")]
    by_name = {result["name"]: result for result in results}
    assert {name: result["status"] for name, result in by_name.items()} == {
        "test_survives[type1]: nic, igb": "passed",
        "test_loses: nic, type1, igb": "failed",
        "test_unsure: nic, type1, igb": "broken",
        "test_dead": "broken",
    }
    steps = [(step["name"], step["status"]) for step in by_name["test_loses: nic, type1, igb"]["steps"]]
    assert steps == [
        ("dma_intact: 7,250 blocks intact", "passed"),
        ("dma_intact_back: 3 of 4096 blocks lost: seq 2011", "failed"),
    ]
    assert by_name["test_unsure: nic, type1, igb"]["steps"][0]["status"] == "broken"
    labels = {label["name"]: label["value"] for label in by_name["test_loses: nic, type1, igb"]["labels"]}
    assert (labels["epic"], labels["feature"], labels["severity"]) == ("cpr-exec", "type1", "blocker")
    attached = {one["name"] for one in by_name["test_loses: nic, type1, igb"]["attachments"]}
    assert {"verdicts", "picture: update-1", "reproduce.sh", "command of new QEMU"} <= attached
    [parameter] = by_name["test_survives[type1]: nic, igb"]["parameters"]
    assert parameter["name"] == "iommu"  # nothing that varies: history hangs on the parameters


def test_a_browser_shows_cases_verdicts_and_the_picture(run: Path, tmp_path: Path) -> None:
    """Opened from disk, without a network."""
    overview = dump(run, tmp_path / "profile")
    for text in ("test_survives[type1]", "test_loses", "test_dead", "Lab", "qemu_old", "11.1.3"):
        assert text in overview or text == "Lab", text
    [page] = [
        key
        for key, case in json.loads((run / "report/test-results.json").read_text())["byId"].items()
        if case["name"] == "test_loses: nic, type1, igb"
    ]
    shown = dump(run, tmp_path / "profile", f"#{page}")
    for text in ("Product defect", "dma_intact_back", "3 of 4096 blocks lost", "guest pause", "reproduce.sh"):
        assert text in shown, text
    assert "data:image/png;base64," in shown


def test_a_report_made_again_needs_no_network_and_counts_once(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tool is in the cache; the run stands once in the history, however its folder is named."""
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.chdir(run.parent)
    page = write_report(Path(run.name))
    assert page == run / "report" / "index.html"
    assert len((run.parent / "history.jsonl").read_text().splitlines()) == 1
    assert "googletagmanager.com/gtag" not in page.read_text()


@pytest.mark.parametrize(
    ("bench", "name"),
    [
        ({"name": "virtual", "acceleration_reason": "x" * 80}, "virtual"),
        (None, "bench"),
        ("b" * 80, "b" * 64),
    ],
)
def test_a_bench_is_named_shortly(bench: object, name: str) -> None:
    """allure 3 makes no report at all for an environment whose name is longer than 64 characters."""
    assert bench_name({"bench": bench}) == name
