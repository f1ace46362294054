"""A guest's memory as data: what backs it on the bench host, and its words of QEMU's command line.

Source: QEMU qapi/qom.json (MemoryBackendProperties and what derives from it), docs/devel/migration/CPR.rst.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["memfd", "file", "ram", "epc"]
Page = Literal["any", "4k", "thp", "2m", "1g"]

MAIN = "ram0"
HUGE_MIB = {"2m": 2, "1g": 1024}
"""Sizes of the pages of hugetlb, which are reserved."""
BALLOON = "balloon0"


@dataclass(frozen=True)
class Memory:
    """What the guest's RAM is made of; its size is the guest's.

    kind:           the backend, memory-backend-KIND
    page:           the pages that are asked for: "any" takes what the host makes of it, "thp" transparent
                    huge pages of 2 MiB, "2m" and "1g" those of hugetlb
    folder:         for a file, on the bench host: of a tmpfs, or of a hugetlbfs with pages of that size
    named:          whether a file has a name of its own in `folder`, or QEMU makes a nameless one there
    share, aux:     share=on of all backends, and aux-ram-share=on of the machine
    prealloc_old, prealloc_new: whether old QEMU, and new QEMU, touch every page before they run the guest
    dimms_mib:      modules that are plugged into the running guest; only new QEMU's command line has them
    balloon:        whether the guest has a virtio balloon
    """

    kind: Kind = "memfd"
    page: Page = "any"
    folder: str = ""
    named: bool = True
    share: bool = True
    aux: bool = True
    prealloc_old: bool = False
    prealloc_new: bool = False
    dimms_mib: tuple[int, ...] = ()
    balloon: bool = False

    def objects(self, size_mib: int, *, new: bool) -> list[str]:
        """The backends: the RAM at start, and in new QEMU the modules that were plugged."""
        prealloc = self.prealloc_new if new else self.prealloc_old
        words = ["-object", self._backend(MAIN, size_mib, prealloc)]
        for number, dimm_mib in enumerate(self.dimms_mib if new else ()):
            words += ["-object", self._backend(dimm_id(number), dimm_mib, prealloc)]
        return words

    @property
    def machine(self) -> str:
        """Properties of the machine."""
        return f"aux-ram-share={_on(self.aux)},memory-backend={MAIN}"

    def size(self, size_mib: int) -> str:
        """The word after -m."""
        if not self.dimms_mib:
            return f"{size_mib}M"
        slots, most_mib = len(self.dimms_mib), size_mib + sum(self.dimms_mib)
        return f"{size_mib}M,slots={slots},maxmem={most_mib}M"

    def devices(self, *, new: bool) -> list[str]:
        """Balloon, and in new QEMU the modules that were plugged."""
        words = ["-device", f"virtio-balloon-pci,id={BALLOON},addr=0x1e"] if self.balloon else []
        for number, _ in enumerate(self.dimms_mib if new else ()):
            words += ["-device", f"pc-dimm,id=dimm{number},memdev={dimm_id(number)}"]
        return words

    def pluggings(self) -> list[tuple[dict[str, object], dict[str, object]]]:
        """For each module the arguments of QMP object-add and of device_add."""
        return [
            (
                self._properties(dimm_id(number), dimm_mib, self.prealloc_old),
                {"driver": "pc-dimm", "id": f"dimm{number}", "memdev": dimm_id(number)},
            )
            for number, dimm_mib in enumerate(self.dimms_mib)
        ]

    def __str__(self) -> str:
        """Its name for test ids and for people, like "memfd-2m"."""
        words: list[str] = [self.kind, self.page]
        words += [word for word, is_so in self._marks().items() if is_so]
        return "-".join(word for word in words if word != "any")

    def fitting_mib(self, size_mib: int) -> int:
        """The size of a guest of which so much is asked: it has one page at least."""
        return max(size_mib, self.least_mib)

    @property
    def least_mib(self) -> int:
        """The smallest guest that can have it."""
        return HUGE_MIB.get(self.page, 0)

    @property
    def leaks(self) -> int:
        """Descriptors that QEMU 11.1.3 leaves behind at each cpr-exec: a strict expectation.

        It opens a file without O_CLOEXEC, and in new QEMU once more.
        """
        return 1 + len(self.dimms_mib) if self.kind == "file" else 0

    @property
    def kernel_args(self) -> str:
        """For the guest's kernel: it takes modules by itself, and puts what it can move there first."""
        return "memhp_default_state=online_movable" if self.dimms_mib else ""

    def total_mib(self, size_mib: int) -> int:
        """With all modules plugged."""
        return size_mib + sum(self.dimms_mib)

    @property
    def hint(self) -> str:
        """What the names of its files hold, as QEMU's descriptors show them.

        QEMU 11.1 makes a memfd for memory-backend-ram with share=on, named by its id (system/physmem.c).
        """
        if self.kind == "file":
            return f"{self.folder}/"
        return "memfd:memory-backend-memfd" if self.kind == "memfd" else "memfd:"

    def _marks(self) -> dict[str, bool]:
        return {
            "private": not self.share,
            "aux-off": not self.aux,
            "nameless": not self.named,
            "prealloc-old": self.prealloc_old,
            "prealloc-new": self.prealloc_new,
            "plugged": bool(self.dimms_mib),
            "balloon": self.balloon,
        }

    def _backend(self, name: str, size_mib: int, prealloc: bool) -> str:
        properties = self._properties(name, size_mib, prealloc)
        kind, words = properties.pop("qom-type"), []
        for key, value in properties.items():
            text = f"{size_mib}M" if key == "size" else _on(value) if isinstance(value, bool) else value
            words.append(f"{key}={text}")
        return ",".join([str(kind), *words])

    def _properties(self, name: str, size_mib: int, prealloc: bool) -> dict[str, object]:
        found: dict[str, object] = {"qom-type": f"memory-backend-{self.kind}", "id": name}
        found |= {"size": size_mib << 20, "share": self.share}
        if self.kind == "file":
            found["mem-path"] = f"{self.folder}/{name}" if self.named else self.folder
        if self.kind == "memfd" and self.page in HUGE_MIB:
            found |= {"hugetlb": True, "hugetlbsize": HUGE_MIB[self.page] << 20}
        if prealloc:
            found["prealloc"] = True
        return found


MEMFD = Memory()
"""What a guest has unless a case asks for another."""


def dimm_id(number: int) -> str:
    """Id of the backend of a module."""
    return f"more{number}"


def _on(value: bool) -> str:
    return "on" if value else "off"
