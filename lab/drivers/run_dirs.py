"""Folders of running benches: private, with short paths, swept when their owner died."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

_PREFIX = "cprlab-"
_CONSOLES_KEPT = 20
# a unix socket's path ends at 107 bytes; the folder adds 25 and a name in it 22
_LONGEST = 60


def runtime_dir() -> Path:
    """Where folders of running things belong: $XDG_RUNTIME_DIR if there is a short one, else /tmp."""
    named = os.environ.get("XDG_RUNTIME_DIR", "")
    usable = 0 < len(named) <= _LONGEST and Path(named).is_dir()
    return Path(named) if usable else Path("/tmp")


def state_dir() -> Path:
    """Where what outlives a process belongs: $XDG_STATE_HOME/cprlab, else ~/.local/state/cprlab."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(base) / "cprlab"


def private_run_dir() -> Path:
    """A new folder that only we can enter; its name carries our PID for the next sweep."""
    parent = runtime_dir()
    sweep(parent)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))


def sweep(parent: Path) -> None:
    """Remove our folders whose owner is dead, as after SIGKILL nobody else does."""
    for folder in parent.glob(f"{_PREFIX}[0-9]*-*"):
        pid = folder.name[len(_PREFIX) :].partition("-")[0]
        with suppress(FileNotFoundError):  # another controller sweeps too
            if folder.stat().st_uid == os.getuid() and not Path("/proc", pid).exists():
                shutil.rmtree(folder, ignore_errors=True)


def console_log(folder: Path | None, run_dir: Path) -> Path:
    """A console log that does not exist yet; it outlives the bench, as messages point to it.

    folder: where it goes, as console-host.log; one of an earlier power-on becomes console-host.log.1, ...
    """
    if folder is None:
        folder = state_dir() / "consoles"
        folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(folder.glob("*.log"), key=_age)[:-_CONSOLES_KEPT]:
            old.unlink(missing_ok=True)
        return folder / f"{run_dir.name}.log"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "console-host.log"
    if path.exists():
        number = 1 + sum(1 for _ in folder.glob("console-host.log.*"))
        path.rename(folder / f"console-host.log.{number}")
    return path


def _age(log: Path) -> float:
    try:
        return log.stat().st_mtime
    except FileNotFoundError:
        return 0.0  # another controller removed it
