"""The record of one run: its folder, `run.json`, and a folder for each case.

`run.json` is written whole at the start, whenever a fact becomes known, and at the end, each time
by rename, so that whoever reads it reads all of it. `end` stays null until the run ended by itself.
A run may be made in pieces: `planned` has all its cases, `resumed` when it went on, and by which lab.
"""

import hashlib
import json
import os
import re
import secrets
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from lab.errors import LabUsageError

SCHEMA_VERSION = 1
LONGEST_NAME = 100
INTERRUPTED = "interrupted"
"""The reason of a case that was not brought to its end."""

Status = Literal["passed", "failed", "broken", "skipped", "xfailed"]


@dataclass(frozen=True)
class Attempt:
    """How the bench failed a case before anything was tested; the case then ran again.

    folder: what the attempt left, relative to the run; None if it left nothing
    """

    folder: str | None
    status: Status
    seconds: float
    reason: str


@dataclass(frozen=True)
class CaseResult:
    """How one case ended.

    folder:  its folder, relative to the run; None if it died before it had one
    status:  what the test runner says
    outcome: the worst verdict; None if nothing was judged
    reason:  one line for what did not pass
    attempts: those before this one, which are no results
    """

    nodeid: str
    folder: str | None
    status: Status
    outcome: str | None
    seconds: float
    reason: str = ""
    attempts: tuple[Attempt, ...] = ()


class RunRecord:
    """The folder of one run while it is being written.

    attempts: by node id, those that are no results
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.folder = folder
        self._facts = dict(facts)
        self._lock = threading.Lock()
        self._folders: dict[str, str] = {}
        self.attempts: dict[str, list[Attempt]] = {}

    @classmethod
    def create(cls, folder: Path, argv: Sequence[str]) -> "RunRecord":
        """Begin a run in a new or empty folder, named by its id.

        Raises:
            LabUsageError: if a run is recorded there already, or it cannot be written.
        """
        if (folder / "run.json").exists():
            raise LabUsageError(f"{folder} holds a run already: name another folder")
        facts = {
            "schema_version": SCHEMA_VERSION,
            "run_id": folder.name,
            "bench": None,
            "versions": {},
            "certificate": None,
            "argv": list(argv),
            "commit": commit_of(Path(__file__).parent),
            "seed": None,
            "start": now(),
            "end": None,
            "exit_status": None,
            "suite": None,
            "planned": [],
            "resumed": [],
            "cases": [],
        }
        record = cls(folder, facts)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            record._write()
        except OSError as error:
            raise LabUsageError(f"the run record cannot be written: {error}") from error
        return record

    @classmethod
    def resume(cls, folder: Path, argv: Sequence[str], *, unknown: bool = False) -> "RunRecord":
        """Go on with a run: what came to a verdict stays, and is not tried again.

        A case that was interrupted, or whose bench failed before an update, is set aside as an attempt;
        so is an UNKNOWN one, if asked for.

        Raises:
            LabUsageError: if no run is recorded there, or it cannot be written.
        """
        facts = read_run(folder)
        piece = {"start": now(), "commit": commit_of(Path(__file__).parent), "argv": list(argv)}
        facts["resumed"] = [*facts.get("resumed", []), piece]
        record = cls(folder, {**facts, "end": None, "exit_status": None})
        try:
            record._set_aside(unknown)
            record._write()
        except OSError as error:
            raise LabUsageError(f"the run record cannot be written: {error}") from error
        return record

    def _set_aside(self, unknown: bool) -> None:
        again = [case for case in self._facts["cases"] if untested(self.folder, case, unknown=unknown)]
        self._facts["cases"] = [case for case in self._facts["cases"] if case not in again]
        for case in again:
            nodeid, before = str(case["nodeid"]), case.get("attempts", [])
            if case["folder"]:
                self._folders[nodeid] = case["folder"]
            folder = self.set_aside(nodeid, len(before) + 1)
            now_one = Attempt(folder, case["status"], case["seconds"], case["reason"])
            self.attempts[nodeid] = [*(Attempt(**one) for one in before), now_one]

    @property
    def done(self) -> frozenset[str]:
        """Node ids of the cases that have a result."""
        return frozenset(str(case["nodeid"]) for case in self._facts["cases"])

    @property
    def commit(self) -> str | None:
        """The lab's own version."""
        commit: str | None = self._facts["commit"]
        return commit

    @property
    def allure_results(self) -> Path:
        return self.folder / "allure-results"

    @property
    def junit(self) -> Path:
        """Of this piece of the run: the first has no number."""
        piece = len(self._facts["resumed"])
        return self.folder / (f"junit.{piece + 1}.xml" if piece else "junit.xml")

    def new_case_folder(self, nodeid: str) -> Path:
        """Make the folder of a case; a case that runs again gets another one, numbered."""
        name = case_name(nodeid)
        with self._lock:
            folder = self.folder / name
            number = 1
            while folder.exists():
                number += 1
                folder = self.folder / f"{name}.{number}"
            folder.mkdir(parents=True)
            self._folders[nodeid] = folder.name
        return folder

    def set_aside(self, nodeid: str, number: int) -> str | None:
        """Keep what attempt `number` left, in <case>.attempt-<number>, and return that name; None without."""
        with self._lock:
            name = self._folders.pop(nodeid, None)
            if name is None:
                return None
            aside = f"{name}.attempt-{number}"
            (self.folder / name).rename(self.folder / aside)
            return aside

    def folder_of(self, nodeid: str) -> Path | None:
        """The last folder made for a case."""
        name = self._folders.get(nodeid)
        return self.folder / name if name else None

    def note(self, **facts: Any) -> None:
        """Record facts of the whole run: bench, versions, seed. Versions add up, the rest is replaced."""
        with self._lock:
            versions = {**self._facts["versions"], **facts.pop("versions", {})}
            self._facts |= {**facts, "versions": versions}
            self._write()

    def case_finished(self, result: CaseResult) -> None:
        """Record how a case ended."""
        with self._lock:
            self._facts["cases"].append(asdict(result))
            self._write()

    def finish(self, exit_status: int) -> None:
        """Record the end; exit_status is the test runner's."""
        with self._lock:
            self._facts |= {"end": now(), "exit_status": exit_status}
            self._write()

    def _write(self) -> None:
        partial = self.folder / ".run.json.partial"
        with partial.open("w", encoding="utf-8") as file:
            json.dump(self._facts, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.folder / "run.json")


def new_run_id() -> str:
    """Sorts by time, and two runs of one second differ: 20261123T142233Z-1f3a."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def now() -> str:
    """UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def case_name(nodeid: str) -> str:
    """A folder name for a node id: the same in every run, readable, safe in any file system.

    testcases/test_cpr_exec_nic.py::test_dma_survives[type1] -> test_cpr_exec_nic.test_dma_survives.type1

    A short hash is added where the readable part alone could be that of another node id.
    """
    path, _, rest = nodeid.partition("::")
    readable = f"{Path(path).stem}.{rest.replace('::', '.').replace('[', '.').rstrip(']')}".strip(".")
    safe = re.sub(r"[^A-Za-z0-9_.=-]+", "-", readable)
    if safe == readable and len(safe) <= LONGEST_NAME and path.count("/") <= 1 and ".." not in safe:
        return safe
    short = re.sub(r"\.{2,}", ".", safe)[:LONGEST_NAME].strip(".-")
    return f"{short}-{hashlib.sha256(nodeid.encode()).hexdigest()[:8]}"


def read_run(folder: Path) -> dict[str, Any]:
    """What `run.json` says.

    Raises:
        LabUsageError: if the folder holds no run, or run.json is damaged.
    """
    path = folder / "run.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LabUsageError(f"{folder} is no run record: it has no run.json") from None
    except (OSError, ValueError) as error:
        raise LabUsageError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise LabUsageError(f"{path} is damaged: it holds no object")
    return found


def untested(run: Path, case: Mapping[str, Any], *, unknown: bool = False) -> bool:
    """Whether a case of a run record has to be tried again: it was interrupted, or died before its update.

    unknown: or came to UNKNOWN, which says nothing of what was tested
    """
    if case["status"] != "broken" or case["outcome"] == "FAIL":
        return False
    if case["outcome"] is not None:
        return unknown
    if case["reason"] == INTERRUPTED or not case["folder"]:
        return True
    timeline = run / str(case["folder"]) / "timeline.jsonl"
    return not timeline.exists() or '"cpr.invoke"' not in timeline.read_text(encoding="utf-8")


def left(record: Mapping[str, Any]) -> list[str]:
    """The cases of a run record that were planned and have no result yet."""
    done = {case["nodeid"] for case in record.get("cases", [])}
    return [nodeid for nodeid in record.get("planned", []) if nodeid not in done]


def to_try(run: Path, record: Mapping[str, Any], *, unknown: bool = False) -> list[str]:
    """What is left of a run, and what it has to try again."""
    cases = record.get("cases", [])
    return [*left(record), *(str(one["nodeid"]) for one in cases if untested(run, one, unknown=unknown))]


def commit_of(folder: Path) -> str | None:
    """The commit of the checkout, with "+" when files differ from it; None outside one."""
    try:
        argv = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
