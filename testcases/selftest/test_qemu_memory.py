"""A guest's memory as words of QEMU's command line, old and new.

Source: QEMU qapi/qom.json, MemoryBackendProperties and what derives from it.
"""

import itertools

import pytest

from lab.preflight import preflight
from lab.preflight.command import Command
from lab.preflight.facts import Facts
from lab.qemu.argv import GuestConfig
from lab.qemu.memory import Memory


def guest(memory: Memory) -> GuestConfig:
    return GuestConfig("/k", "/i", "/run/g", "type1", memory=memory)


def values(argv: list[str], flag: str) -> list[str]:
    return [value for word, value in itertools.pairwise(argv) if word == flag]


@pytest.mark.parametrize(
    ("memory", "old", "new"),
    [
        (Memory(), "memfd,id=ram0,size=256M,share=on", ""),
        (Memory(page="2m"), "memfd,id=ram0,size=256M,share=on,hugetlb=on,hugetlbsize=2097152", ""),
        (Memory(page="1g"), "memfd,id=ram0,size=256M,share=on,hugetlb=on,hugetlbsize=1073741824", ""),
        (Memory(page="thp"), "memfd,id=ram0,size=256M,share=on", ""),
        (Memory("ram"), "ram,id=ram0,size=256M,share=on", ""),
        (Memory("ram", share=False), "ram,id=ram0,size=256M,share=off", ""),
        (Memory("file", folder="/m"), "file,id=ram0,size=256M,share=on,mem-path=/m/ram0", ""),
        (Memory("file", folder="/m", named=False), "file,id=ram0,size=256M,share=on,mem-path=/m", ""),
        (Memory("epc"), "epc,id=ram0,size=256M,share=on", ""),
        (
            Memory(prealloc_old=True),
            "memfd,id=ram0,size=256M,share=on,prealloc=on",
            "memfd,id=ram0,size=256M,share=on",
        ),
        (
            Memory(prealloc_new=True),
            "memfd,id=ram0,size=256M,share=on",
            "memfd,id=ram0,size=256M,share=on,prealloc=on",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, Memory) else "",
)
def test_the_backend(memory: Memory, old: str, new: str) -> None:
    assert values(guest(memory).argv("q"), "-object") == [f"memory-backend-{old}"]
    assert values(guest(memory).incoming("q"), "-object") == [f"memory-backend-{new or old}"]


def test_a_plugged_module_is_in_the_new_command_line_alone() -> None:
    config = guest(Memory(page="2m", dimms_mib=(128, 64)))
    old, new = config.argv("q"), config.incoming("q")
    assert values(old, "-m") == values(new, "-m") == ["256M,slots=2,maxmem=448M"]
    assert len(values(old, "-object")) == 1 and not [v for v in values(old, "-device") if "dimm" in v]
    assert values(new, "-object")[1:] == [
        "memory-backend-memfd,id=more0,size=128M,share=on,hugetlb=on,hugetlbsize=2097152",
        "memory-backend-memfd,id=more1,size=64M,share=on,hugetlb=on,hugetlbsize=2097152",
    ]
    assert values(new, "-device")[-2:] == ["pc-dimm,id=dimm0,memdev=more0", "pc-dimm,id=dimm1,memdev=more1"]
    assert config.memory.total_mib(256) == 448


def test_what_is_plugged_is_what_new_qemu_is_told() -> None:
    """The same properties by QMP as on the command line: with others the module would be another."""
    [(backend, module)] = Memory("file", folder="/m", dimms_mib=(128,)).pluggings()
    assert backend == {
        "qom-type": "memory-backend-file",
        "id": "more0",
        "size": 128 << 20,
        "share": True,
        "mem-path": "/m/more0",
    }
    assert module == {"driver": "pc-dimm", "id": "dimm0", "memdev": "more0"}


def test_a_balloon_is_in_both() -> None:
    config = guest(Memory(balloon=True))
    for argv in (config.argv("q"), config.incoming("q")):
        assert values(argv, "-device")[-1] == "virtio-balloon-pci,id=balloon0,addr=0x1e"


@pytest.mark.parametrize(
    ("memory", "says"),
    [
        (Memory("ram", share=False), "guest RAM (memory-backend=ram0) is not shared"),
        (Memory(share=False), "guest RAM (memory-backend=ram0) is not shared"),
        (Memory(aux=False), "-machine lacks aux-ram-share=on"),
        (Memory("epc"), "memory backend ram0 is memory-backend-epc, which CPR does not support"),
        (Memory(dimms_mib=(64,), share=False), "memory backend more0 is not shared"),
    ],
    ids=str,
)
def test_what_preflight_says(memory: Memory, says: str) -> None:
    found = preflight(Facts(Command.parse(guest(memory).incoming("qemu")))).refused
    assert any(finding.reason.startswith(says) for finding in found)


def test_names_tell_them_apart() -> None:
    kinds = [Memory(), Memory(page="2m"), Memory("ram"), Memory(balloon=True), Memory(prealloc_new=True)]
    names = ["memfd", "memfd-2m", "ram", "memfd-balloon", "memfd-prealloc-new"]
    assert [str(memory) for memory in kinds] == names
