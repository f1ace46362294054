"""pktgen: the kernel's own packet generator.

Source: Linux Documentation/networking/pktgen.rst.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from lab.benchmark import programs
from lab.errors import BenchError
from lab.loads import Agent

FOLDER = "/proc/net/pktgen"
_RESULT = re.compile(r"Result: OK: (\d+)\(.*?\) usec, (\d+) \(\d+byte,\d+frags\)")


@dataclass(frozen=True)
class Pktgen:
    """Sends frames of one interface of the guest, as fast as its driver takes them.

    interface: its link must be up
    """

    interface: str
    destination: str
    block_bytes: int
    stream: str
    name: ClassVar[str] = "pktgen"
    checks: ClassVar[str] = "one way, no content, in the kernel; what the device took, not what arrived"

    @property
    def streams(self) -> tuple[str, ...]:
        return (self.stream,)

    @property
    def path(self) -> str:
        return f"frames {self.stream.replace('-', ' ')}"

    def blocks_per_s(self, guest: Agent, seconds: float) -> float:
        """See PlainTool; frames that the driver took."""
        thread, device = f"{FOLDER}/kpktgend_0", f"{FOLDER}/{self.interface}"
        programs.write(guest, thread, "rem_device_all", f"add_device {self.interface}")
        size, to = f"pkt_size {self.block_bytes}", f"dst_mac {self.destination}"
        programs.write(guest, device, "count 0", "delay 0", "clone_skb 0", size, to)
        # its write returns when all frames are sent; with a count of 0 that is when it is killed
        start = ["dd", f"of={FOLDER}/pgctrl"]
        programs.run(guest, start, seconds, stdin="start\n", killed=True)
        said = programs.read(guest, device)
        programs.write(guest, thread, "rem_device_all")
        return packets_per_s(said)


def packets_per_s(said: str) -> float:
    """Of what pktgen says of a device.

    Raises:
        BenchError: it says of no run, or of one that failed.
    """
    if not (found := _RESULT.search(said)) or int(found[1]) == 0:
        last = (said.strip().splitlines() or ["nothing"])[-1].strip()
        raise BenchError(f"pktgen sent nothing; it says: {last}")
    return int(found[2]) * 1e6 / int(found[1])
