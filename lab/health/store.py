"""Where the health of each host is kept on the controller: a file a host, locked, replaced in one step."""

import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

from lab.drivers.run_dirs import state_dir
from lab.errors import LabUsageError
from lab.health.state import Event, Health, State, after, by_hand

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


class Store:
    """The hosts that something was ever said of; one of which nothing was said is good.

    folder: $XDG_STATE_HOME/cprlab/hosts by default

    Raises:
        LabUsageError: from every call, for what is no name, or a file that somebody damaged.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or state_dir() / "hosts"

    def names(self) -> list[str]:
        """All hosts that are kept."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def read(self, name: str, machine: str = "") -> Health:
        """What is known of a host; nothing if it was said of another machine of that name."""
        known = self._read(name)
        if machine and known.machine not in ("", machine):
            return Health(machine=machine)
        return replace(known, machine=machine) if machine else known

    def happened(self, name: str, event: Event, reason: str = "", machine: str = "") -> Health:
        """Tell of an event, and return what is known now."""
        return self._changed(name, machine, lambda known: after(known, event, _now(), _line(reason)))

    def set(self, name: str, state: State, reason: str) -> Health:
        """Say by hand what a host is."""
        return self._changed(name, "", lambda known: by_hand(known, state, _now(), _line(reason)))

    def _read(self, name: str) -> Health:
        path = self._path(name)
        try:
            data = json.loads(path.read_text())
            data["state"] = State(data["state"])
            return Health(**data | {"history": tuple(data["history"])})
        except FileNotFoundError:
            return Health()
        except (ValueError, TypeError, KeyError) as error:
            raise LabUsageError(
                f"{path} cannot be read ({error}): remove it, and the host counts as good"
            ) from None

    def _changed(self, name: str, machine: str, change: Callable[[Health], Health]) -> Health:
        with self._locked(name):
            known = self.read(name, machine)
            changed = change(known)
            if changed != known:
                self._write(name, changed)
            return changed

    def _write(self, name: str, health: Health) -> None:
        path = self._path(name)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("w") as file:
            json.dump(asdict(health), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Two controllers of one user: neither loses what the other one says."""
        self._path(name)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise LabUsageError(f"{name!r} is no name of a host")
        return self.folder / f"{name}.json"


def _line(text: str) -> str:
    return " ".join(text.split())[:500]
