"""The points of a sweep: what a guest is made of, by a name that says it all."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lab.errors import LabUsageError
from lab.qemu.memory import Memory, Page

PAGES: tuple[Page, ...] = ("any", "4k", "thp", "2m", "1g")
PREALLOC = ("off", "old", "both")
"""prealloc=on in neither command, in old QEMU's alone, in both."""
_NAME = re.compile(
    r"(\d+)m-(any|4k|thp|2m|1g)-prealloc-(off|old|both)-(\d)dev(-async)?(-boxed)?(-load)?(-cost)?"
)

TRACED = (
    *("runstate_set", "vm_stop_flush_all", "vmstate_downtime_checkpoint", "migrate_set_state"),
    *("cpr_state_save", "cpr_state_load", "cpr_exec", "loadvm_state_setup"),
)
"""What QEMU itself is asked to trace: a dozen lines an update."""
WITNESSES = ("pins", "kernel", "vcpus", "qemu", "streams")
"""What watches an update and can be left out to see what it costs: pins, sampled; the bench host's kernel,
which traces events; the same, which finds the longest gap of each vCPU; QEMU, which traces itself; the host's
ends of two chardevs, which send numbered lines all the time."""
TIMED = ("kernel", "vcpus", "qemu")
"""Those without which the phases of a pause are not known: a sweep has no others."""
STAMPED = ("-msg", "timestamp=on")
QEMU_TRACE = tuple(word for event in TRACED for word in ("-trace", event))
ASYNC_TEARDOWN = ("-run-with", "async-teardown=on")


@dataclass(frozen=True)
class Point:
    """One guest of a sweep.

    devices: NICs assigned by VFIO (type1)
    boxed:   its QEMU runs in a container with a memory limit
    load:    frames flow both ways, as in every other case: the far end sees the pause, too
    cost:    its updates are done with and without witnesses in turns, by cpr-exec
    """

    memory_mib: int
    page: Page = "any"
    prealloc: str = "off"
    devices: int = 1
    async_teardown: bool = False
    boxed: bool = False
    load: bool = False
    cost: bool = False

    def __str__(self) -> str:
        words = f"{self.memory_mib}m-{self.page}-prealloc-{self.prealloc}-{self.devices}dev"
        options = {"-async": self.async_teardown, "-boxed": self.boxed, "-load": self.load}
        chosen = "".join(option for option, wanted in options.items() if wanted)
        return words + chosen + ("-cost" if self.cost else "")

    @classmethod
    def parse(cls, name: str) -> "Point":
        """From its name.

        Raises:
            LabUsageError: it is no name of a point.
        """
        if (m := _NAME.fullmatch(name)) is None:
            raise LabUsageError(f"{name!r} is no point: one looks like {cls(512)}")
        page: Page = next(p for p in PAGES if p == m[2])
        return cls(int(m[1]), page, m[3], int(m[4]), *map(bool, m.group(5, 6, 7, 8)))

    @property
    def memory(self) -> Memory:
        """What the guest's RAM is made of."""
        return Memory(
            page=self.page, prealloc_old=self.prealloc != "off", prealloc_new=self.prealloc == "both"
        )

    @property
    def extra(self) -> tuple[str, ...]:
        """Further words of QEMU's command line; the first are those that stay when nothing is traced."""
        return (*STAMPED, *(ASYNC_TEARDOWN if self.async_teardown else ()), *QEMU_TRACE)

    @property
    def row(self) -> str:
        """The row of lab/rows/table.py with its devices; "" for none."""
        return ("", "nic", "two-nics")[self.devices]


@dataclass(frozen=True)
class Sweep:
    """What is varied: from the base (the middle of `ram_mib`, the first of all others) one thing at a time.

    Memory is varied with the first and with the last of `prealloc`, and with the last by all pages; a load
    with one device.

    product: every combination instead
    boxed:   the base in a container too
    load:    the base under DMA load too
    cost:    the recorder's own cost too
    """

    ram_mib: Sequence[int] = (256, 512, 1024)
    pages: Sequence[Page] = ("any", "2m")
    prealloc: Sequence[str] = ("off", "old", "both")
    devices: Sequence[int] = (1, 0, 2)
    async_teardown: Sequence[bool] = (False, True)
    product: bool = False
    boxed: bool = True
    load: bool = True
    cost: bool = True

    def points(self) -> list[Point]:
        """In the order in which they run."""
        base = Point(self.ram_mib[len(self.ram_mib) // 2], self.pages[0], self.prealloc[0], self.devices[0])
        base = replace(base, async_teardown=self.async_teardown[0])
        found = self._all() if self.product else self._star(base)
        if self.boxed:
            found.append(replace(base, boxed=True))
        if self.load:
            found.append(replace(base, devices=1, load=True))
        if self.cost:
            found.append(replace(base, devices=0, cost=True))
        return list(dict.fromkeys(found))

    def _all(self) -> list[Point]:
        return [
            Point(ram, page, prealloc, devices, teardown)
            for ram in self.ram_mib
            for page in self.pages
            for prealloc in self.prealloc
            for devices in self.devices
            for teardown in self.async_teardown
        ]

    def _star(self, base: Point) -> list[Point]:
        return [
            *(
                replace(base, memory_mib=ram, prealloc=prealloc)
                for prealloc in (self.prealloc[0], self.prealloc[-1])
                for ram in self.ram_mib
            ),
            *(
                replace(base, memory_mib=ram, page=page, prealloc=self.prealloc[-1])
                for page in self.pages[1:]
                for ram in self.ram_mib
            ),
            *(replace(base, page=page) for page in self.pages),
            *(replace(base, prealloc=prealloc) for prealloc in self.prealloc),
            *(replace(base, devices=devices) for devices in self.devices),
            *(replace(base, async_teardown=teardown) for teardown in self.async_teardown),
        ]
