"""fio: reads and writes a disk with many requests under way, and verifies if asked to.

Source: fio's HOWTO.
"""

import json
from dataclasses import dataclass
from typing import ClassVar

from lab.benchmark import programs
from lab.errors import BenchError
from lab.loads import Agent

PROGRAM = "/usr/bin/fio"
SPARE_S = 60.0
"""It needs some seconds to begin in an emulated guest, and to wait for what is under way."""
BACKLOG = 4
"""Blocks written before some are read back and verified."""


@dataclass(frozen=True)
class Fio:
    """As many writes as reads on the slots of the load; a block is one of each, as it is of the load.

    disk:   its path in the guest; what it held is lost
    verify: write blocks with a checksum, and read back and compare each of them
    """

    disk: str
    block_bytes: int
    depth: int
    slots: int
    verify: bool
    path: ClassVar[str] = "blocks written and read"
    streams: ClassVar[tuple[str, ...]] = ("write", "read")

    @property
    def name(self) -> str:
        return "fio verify=crc32c" if self.verify else "fio"

    @property
    def checks(self) -> str:
        return (
            "what it reads back, by its checksum; not all that it wrote"
            if self.verify
            else "no content; reads are of other blocks"
        )

    def argv(self, seconds: float) -> list[str]:
        mode = ["--rw=rw", "--rwmixread=50"]
        if self.verify:
            # read back soon: what is not when the time is over, never is
            backlog = f"--verify_backlog={min(BACKLOG, self.depth)}"
            mode = ["--rw=write", "--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", backlog]
        return [
            *(PROGRAM, "--name=plain", f"--filename={self.disk}", "--ioengine=io_uring", "--direct=1"),
            *(f"--bs={self.block_bytes}", f"--iodepth={self.depth}"),
            *(f"--size={self.slots * self.block_bytes}", "--time_based", f"--runtime={seconds:g}"),
            *("--thread", "--eta=never", "--output-format=json"),
            *mode,
        ]

    def blocks_per_s(self, guest: Agent, seconds: float) -> float:
        """See PlainTool."""
        # whole seconds are all it takes
        said = programs.run(guest, self.argv(max(1, round(seconds))), seconds + SPARE_S)
        return blocks_per_s(said["stdout"])


def blocks_per_s(said: str) -> float:
    """Half of the requests, which are reads and writes, from fio's JSON.

    Raises:
        BenchError: fio counted an error, or nothing was read or written.
    """
    try:
        job = json.loads(said[said.index("{") :])["jobs"][0]
        counts = {way: int(job[way]["total_ios"]) for way in ("read", "write")}
        error, job_ms = int(job["error"]), int(job["job_runtime"])
    except (ValueError, LookupError) as error_:
        raise BenchError(f"fio gave no result: {said.strip()[:200] or 'it said nothing'}") from error_
    if error or not all(counts.values()) or not job_ms:
        raise BenchError(
            f"fio ended with error {error} after {counts['write']} writes, {counts['read']} reads"
        )
    return sum(counts.values()) / 2 * 1e3 / job_ms
