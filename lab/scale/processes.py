"""What processes cost, from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_HZ = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Processor time since its start, and memory, what is shared divided among those that share it."""

    cpu_s: float
    pss_bytes: int


def cost_of(pid: int) -> Cost:
    """What a process has used.

    Source: proc_pid_stat(5), fields 14 and 15.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    pss = Path(f"/proc/{pid}/smaps_rollup").read_text().partition("Pss:")[2].split()[0]
    return Cost((int(fields[11]) + int(fields[12])) / _TICKS_HZ, int(pss) << 10)
