"""Benches that stay up between commands: held by a process of their own, known by a state file."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lab import images
from lab.bench import prepared
from lab.drivers.endpoint import Endpoint
from lab.drivers.run_dirs import state_dir
from lab.errors import BenchError, LabUsageError
from lab.waiting import wait_until

_DOWN_S = 20.0
_CONNECT_S = 60.0


@dataclass(frozen=True)
class BenchState:
    """A bench that is up.

    pid, start_ticks: the holder, as /proc/PID/stat has it; both together cannot be another process
    console, monitor: unix sockets of console and QMP; None on real hardware, as is console_log
    since:            ISO 8601
    """

    name: str
    pid: int
    start_ticks: int
    target_file: str
    endpoint: Endpoint
    since: str
    console_log: str | None = None
    console: str | None = None
    monitor: str | None = None

    def dump(self) -> str:
        """As JSON."""
        data = asdict(self)
        data["endpoint"]["key_file"] = str(self.endpoint.key_file)
        return json.dumps(data, indent=1)

    @classmethod
    def parse(cls, text: str) -> "BenchState":
        """From JSON."""
        data = json.loads(text)
        endpoint = Endpoint(**data.pop("endpoint"))
        return cls(endpoint=replace(endpoint, key_file=Path(endpoint.key_file)), **data)


def folder() -> Path:
    """Where the state files are: $XDG_RUNTIME_DIR/cprlab/benches, else ~/.local/state/cprlab/benches."""
    named = os.environ.get("XDG_RUNTIME_DIR")
    path = (Path(named) / "cprlab" if named and Path(named).is_dir() else state_dir()) / "benches"
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def find(name: str) -> BenchState | None:
    """The bench of that name, if it is up; the file of a holder that died is removed."""
    path = folder() / f"{name}.json"
    try:
        state = BenchState.parse(path.read_text())
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):
        state = None
    if state is None or start_ticks(state.pid) != state.start_ticks:
        path.unlink(missing_ok=True)
        return None
    return state


def get(name: str) -> BenchState:
    """The bench of that name.

    Raises:
        LabUsageError: it is not up.
    """
    if state := find(name):
        return state
    up_now = ", ".join(state.name for state in states()) or "none"
    raise LabUsageError(f"bench {name!r} is not up (up: {up_now}); start it: cprlab bench up")


def states() -> list[BenchState]:
    """All benches that are up."""
    found = (find(path.stem) for path in sorted(folder().glob("*.json")))
    return [state for state in found if state]


def up(target_file: Path) -> BenchState:
    """Bring a bench up and leave it up; one that is up already is returned as it is.

    Raises:
        LabUsageError: the target file is wrong.
        BenchError: it does not become ready; says where its holder's log is.
    """
    bench = prepared(target_file)
    with _locked(bench.name):
        if state := find(bench.name):
            return state
        boot_s = _CONNECT_S
        if bench.virtual is not None:
            images.ensure_root()  # here, where somebody sees the progress
            images.ensure_kernel()
            boot_s += float(bench.virtual.bench.boot_timeout_s)
        elif bench.strategy.power is not None:
            boot_s += float(bench.strategy.boot_timeout_s)
        log = folder() / f"{bench.name}.log"
        holder = _holder(target_file, log)

        def started() -> BenchState | None:
            if holder.poll() is not None:
                said = log.read_text().strip().splitlines()
                raise BenchError(said[-1] if said else f"the holder of bench {bench.name} ended; see {log}")
            return find(bench.name)

        state = wait_until(started, boot_s, f"bench {bench.name} (log: {log})")
        assert state is not None
        return state


def down(name: str) -> bool:
    """Take a bench down; False if it was not up.

    Raises:
        BenchError: its holder does not end.
    """
    if (state := find(name)) is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(state.pid, signal.SIGTERM)
    wait_until(
        lambda: start_ticks(state.pid) != state.start_ticks, _DOWN_S, f"the end of bench {name}'s holder"
    )
    (folder() / f"{name}.json").unlink(missing_ok=True)
    return True


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it is gone or a zombie.

    Source: proc_pid_stat(5), fields 3 and 22.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def _holder(target_file: Path, log: Path) -> "subprocess.Popen[bytes]":
    argv = [sys.executable, "-m", "lab.bench_holder", str(target_file.resolve())]
    with log.open("wb") as out:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,  # it stays when the terminal goes
            cwd=Path(__file__).resolve().parents[1],
        )


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Two `up` at once: the second one waits and finds the bench of the first."""
    with (folder() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
