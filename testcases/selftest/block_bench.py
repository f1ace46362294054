"""A guest's block load in this process, on a file in place of a disk, and faults to plant below it."""

import json
import queue
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from mmap import mmap
from pathlib import Path
from typing import Any, BinaryIO, cast

from lab.agents.direct import DirectFile
from lab.agents.guest.block import Block
from lab.agents.host.medium import read_medium
from lab.agents.loop import Loop
from lab.agents.rpc import AgentError, Wire
from lab.agents.slots import Slots
from lab.columns import read
from lab.evidence import Evidence
from lab.link import AgentRefusal, Receiver, deliver
from lab.loads.block import BlockLoad
from lab.timeline import Timeline

SLOTS, DEPTH, BYTES, SEED = 32, 8, 4096, 5
SLOT = 11
"""The slot that a fault is planted in."""
STREAMS = ("write", "read")


@dataclass(frozen=True)
class OnFile(BlockLoad):
    """The load on a file in place of a disk."""

    path: str = ""

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"path": self.path}


class Lines:
    """What an agent writes to, and what makes of it what a link does."""

    def __init__(self, receiver: Callable[[], Receiver]) -> None:
        self._receiver = receiver

    def write(self, line: bytes) -> int:
        deliver(json.loads(line), self._receiver())
        return len(line)

    def flush(self) -> None: ...


class Guest:
    """The guest's side: as in the guest, one loop runs the calls and the timers."""

    name = "guest"

    def __init__(self, evidence: Receiver, opener: type[DirectFile]) -> None:
        self.receiver: Receiver | None = evidence
        self.broken: list[Exception] = []
        self._evidence, self._opener = evidence, opener
        self._out = Wire(cast(BinaryIO, Lines(lambda: self.receiver or self._evidence)))
        self._calls: queue.SimpleQueue[tuple[str, dict[str, Any], queue.SimpleQueue[Any]]] = (
            queue.SimpleQueue()
        )
        self._loop = Loop()
        self._loop.on_error = self.broken.append
        self._loop.every(2, self._serve)
        self.block = Block(self._loop, self._out, "nvme", 1, opener)
        self._thread = threading.Thread(target=self._loop.run, daemon=True)
        self._thread.start()

    def gone(self) -> str:
        return ""

    def call(self, call: str, timeout_s: float = 20.0, **args: Any) -> Any:
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._calls.put((call, args, answer))
        result = answer.get(timeout=timeout_s)
        if isinstance(result, AgentError):
            raise AgentRefusal(str(result))
        return result

    def close(self) -> None:
        self._loop.stop()
        self._thread.join()
        assert not self.broken, self.broken

    def _serve(self) -> None:
        calls: dict[str, Callable[..., Any]] = {
            "load_start": lambda load, kind, settings: self.block.start(**settings),
            "load_stop_sending": lambda load: self.block.stop_sending(),
            "load_stop": lambda load: self.block.stop(),
            "load_counters": lambda load: self.block.counters(),
            "load_fault": lambda load, kind: self.block.fault(kind),
            "epoch": lambda number: self.block.epoch(number),
        }
        while not self._calls.empty():
            call, args, answer = self._calls.get()
            try:
                answer.put(calls[call](**args))
            except AgentError as error:
                answer.put(error)


@dataclass
class Bench:
    """A guest with a disk made of a file, and what is recorded of it."""

    folder: Path
    opener: type[DirectFile] = DirectFile
    number: int = 1
    undo: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.disk = self.folder / "disk"
        # what an earlier run left there, with the same seed
        stale = Slots(SEED, BYTES, SLOTS)
        self.disk.write_bytes(b"".join(stale.block(seq, 1) for seq in range(SLOTS + 8)))
        self.evidence = Evidence(self.folder / "case")
        self.undo.callback(self.evidence.conclude)
        self.guest = Guest(self.evidence, self.opener)
        self.undo.callback(self.guest.close)

    def load(self, **settings: Any) -> OnFile:
        given = {"rate_hz": 3000.0, "depth": DEPTH, "slots": SLOTS, "block_bytes": BYTES, "seed": SEED}
        return OnFile(path=str(self.disk), **given | settings)

    def run(self, load: BlockLoad | None = None, blocks: int = 3 * SLOTS) -> "Bench":
        with (load or self.load()).running(self.guest, self.evidence, self) as running:
            running.settle(blocks=blocks)
        return self

    def open_epoch(self, number: int) -> None:
        self.number = number
        self.evidence.record("epoch", number=number)
        self.guest.call("epoch", number=number)

    def read_medium(self, **more: Any) -> dict[str, Any]:
        wire = Wire(cast(BinaryIO, Lines(lambda: self.evidence)))
        given: dict[str, Any] = {
            "load": "nvme",
            "path": str(self.disk),
            "slots": SLOTS,
            "block_bytes": BYTES,
            "seed": SEED,
        }
        return read_medium(wire, **given | more)

    def finished(self) -> Timeline:
        self.undo.close()
        return Timeline.load(self.folder / "case" / "timeline.jsonl")

    def table(self, name: str) -> dict[str, Any]:
        table = read(self.folder / "case" / "columns", f"nvme.{name}")
        assert table is not None, f"no table {name}"
        return table


Request = Callable[[mmap, int], int]


class Fault:
    """Passes requests on; each kind spoils the one of a slot and round that `hits` names."""

    def __init__(self, disk: Path, round_number: int = 1) -> None:
        self.disk, self._round = disk, round_number
        self._seen = 0
        self.done = threading.Event()

    def hits(self, data: mmap, at: int) -> bool:
        """Whether it is this request that is spoiled: once, and never the clearing at the start."""
        if len(data) != BYTES or at != SLOT * BYTES or self.done.is_set():
            return False
        self._seen += 1
        if self._seen <= self._round:
            return False
        self.done.set()
        return True

    def write(self, request: Request, data: mmap, at: int) -> int:
        return request(data, at)

    def read(self, request: Request, into: mmap, at: int) -> int:
        return request(into, at)


def opener_with(fault: Fault) -> type[DirectFile]:
    class Faulty(DirectFile):
        def write(self, data: mmap, at: int) -> int:
            return fault.write(super().write, data, at)

        def read(self, into: mmap, at: int) -> int:
            return fault.read(super().read, into, at)

    return Faulty


def flip(disk: Path, at: int) -> None:
    with disk.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
