"""Containers for the guest's QEMU, by crun: made, entered, looked at, removed.

Source: crun(1) 1.21; Linux Documentation/admin-guide/cgroup-v2.rst; proc_pid_ns(5).
"""

import json
import os
import shutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..rpc import AgentError
from .container_bundle import FOLDERS, LINKS, Limits, config, device_nodes
from .container_usage import Usage
from .journal import Entry, Journal
from .procfs import start_ticks
from .spawned import FIRST_FD, Spawner
from .sysfs import Sysfs
from .tool import run_tool

KIND = "container"
ROOT = Path("/run/cprlab-containers")
"""crun's own state is in `crun`, a bundle in a folder of the container's name."""
STREAM = "container"
"""The name of its agent's numbered lines, for `stream_open`: the newest container's."""
_CGROUPS = Path("/sys/fs/cgroup")
_START_S, _REPLY_S = 30.0, 30.0
_CRUN = ["crun", "--root", str(ROOT / "crun"), "--cgroup-manager", "cgroupfs"]
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Container:
    """A container that runs: its first process is `agents.container`.

    name: also its id, and that of its cgroup

    Raises:
        AgentError: on making, if it does not start; the log of the process "container" says why.
    """

    def __init__(self, spawner: Spawner, name: str) -> None:
        self.name, self.bundle = name, ROOT / name
        self.cgroup = _CGROUPS / _cgroup(name)
        inherited = [f"{name}.control", STREAM]
        # the numbers are those that config.json names
        argv = [*_CRUN, "run", "--bundle", str(self.bundle), "--pid-file", str(self._pid_file)]
        argv += ["--preserve-fds", str(FIRST_FD + len(inherited) - 3), name]
        self._crun = spawner.child(spawner.spawn("container", argv, sockets=inherited)["pid"])
        self._control = spawner.sockets[inherited[0]]
        self._control.settimeout(_START_S)
        self._replies = self._control.makefile("rb")
        self._one_at_a_time, self._asked = threading.Lock(), 0
        hello = self.call("hello")
        self.pid = int(self._pid_file.read_text())
        self._control.settimeout(_REPLY_S)
        self.facts = {"id": name, "init": self.pid, "init_inside": hello["pid"]}
        self._usage = Usage(self.cgroup, self.pid)

    @property
    def _pid_file(self) -> Path:
        return self.bundle / "init.pid"

    def call(self, call: str, **args: Any) -> Any:
        """Ask the agent in the container.

        Raises:
            AgentError: it answers with an error, not in time, or is gone.
        """
        with self._one_at_a_time:
            self._asked += 1
            request = {"id": self._asked, "call": call, "args": args}
            try:
                self._control.sendall(json.dumps(request).encode() + b"\n")
                reply = json.loads(self._replies.readline() or "{}")
            except OSError as error:
                raise AgentError(f"the agent in container {self.name} is gone: {error}") from None
        if reply.get("id") != request["id"]:
            raise AgentError(f"the agent in container {self.name} has ended")
        if "error" in reply:
            raise AgentError(f"container {self.name}: {reply['error']}")
        return reply["result"]

    def entering(self, argv: Sequence[str], fds: Sequence[int], pid_file: Path) -> list[str]:
        """The command that runs another command in the container; these descriptors keep their numbers."""
        # without a file of its own crun 1.21 leaves the limits of config.json out
        process = json.loads((self.bundle / "config.json").read_text())["process"]
        file = pid_file.with_suffix(".process.json")
        file.write_text(json.dumps(process | {"args": list(argv)}))
        kept = ["--preserve-fds", str(max(fds) - 2)] if fds else []
        return [*_CRUN, "exec", "--process", str(file), "--pid-file", str(pid_file), *kept, self.name]

    def look(self, pid: int, begin: bool = False) -> dict[str, Any]:
        """{id, init, init_start_ticks, pid_namespace, cgroup, inside, memory, most} and of `pid` where it is.

        qemu: {pid, pid_inside, pid_namespace, cgroup}
        memory: bytes and events of its cgroup, `most` what was seen at once; both since the last `begin`,
            see container_usage
        begin:  peaks are of what there is now, and counted from here
        """
        if begin:
            self._usage.begin()
        status = json.loads(run_tool([*_CRUN, "state", self.name]))
        return {
            **self.facts,
            "status": status["status"],
            "init_start_ticks": start_ticks(self.pid),
            "pid_namespace": _pid_namespace(self.pid),
            "cgroup": _cgroup_of(self.pid),
            "inside": self.call("hello")["processes"],
            "qemu": {
                "pid": pid,
                "pid_inside": _pid_inside(pid),
                "pid_namespace": _pid_namespace(pid),
                "cgroup": _cgroup_of(pid),
            },
            **self._usage.report(),
        }

    def close(self) -> None:
        """Look at it no more; `remove` ends it."""
        self._usage.close()
        self._replies.close()
        self._control.close()


class Containers:
    """The containers of this agent."""

    def __init__(self, spawner: Spawner, journal: Journal) -> None:
        self._spawner, self._journal = spawner, journal
        self._running: dict[str, Container] = {}

    def create(
        self,
        name: str,
        memory_bytes: int,
        memlock_bytes: int,
        writable: Sequence[str] = (),
        readable: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Make a container and start it: {id, init, init_inside}. The VFIO devices of now are its devices.

        writable, readable: folders of the host that it has under the same path; made if need be

        Raises:
            AgentError: there is one of that name, no crun, or it does not start.
        """
        if shutil.which(_CRUN[0]) is None:
            raise AgentError("there is no crun on this host")
        if not name.isalnum() or (ROOT / name).exists():
            raise AgentError(f"{name!r} is no name for a new container")
        self._journal.begin(KIND, name, {}, {"bundle": str(ROOT / name)})
        limits = Limits(memory_bytes, memlock_bytes)
        _write_bundle(name, limits, writable, [*readable, *_our_own()])
        self._running[name] = Container(self._spawner, name)
        return dict(self._running[name].facts)

    def remove(self, name: str) -> None:
        """End everything in it, and remove it; one that was not made here is left alone."""
        if container := self._running.pop(name, None):
            container.close()
        for entry in self._journal.changes(KIND, name):
            self._journal.undo(entry)

    def get(self, name: str) -> Container:
        """Raises AgentError for one that was not made here."""
        if name not in self._running:
            raise AgentError(f"there is no container {name!r}; there are {sorted(self._running) or 'none'}")
        return self._running[name]

    def close(self) -> None:
        """Look at none any more; the journal ends them."""
        for container in self._running.values():
            container.close()

    def calls(self) -> dict[str, Any]:
        """By the name on the wire."""
        return {
            "container_create": self.create,
            "container_remove": self.remove,
            "container_look": lambda name, pid, begin=False: self.get(name).look(pid, begin),
            "container_call": lambda name, request, args: self.get(name).call(request, **args),
        }


def undo(sysfs: Sysfs, entry: Entry) -> None:
    """Kill what is in a container, and remove what crun and we made for it."""
    if (ROOT / "crun" / entry.what).exists():
        sysfs.run([*_CRUN, "delete", "--force", entry.what])
    shutil.rmtree(entry.after["bundle"], ignore_errors=True)
    group = _CGROUPS / _cgroup(entry.what)
    if group.is_dir():
        group.rmdir()


def _write_bundle(name: str, limits: Limits, writable: Sequence[str], readable: Sequence[str]) -> None:
    bundle = ROOT / name
    root = bundle / "rootfs"
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    for link, target in LINKS.items():
        (root / link).symlink_to(target)
    for folder in writable:
        Path(folder).mkdir(parents=True, exist_ok=True)
    env = {"PATH": _PATH, "PYTHONPATH": os.pathsep.join(_our_own()), "HOME": "/"}
    argv = [sys.executable, "-m", "agents.container", str(FIRST_FD), str(FIRST_FD + 1)]
    written = config(_cgroup(name), argv, env, limits, writable, readable, device_nodes())
    (bundle / "config.json").write_text(json.dumps(written, indent=1))


def _our_own() -> list[str]:
    """Where our own package is: a file or a folder."""
    return [str(Path(__file__).resolve().parents[2])]


def _cgroup(name: str) -> str:
    return f"cprlab-{name}"


def _pid_namespace(pid: int) -> int:
    return Path(f"/proc/{pid}/ns/pid").stat().st_ino


def _cgroup_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text().strip().partition("::")[2]


def _pid_inside(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nNSpid:")[2].split("\n")[0].split()[-1])
