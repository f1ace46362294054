"""The host agent's calls, and how everything ends."""

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from .. import mishaps
from ..rpc import AgentError, Wire
from . import backing, binding, device, functions, procfs, qemu_probe, sriov, trace, vduse
from .capabilities import capabilities, qemu_version
from .chardevs import Chardevs
from .container import Containers
from .epoch import Epoch
from .footprint import footprint
from .interlocks import Allowed, AllowList, Uses, mismatches, objections
from .journal import Journal
from .kmsg import KmsgWatch
from .liveupdate import KeptMemory
from .making import making, undo_table
from .medium import read_medium
from .pace import Pace
from .pins import PinSampler
from .spawned import Spawner
from .survey import survey
from .sysfs import Sysfs
from .tap import Taps
from .update_facts import update_facts
from .yardstick import yardstick

STATE = Path("/var/lib/cprlab")
_FOLDER = "cprlab-agent-"


_CALLS = (
    *("hello", "clock", "epoch", "allow", "bind", "give_back", "restore", "device", "spawn", "reap", "kill"),
    *("watch_pins", "watch_kmsg", "watch_trace", "unwatch_trace", "stop_watch"),
    *("await_socket", "follow_pins", "prove_awake", "mishap_blind"),
)


def wall_clock() -> dict[str, int]:
    """CLOCK_REALTIME, and what to add to it to get our monotonic time, right to within `to_host_error_ns`."""
    readings = [(time.monotonic_ns(), time.time_ns(), time.monotonic_ns()) for _ in range(5)]
    before, wall, after = min(readings, key=lambda reading: reading[2] - reading[0])
    half_ns = (after - before) // 2
    return {"t_ns": time.time_ns(), "to_host_ns": before + half_ns - wall, "to_host_error_ns": half_ns + 1}


def _sweep(parent: Path) -> None:
    """Remove the folders of agents that were killed: nobody else does."""
    for folder in parent.glob(f"{_FOLDER}[0-9]*-*"):
        pid = folder.name.removeprefix(_FOLDER).partition("-")[0]
        if not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)


class Watch(Protocol):
    """A witness at work. `abandon` ends it without sending anything."""

    def stop(self) -> Mapping[str, Any]: ...

    def abandon(self) -> None: ...


class HostAgent:
    """One session: what it changes on the host it undoes in `end`."""

    def __init__(self, wire: Wire, state: Path = STATE, sysfs: Sysfs | None = None) -> None:
        self._wire, self._sysfs, self._epoch = wire, sysfs or Sysfs(), Epoch()
        _sweep(Path(tempfile.gettempdir()))
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-"))
        self._pace = Pace()
        self._spawner = Spawner(wire, self._folder, self._pace)
        self._watches: dict[str, Watch] = {}
        self._chardevs = Chardevs(wire, self._spawner.sockets, self._epoch)
        self._journal = Journal(state / "journal.jsonl", undo_table(self._sysfs))
        self._allowed = AllowList()
        self._taps = Taps(self._sysfs, self._journal)
        self._kept = KeptMemory(self._journal)
        self._containers = Containers(self._spawner, self._journal)
        self._restored: list[dict[str, Any]] = []
        with suppress(AgentError):  # not root: what needs the journal will say so
            self._journal.load()
            self._restored = self._journal.undo_all()

    def calls(self) -> dict[str, Callable[..., Any]]:
        """All calls by the name on the wire."""
        return {
            **{name: getattr(self, name) for name in _CALLS},
            **making(self._sysfs, self._journal, self._taps, self._allowed),
            **self._containers.calls(),
            "memory_keep": self._kept.keep,
            "memory_take": self._kept.take,
            "memory_look": self._kept.look,
            **self._chardevs.calls(),
            "capabilities": lambda: capabilities(self._sysfs),
            "update_facts": partial(update_facts, self._sysfs),
            "functions": lambda: functions.functions(self._sysfs),
            "survey": lambda: survey(self._sysfs),
            "objections": self._objections,
            "qemu_version": qemu_version,
            "qemu_probe": qemu_probe.probe,
            # of QEMU's own events, which are stamped by it
            "wall_clock": wall_clock,
            "yardstick": yardstick,
            "calm": self._pace.calm,
            "process": procfs.process,
            "pfns": procfs.pfns,
            "footprint": footprint,
            "memory_backing": backing.backing,
            "interrupts": device.interrupts,
            "medium_read": partial(read_medium, self._wire),
            **mishaps.calls(self._wire),
        }

    def hello(self) -> dict[str, Any]:
        """restored: what an earlier, killed agent had left and this one has undone."""
        return {
            "kernel": platform.release(),
            "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            "t_ns": time.monotonic_ns(),
            "cmdline": Path("/proc/cmdline").read_text().strip(),
            "pid": os.getpid(),
            "restored": self._restored,
            # bits as in Documentation/admin-guide/tainted-kernels.rst
            "tainted": int(Path("/proc/sys/kernel/tainted").read_text()),
        }

    def clock(self) -> dict[str, int]:
        return {"t_ns": time.monotonic_ns()}

    def epoch(self, number: int) -> None:
        self._epoch.number = number
        self._chardevs.epoch(number)

    def allow(self, functions: Sequence[Mapping[str, Any]]) -> None:
        """From now on these functions may be touched, and no others; see interlocks.Allowed."""
        self._allowed.allow(functions)

    def bind(self, bdf: str, together: Sequence[str] = ()) -> dict[str, Any]:
        made = bdf in sriov.made(self._sysfs, self._journal)
        told = Allowed(bdf) if made else self._allowed.of(bdf)
        return binding.bind(self._sysfs, self._journal, told, together)

    def _objections(self, bdf: str) -> list[str]:
        """Why `bind` would refuse it, a sentence each."""
        told = self._allowed.of(bdf)
        self._sysfs.device(bdf)
        found = [*objections(self._sysfs, bdf, Uses.of(self._sysfs), told), *mismatches(self._sysfs, told)]
        return [objection.text for objection in found]

    def give_back(self, bdf: str) -> None:
        binding.give_back(self._journal, bdf)

    def restore(self) -> list[dict[str, Any]]:
        """Undo every change to the host now; taps that are held go too.

        Raises:
            AgentError: another agent is at work here, whose changes these are.
        """
        self._journal.load()
        self._taps.close()
        return self._journal.undo_all()

    def device(self, bdf: str) -> dict[str, Any]:
        return device.device(self._sysfs, bdf)

    def spawn(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        sockets: Sequence[str] = (),
        taps: Sequence[str] = (),
        container: str = "",
        stdio: str = "",
    ) -> dict[str, Any]:
        inside = self._containers.get(container) if container else None
        return self._spawner.spawn(name, argv, env, sockets, self._taps.descriptors(taps), inside, stdio)

    def reap(self, pid: int, wait_s: float = 10.0) -> dict[str, Any]:
        ended = self._spawner.child(pid).reap(wait_s)
        vduse.sweep(self._sysfs, self._journal)
        return ended

    def kill(self, pid: int) -> dict[str, Any]:
        ended = self._spawner.child(pid).kill()
        vduse.sweep(self._sysfs, self._journal)
        return ended

    def await_socket(self, pid: int, path: str, wait_s: float) -> bool:
        """Whether a process that was started here has made a socket, waited for while it runs."""
        return self._spawner.child(pid).made(Path(path), wait_s)

    def follow_pins(self, pid: int) -> None:
        """Another process is charged from now on; the samples go on without a hole."""
        watch = self._watches.get("pins")
        if not isinstance(watch, PinSampler):
            raise AgentError("pins are not watched")
        watch.follow(pid)

    def watch_pins(self, pid: int, period_ms: float = 10.0) -> None:
        self._watch("pins", lambda: PinSampler(self._wire, self._epoch, pid, period_ms))

    def watch_kmsg(self) -> None:
        self._watch("kmsg", lambda: KmsgWatch(self._wire))

    def watch_trace(self, update: int, events: bool = True, gaps: bool = True) -> None:
        def start() -> Watch:
            of = (self._wire, self._journal, update)
            return trace.TraceWatch(*of, events=events, gaps=gaps, pace=self._pace)

        self._watch("trace", start)

    def unwatch_trace(self, update: int) -> Mapping[str, Any]:
        return self.stop_watch("trace")

    def stop_watch(self, name: str) -> Mapping[str, Any]:
        """End a watch; all it saw is sent before the reply."""
        if (watch := self._watches.pop(name, None)) is None:
            raise AgentError(f"no watch {name!r} runs; running: {sorted(self._watches) or 'none'}")
        return watch.stop()

    def prove_awake(self) -> None:
        """Send witness.blind if the kernel's log, or what a process prints, was not read until now."""
        for child in self._spawner.children.values():
            if not child.heard():
                reason = f"who read the output of {child.name} (pid {child.pid}) has died"
                self._wire.event("witness.blind", witness="qemu-stderr", reason=reason)
        watch = self._watches.get("kmsg")
        if not isinstance(watch, KmsgWatch):
            raise AgentError("the kernel's log is not watched")
        watch.prove_awake()

    def mishap_blind(self, name: str) -> None:
        """A watch ends without a word, or "output", who reads what processes print; to see who notices."""
        if name == "output":
            for child in self._spawner.children.values():
                child.deafen()
            return
        if name not in self._watches:
            raise AgentError(f"no watch {name!r} runs")
        self._wire.event("fault.planted", fault="witness.blind", detail={"watch": name})
        self._watches[name].abandon()

    def end(self) -> list[str]:
        """Kill what was started, end the watches, give everything back; returns what went wrong."""
        errors = self._spawner.kill_all()
        for watch in self._watches.values():
            watch.abandon()
        self._chardevs.abandon()
        self._taps.close()
        self._containers.close()
        self._kept.close()
        errors += [
            f"{undone['what']}: {undone['error']}" for undone in self._journal.undo_all() if "error" in undone
        ]
        shutil.rmtree(self._folder, ignore_errors=True)
        return errors

    def _watch(self, name: str, start: Callable[[], Watch]) -> None:
        if name in self._watches:
            raise AgentError(f"watch {name!r} runs already")
        self._watches[name] = start()
