"""pytest plug-in: keeps the run record of a session, and tells `cprlab run` how it goes.

Active when a run is asked for by --cprlab-run, or a bench by labgrid's --lg-env; self-tests make
no run record.
"""

import contextlib
import json
import os
import select
import signal
import sys
import threading
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lab.errors import LabUsageError
from lab.interrupts import heed
from lab.report.allure_case import show_attempts
from lab.report.case_folder import CaseFolder
from lab.report.second_chance import SecondChance
from lab.report.selection import Selection
from lab.run_record import INTERRUPTED, Attempt, CaseResult, RunRecord, Status, new_run_id
from lab.verdict import worst

_RUN: "pytest.StashKey[Run]" = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cprlab")
    group.addoption("--cprlab-run", metavar="DIR", help="write the run record into this new folder")
    group.addoption(
        "--cprlab-runs-dir", metavar="DIR", default="runs", help="where run records go (default: runs)"
    )
    group.addoption(
        "--bench-attempts",
        type=int,
        metavar="N",
        help="how often a case is tried whose bench fails before an update (default: what the target says)",
    )
    group.addoption("--cprlab-resume", action="store_true", help="go on with the run in --cprlab-run")
    group.addoption("--cprlab-again", action="store_true", help="when going on: UNKNOWN cases, too")
    group.addoption("--cprlab-suite", metavar="NAME", help="of the cases, those of a suite of lab/suites.py")
    group.addoption(
        "--cprlab-minutes", type=float, metavar="N", help="begin no case later than N minutes after the start"
    )
    group.addoption(
        "--cprlab-progress-fd", type=int, metavar="N", help="descriptor for progress as JSON lines"
    )


@pytest.hookimpl(tryfirst=True)  # before allure and junitxml read their options
def pytest_configure(config: pytest.Config) -> None:
    asked = config.getoption("--cprlab-run")
    if asked is None and not config.getoption("lg_env", None):
        return
    heed()
    folder = Path(asked or Path(config.getoption("--cprlab-runs-dir")) / new_run_id()).absolute()
    unknown = bool(config.getoption("--cprlab-again"))
    begin = (
        partial(RunRecord.resume, unknown=unknown)
        if config.getoption("--cprlab-resume")
        else RunRecord.create
    )
    try:
        record = begin(folder, sys.argv)
    except LabUsageError as error:
        raise pytest.UsageError(str(error)) from error
    for option, value in (("allure_report_dir", record.allure_results), ("xmlpath", record.junit)):
        if not getattr(config.option, option, None):
            setattr(config.option, option, str(value))
    run = Run(record, config.getoption("--cprlab-progress-fd"))
    config.stash[_RUN] = run
    config.pluginmanager.register(run, "cprlab-run")
    suite, minutes = config.getoption("--cprlab-suite"), config.getoption("--cprlab-minutes")
    record.note(suite=suite)
    config.pluginmanager.register(Selection(record, suite, minutes), "cprlab-selection")
    config.pluginmanager.register(SecondChance(record.folder_of, run.set_aside), "cprlab-second-chance")


def run_record(config: pytest.Config) -> RunRecord | None:
    """The record of this session; None in self-tests."""
    run = config.stash.get(_RUN, None)
    return run.record if run else None


class Run:
    """The hooks of one session."""

    def __init__(self, record: RunRecord, progress_fd: int | None) -> None:
        self.record = record
        self._fd = progress_fd
        self._seconds = 0.0
        self._status: Status = "passed"
        self._reason = ""
        self._running: str | None = None
        self._aside = record.attempts
        self._repeated = False
        self.why_interrupted = INTERRUPTED
        """What is said of a case that is cut short; whoever cuts it short may know better."""
        if progress_fd is not None:
            threading.Thread(target=_follow_reader, args=(progress_fd,), daemon=True).start()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        done = sorted(self.record.done)
        self._tell("collected", cases=[item.nodeid for item in session.items], done=done)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._seconds, self._status, self._reason = 0.0, "passed", ""
        self._running, self._repeated = nodeid, False
        self._tell("start", nodeid=nodeid)

    @pytest.hookimpl(trylast=True)  # Allure knows the case by then
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if before := self._aside.get(item.nodeid):
            show_attempts(before)

    def set_aside(self, nodeid: str, number: int) -> None:
        """The attempt that just ended failed by its bench and will be repeated: keep what it left."""
        folder = self.record.set_aside(nodeid, number)
        attempt = Attempt(folder, self._status, round(self._seconds, 3), self._reason)
        self._aside.setdefault(nodeid, []).append(attempt)
        self._repeated = True
        self._tell("again", nodeid=nodeid, reason=self._reason, seconds=self._seconds, folder=folder)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: "pytest.CallInfo[None]"
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self._seconds += call.duration
        status = status_of(report, call)
        if _BADNESS.index(status) > _BADNESS.index(self._status):
            self._status, self._reason = status, _one_line(report, call)
        return report

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._running = None
        if self._repeated:
            return
        folder = self.record.folder_of(nodeid)
        verdicts = CaseFolder(folder).verdicts() if folder else []
        outcome = str(worst(verdicts)) if verdicts else None
        name = folder.name if folder else None
        seconds, before = round(self._seconds, 3), tuple(self._aside.get(nodeid, ()))
        result = CaseResult(nodeid, name, self._status, outcome, seconds, self._reason, before)
        self.record.case_finished(result)
        self._tell("end", nodeid=nodeid, status=self._status, outcome=outcome, seconds=self._seconds)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if self._running:  # pytest reports nothing of a case that was interrupted
            self._status, self._reason = "broken", self.why_interrupted
            self.pytest_runtest_logfinish(self._running)
        self.record.finish(int(exitstatus))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for nodeid, attempts in self._aside.items():
            for attempt in attempts:
                terminalreporter.write_line(f"bench failed, run again: {nodeid}: {attempt.reason}")
        terminalreporter.write_line(
            f"run record: {self.record.folder}; to read it: cprlab report {self.record.folder}"
        )

    def _tell(self, event: str, **data: Any) -> None:
        if self._fd is not None:
            # whoever reads may be gone; what is under way must still be torn down and recorded
            with contextlib.suppress(BrokenPipeError):
                os.write(self._fd, json.dumps({"event": event, **data}).encode() + b"\n")


_BADNESS: list[Status] = ["passed", "xfailed", "skipped", "broken", "failed"]


def status_of(report: pytest.TestReport, call: "pytest.CallInfo[None]") -> Status:
    """As Allure says it: an AssertionError of the test itself is failed, any other error broken."""
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "failed"
    if report.skipped:
        return "skipped"
    if report.passed:
        return "passed"
    asserted = call.excinfo is None or call.excinfo.errisinstance(AssertionError)
    return "failed" if asserted and report.when == "call" else "broken"


def _one_line(report: pytest.TestReport, call: "pytest.CallInfo[None]") -> str:
    text = str(call.excinfo.value) if call.excinfo else str(report.longrepr)
    kind = f"{call.excinfo.typename}: " if call.excinfo else ""
    return f"{kind}{(text.strip() or 'no reason given').splitlines()[0]}"[:500]


def _follow_reader(fd: int) -> None:
    """End the session in order when whoever reads our progress is gone, even by SIGKILL."""
    poll = select.poll()
    poll.register(fd, 0)  # the reader's end of a pipe closing is an error condition of ours
    poll.poll()
    os.kill(os.getpid(), signal.SIGINT)
