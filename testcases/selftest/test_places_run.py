"""`cprlab run --place` as a process of its own: what it leaves behind however it ends.

The case needs no bench, so that only the lab is looked at: it says that it began, and waits.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.places import local
from lab.places.coordinator import Coordinator
from lab.places.local import LocalCoordinator
from lab.places.view import Place
from lab.waiting import wait_until
from testcases.selftest.places_lab import NOWHERE, ROOT

SOON_S = 30.0
CASE = """
import pathlib, os, time
here = pathlib.Path(__file__).parent
def test_it():
    (here / "began.partial").write_text(str(os.getpid()))
    (here / "began.partial").rename(here / "began")
    deadline = time.monotonic() + 60
    while not (here / "go on").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCoordinator]:
    folder = tmp_path_factory.mktemp("lab")
    with (
        local.coordinator(folder) as coordinator,
        local.exporter(coordinator.address, "live", NOWHERE, folder),
    ):
        yield coordinator


@dataclass
class Run:
    """A run under way."""

    address: str
    place: str
    folder: Path
    process: "subprocess.Popen[str]"
    pytest_pid: int
    holder: str

    def now(self) -> Place:
        with Coordinator(self.address, "admin/look") as admin:
            return admin.view.places[self.place]

    def ended(self) -> tuple[int, str]:
        _, words = self.process.communicate(timeout=SOON_S)
        return self.process.returncode, words

    def pytest_is_over(self) -> bool:
        try:
            stat = Path(f"/proc/{self.pytest_pid}/stat").read_text()
        except FileNotFoundError:
            return True
        return stat.rpartition(")")[2].split()[0] in "ZX"

    def reason(self) -> str:
        record = next((self.folder / "runs").glob("*/run.json"))
        return str(json.loads(record.read_text())["cases"][0]["reason"])


@pytest.fixture
def run(lab: LocalCoordinator, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    """A run whose case has begun; the lease lasts as long as the test's parameter says."""
    lease_s: float = getattr(request, "param", 30.0)
    place = re.sub(r"\W|_", "-", request.node.name)
    with Coordinator(lab.address, "admin/places") as admin:
        admin.add_place(place, ("live/bench/*",), {})
    (tmp_path / "test_it.py").write_text(CASE)
    words = ["run", str(tmp_path / "test_it.py"), "--place", place, "--lease-s", str(lease_s)]
    process = subprocess.Popen(
        [sys.executable, "-c", "from lab.cli import main; main()", *words, "--coordinator", lab.address],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    began = tmp_path / "began"
    wait_until(lambda: began.exists() or process.poll() is not None, SOON_S, "the case's beginning")
    assert process.stderr
    assert process.poll() is None, process.stderr.read()
    with Coordinator(lab.address, "admin/look") as admin:
        holder = admin.view.places[place].holder or ""
    one = Run(lab.address, place, tmp_path, process, int(began.read_text()), holder)
    yield one
    with Coordinator(lab.address, "admin/places") as admin:
        admin.release(place, one.holder)
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.communicate()
    (tmp_path / "go on").touch()
    wait_until(one.pytest_is_over, SOON_S, "pytest's end")


def test_it_has_the_place_and_gives_it_back(run: Run) -> None:
    assert run.holder
    assert list(run.now().in_use) == [run.holder]
    (run.folder / "go on").touch()
    wait_until(lambda: run.now().holder is None, SOON_S, "the place's release")
    assert run.now().in_use == {}


def test_an_ended_run_gives_its_place_back(run: Run) -> None:
    run.process.terminate()
    assert run.ended()[0] == 130
    assert run.pytest_is_over()
    assert (run.now().holder, run.now().in_use) == (None, {})


def test_a_killed_controller_takes_its_pytest_with_it_and_leaves_word(run: Run) -> None:
    run.process.kill()
    wait_until(run.pytest_is_over, SOON_S, "pytest's end")
    assert run.now().holder == run.holder, "only the end of the lease frees it"
    assert list(run.now().in_use) == [run.holder]


@pytest.mark.parametrize("run", [4.0], indirect=True)
def test_a_stopped_controller_does_not_keep_its_pytest_going(run: Run) -> None:
    run.process.send_signal(signal.SIGSTOP)
    wait_until(run.pytest_is_over, 4.0, "pytest's end within the lease")


def test_who_lost_the_place_stops(run: Run) -> None:
    with Coordinator(run.address, "admin/kick") as admin:
        admin.release(run.place, run.holder)
    status, words = run.ended()
    assert (status, run.pytest_is_over()) == (2, True)
    last = words.strip().splitlines()[-1]
    assert re.match(f"cprlab: place {run.place}: the lease is lost: .* whoever has it next gives", last)
    assert "the lease is lost" in run.reason()
