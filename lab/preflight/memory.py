"""What would lose guest memory, or make the guest wait for it."""

from collections.abc import Iterator

from lab.preflight.command import Command, Option
from lab.preflight.facts import Facts
from lab.preflight.rule import Says, note, refuse, rule, untold, warn

SHARED_BY_DEFAULT = ("memory-backend-memfd", "memory-backend-shm", "memory-backend-epc")
"""QEMU qapi/qom.json, MemoryBackendProperties, `share`: true by default for these."""
EPC = "memory-backend-epc"
DEFAULT_RAM = ("pc.ram", "mach-virt.ram")
HUGE_FOLDERS = ("/dev/hugepages", "/hugepages", "/mnt/huge", "/mnt/hugepages", "/dev/shm", "/run/hugepages")
"""Folders where they are on most hosts; a name is only looked at where nobody asked the host."""


@rule(
    "ram-private",
    source="reproductions/private-ram; QEMU system/physmem.c blocks cpr-transfer only (11.1.3: mask 0x4)",
    remedy="-object memory-backend-memfd,id=ram0,size=...,share=on and -machine memory-backend=ram0; "
    "share=on for every other memory backend",
)
def ram_private(facts: Facts) -> Says:
    """Guest memory that new QEMU gets anew: cpr-exec accepts that, and the guest finds zeroes."""
    lost = "is zero after the exec" if facts.execs else "makes QEMU refuse cpr-transfer"
    for command in facts.both:
        backends = [one for one in command.memory_backends if one["qom-type"] != EPC]
        main = command.machine.get("memory-backend", "")
        names = {one.id for one in command.memory_backends}
        if not main and not _numa(command):
            yield refuse(f"guest RAM (memory-backend=none) is not shared: it {lost}")
        elif main and main not in names:
            yield refuse(
                f"guest RAM (memory-backend={main}) is not shared, there is no such object: it {lost}"
            )
        for one in backends:
            if not shared(one):
                what = f"guest RAM (memory-backend={main})" if one.id == main else f"memory backend {one.id}"
                yield refuse(f"{what} is not shared: it {lost}")


@rule(
    "aux-ram-private",
    source="reproductions/aux-ram; QEMU docs/devel/migration/CPR.rst asks for aux-ram-share=on",
    remedy="-machine aux-ram-share=on (QEMU 10.0 and newer)",
)
def aux_ram_private(facts: Facts) -> Says:
    """RAM that is no memory backend: VGA, option ROMs, firmware."""
    lost = "come back empty" if facts.execs else "make QEMU refuse cpr-transfer"
    for command in facts.both:
        if command.machine.get("aux-ram-share") not in ("on", "true", "yes"):
            yield refuse(f"-machine lacks aux-ram-share=on: option ROMs, VGA and other auxiliary RAM {lost}")


@rule(
    "ram-epc", source="QEMU docs/devel/migration/CPR.rst: unsupported", remedy="give the guest no SGX memory"
)
def ram_epc(facts: Facts) -> Says:
    """Memory of SGX enclaves; no blocker of QEMU's names it."""
    for one in _backends(facts):
        if one["qom-type"] == EPC:
            yield refuse(f"memory backend {one.id or 'without id'} is {EPC}, which CPR does not support")


@rule(
    "ram-encrypted",
    source='QEMU system/physmem.c: "uses guest_memfd", which blocks cpr-transfer only',
    remedy="none: a confidential guest cannot be updated",
)
def ram_encrypted(facts: Facts) -> Says:
    """The memory of a confidential guest (SEV-SNP, TDX) is of a kind that CPR does not hand over."""
    if name := facts.after.machine.get("confidential-guest-support"):
        yield refuse(f"the guest is confidential (confidential-guest-support={name}): its memory is not kept")


@rule(
    "ram-file-nameless",
    source="reproductions/nameless-file (cpr-exec, 11.1.3)",
    remedy="let mem-path name a file in that folder, not the folder; or use memory-backend-memfd,hugetlb=on",
)
def ram_file_nameless(facts: Facts) -> Says:
    """In a folder QEMU makes a file and removes its name; new QEMU makes another one."""
    for one in _files(facts):
        path = one["mem-path"]
        known = facts.host.is_folder.get(path)
        if known is None and (path.endswith("/") or path in HUGE_FOLDERS):
            known = True
        if known:
            yield refuse(f"memory backend {one.id} has no file of its own in folder {path}: it is lost")
        elif known is None:
            yield untold(
                f"whether {path} of memory backend {one.id} is a folder (its memory is lost) or a file"
            )


@rule(
    "ram-file-leaks",
    source="test_known_defects.py (11.1.3: opened without O_CLOEXEC, and in new QEMU once more)",
    remedy="use memory-backend-memfd",
)
def ram_file_leaks(facts: Facts) -> Says:
    """Each update leaves a descriptor behind."""
    names = [one.id for one in _files(facts)]
    if facts.execs and names:
        yield note(f"each update leaves an old descriptor of {', '.join(names)} behind")


@rule(
    "prealloc-kept",
    source="test_pause.py; 4 GiB of 4 KiB pages took 1.7 to 3.4 s more (QEMU 11.1.3, 4 KiB pages)",
    remedy="leave prealloc=on and -mem-prealloc out of new QEMU's command line: its pages are there already",
)
def prealloc_kept(facts: Facts) -> Says:
    """New QEMU touches every page before it runs the guest."""
    command = facts.after
    names = [one.id for one in command.memory_backends if one.on("prealloc")]
    if command.has("mem-prealloc"):
        names.append("all memory (-mem-prealloc)")
    if names:
        yield warn(
            f"prealloc is kept for {', '.join(names)}: the guest is paused for longer, by seconds for GiBs"
        )


def shared(backend: Option) -> bool:
    """Whether a memory backend is shared."""
    return backend.on("share", absent=backend["qom-type"] in SHARED_BY_DEFAULT)


def _numa(command: Command) -> bool:
    """Whether guest RAM is that of NUMA nodes, which name backends of their own: all nodes do, or none."""
    return any(one["memdev"] for one in command.all("numa"))


def _backends(facts: Facts) -> Iterator[Option]:
    """Of both command lines, each id once."""
    seen: set[str] = set()
    for command in facts.both:
        for one in command.memory_backends:
            if one.id not in seen:
                seen.add(one.id)
                yield one


def _files(facts: Facts) -> list[Option]:
    return [one for one in _backends(facts) if one["qom-type"] == "memory-backend-file" and shared(one)]


RULES = (
    ram_private,
    aux_ram_private,
    ram_epc,
    ram_encrypted,
    ram_file_nameless,
    ram_file_leaks,
    prealloc_kept,
)
