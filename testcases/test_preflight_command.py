"""Preflight as people use it: of a QEMU that runs on a bench, and before an update, with --force and without.

Source: issue 5, "Preflight": exit status 0 clean, 1 refused, 2 cannot tell; the lab refuses with exit status
and text, and `--force` is how the negative cases get through.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.nightly
CHECKOUT = Path(__file__).resolve().parents[1]
CASES = "testcases/preflight_cases.py"
CPRLAB = [sys.executable, "-c", "import sys; sys.argv[0] = 'cprlab'; from lab.cli import main; main()"]
Done = subprocess.CompletedProcess[str]

QEMU = (
    *("qemu-system-x86_64", "-accel", "kvm", "-nodefaults", "-display", "none", "-S", "-daemonize"),
    *("-pidfile", "/run/{name}.pid", "-qmp", "unix:/run/{name}.sock,server=on,wait=off", "-m", "64M"),
)
SHARED = (
    *("-object", "memory-backend-memfd,id=ram0,size=64M,share=on"),
    *("-machine", "q35,aux-ram-share=on,memory-backend=ram0"),
)


@dataclass(frozen=True)
class Up:
    """A bench that is up, and `cprlab` on it."""

    target: Path
    runtime: str

    def cprlab(self, *words: str) -> Done:
        env = {**os.environ, "XDG_RUNTIME_DIR": self.runtime}
        argv = [*CPRLAB, *words]
        return subprocess.run(
            argv, cwd=CHECKOUT, env=env, capture_output=True, text=True, check=False, timeout=120
        )

    def on_host(self, *words: str) -> str:
        done = self.cprlab("bench", "ssh", "--name", self.target.stem, "--", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def qemu(self, name: str, *words: str) -> int:
        """A QEMU without a guest; its PID."""
        self.on_host(*(word.format(name=name) for word in QEMU), *words)
        return int(self.on_host("cat", f"/run/{name}.pid"))

    def preflight(self, pid: int, *words: str) -> Done:
        return self.cprlab("preflight", "--bench", str(self.target), "--pid", str(pid), *words)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    target = tmp_path_factory.mktemp("bench") / "looked-at.yaml"
    target.write_text((CHECKOUT / "targets/virtual.yaml").read_text())
    with tempfile.TemporaryDirectory(prefix="p", dir="/tmp") as runtime:
        up = Up(target, runtime)
        made = up.cprlab("bench", "up", str(target))
        assert made.returncode == 0, made.stderr
        try:
            yield up
        finally:
            up.cprlab("bench", "down", "--name", target.stem)


def findings(done: Done) -> set[str]:
    return {one["name"] for one in json.loads(done.stdout)["findings"] if one["severity"] == "refuse"}


def test_a_running_qemu_is_clean_or_refused(up: Up) -> None:
    """argv from /proc, version, devices and blocked-reasons by QMP, limits and kernel from its host."""
    clean = up.preflight(up.qemu("shared", *SHARED))
    assert (clean.returncode, clean.stdout.splitlines()[-1]) == (
        0,
        "cpr-exec: clean: nothing here speaks against it",
    ), clean.stdout + clean.stderr

    pid = up.qemu("private", "-machine", "q35")
    refused = up.preflight(pid)
    assert refused.returncode == 1 and refused.stdout.endswith("cpr-exec: refused\n")
    assert "ram-private" in refused.stdout
    told = up.preflight(pid, "--json")
    assert told.returncode == 1 and findings(told) >= {"ram-private", "aux-ram-private"}
    assert up.on_host("cat", f"/proc/{pid}/comm").startswith("qemu"), "a look must not end it"


def test_new_qemu_s_command_line_is_compared(up: Up, tmp_path: Path) -> None:
    """What runs against what is to come: another size of memory."""
    pid = up.qemu("other", *SHARED)
    words = up.on_host("cat", f"/proc/{pid}/cmdline").split("\0")[:-1]
    new = tmp_path / "new"
    new.write_text("\n".join([*(word.replace("64M", "128M") for word in words), "-incoming", "defer"]))
    done = up.preflight(pid, "--new-argv", str(new), "--json")
    assert done.returncode == 1 and "memory-differs" in findings(done)


@pytest.mark.parametrize(
    ("pid", "told"), [(1, "process 1 is no QEMU"), (4194303, "there is no process 4194303")]
)
def test_what_is_no_qemu_cannot_be_told(up: Up, pid: int, told: str) -> None:
    done = up.preflight(pid)
    assert done.returncode == 2 and told in done.stderr and len(done.stderr.splitlines()) == 1


def run(folder: Path, *options: str) -> tuple[Done, Mapping[str, Any], Sequence[Mapping[str, Any]]]:
    """`cprlab run` of the case; what it came to, its result, and its timeline."""
    argv = [*CPRLAB, "run", CASES, "--runs-dir", str(folder), *options]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=300)
    [path] = folder.glob("*/run.json")
    [case] = json.loads(path.read_text())["cases"]
    lines = (path.parent / case["folder"] / "timeline.jsonl").read_text().splitlines()
    return done, case, [json.loads(line) for line in lines]


def test_an_update_is_refused(tmp_path: Path) -> None:
    """Exit status 2 and a line that says why and how to update all the same; nothing was begun."""
    done, case, timeline = run(tmp_path)
    assert (done.returncode, case["status"]) == (2, "broken")
    assert "refusing cpr-exec: file-truncated: " in case["reason"] and "--force updates all" in case["reason"]
    assert "file-truncated" in done.stdout
    assert [one for one in timeline if one["kind"] == "cpr.invoke"] == []


def test_force_updates_all_the_same(tmp_path: Path) -> None:
    """The finding is recorded, the update is made, and what preflight said is lost."""
    done, case, timeline = run(tmp_path, "--force")
    assert (done.returncode, case["outcome"]) == (0, "PASS"), done.stdout + done.stderr
    [look] = [one["data"] for one in timeline if one["kind"] == "preflight"]
    assert "file-truncated" in {one["name"] for one in look["findings"] if one["severity"] == "refuse"}
    assert [one["kind"] for one in timeline if one["kind"].startswith("cpr.")] == ["cpr.invoke", "cpr.ok"]
