"""pfns_unchanged, mappings_kept, device_not_reset, interrupts_flow: truth tables."""

from pathlib import Path
from typing import Any

import pytest

from lab.checkers import device_not_reset, interrupts_flow, mappings_kept, pfns_unchanged

from .story import Story
from .timelines import AFTER, BDF, CONFIG, EXEC, HOST_NS, INVOKE, OK, host_ns
from .truth import FAIL, PASS, UNKNOWN, hold, row

AFTER_1 = {"when": "after", "update": 1}
PAGES = [[n * 4096, 100 + n, 1028] for n in range(16)]


def pages(pages: list[list[int]]) -> Any:
    return lambda s: s.change("host.pfns", AFTER_1, pages=pages)


def says_blind(witness: str) -> Any:
    return lambda s: s.add(1300, "witness.blind", witness=witness, reason="broken")


def refused(story: Story) -> None:
    story.drop("cpr.ok").add(OK, "cpr.fail", mode="cpr-exec", update=1, reason="no")


PFNS = [
    row("the frames stay", PASS, "^16 sampled pages kept their frames over update 1$"),
    row("two updates", PASS, "over update 2", updates=2),
    row(
        "one page moves",
        FAIL,
        "1 of 16 .*offset 0x0 from frame 0x64 to 0x7",
        pages([[0, 7, 1028], *PAGES[1:]]),
    ),
    row("another file", FAIL, "another file since update 1 .1 pages", pages([[0, 100, 9], *PAGES[1:]])),
    row("a page is gone", FAIL, "1 sampled pages are gone", pages([[0, -1, 1028], *PAGES[1:]])),
    row("a page is not asked for again", PASS, "^15 sampled", pages(PAGES[1:])),
    row("eight pages compared", PASS, "^8 sampled", pages(PAGES[:8])),
    row("seven pages compared", UNKNOWN, "only 7 pages could be compared", pages(PAGES[:7])),
    row(
        "a hole in the file stays one",
        PASS,
        "^15 sampled",
        lambda s: s.change("host.pfns", pages=[[0, -1, 1028], *PAGES[1:]]),
    ),
    row(
        "hidden frames",
        UNKNOWN,
        "only 0 pages",
        lambda s: s.change("host.pfns", pages=[[o, 0, i] for o, _, i in PAGES]),
    ),
    row("no snapshot after", UNKNOWN, "after update 1", lambda s: s.drop("host.pfns", when="after")),
    row("no snapshot before", UNKNOWN, "before update 1", lambda s: s.drop("host.pfns", when="before")),
    row("an after from before", UNKNOWN, "after update 1", lambda s: s.move("host.pfns", 950, **AFTER_1)),
    row(
        "a before from inside", UNKNOWN, "before update 1", lambda s: s.move("host.pfns", 1300, when="before")
    ),
    row("blind", UNKNOWN, "pfns went blind", says_blind("pfns")),
    row("refused", UNKNOWN, "refused: no", refused),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", PFNS)
def test_pfns_unchanged(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(pfns_unchanged, tmp_path, spoil, updates, outcome, says)


def traced(ms: float, name: str) -> Any:
    fields = {"iova": "0x1000", "size": "4096"}
    return lambda s: s.add(ms, "trace.event", name=name, t_src_ns=0, fields=fields)


def closed(**data: Any) -> Any:
    return lambda s: s.change("trace.close", {"update": 1}, **data)


def host_log(ms: float, text: str) -> Any:
    return lambda s: s.add(ms, "log", where="host", level=6, text=text, t_src_ns=HOST_NS)


def no_log(story: Story) -> None:
    story.drop("witness.start", witness="kmsg-host")


DMAR = "DMAR: [DMA Write NO_PASID] Request device [05:00.0] fault addr 0xa0000 [fault reason 0x05] not set"
AMD = "vfio-pci 0000:05:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x000c address=0xa0000 flags=0x0020]"
EXEC_COUNT = {"sched:sched_process_exec": 1}
MAPPINGS = [
    row("no unmap", PASS, "^no unmap and no fault traced during update 1$"),
    row("two updates", PASS, "during update 2", updates=2),
    row(
        "an unmap",
        FAIL,
        "^1 ranges were unmapped during update 1: iova=0x1000, size=4096",
        traced(1200, "iommu:unmap"),
    ),
    row(
        "more unmaps than were told one by one",
        FAIL,
        "^9 ranges",
        traced(1200, "iommu:unmap"),
        closed(counts=EXEC_COUNT | {"iommu:unmap": 9}),
    ),
    row("unmaps that were only counted", FAIL, "^9 ranges", closed(counts=EXEC_COUNT | {"iommu:unmap": 9})),
    row("an unmap, and events lost", FAIL, "1 ranges", traced(1200, "iommu:unmap"), closed(lost=3)),
    row("an unmap long after", PASS, "no unmap", traced(3000, "iommu:unmap")),
    row("a map", PASS, "no unmap", traced(1200, "iommu:map")),
    row("a fault in the update", FAIL, "1 IOMMU page faults", traced(1200, "iommu:io_page_fault")),
    row("a fault long after", FAIL, "^1 IOMMU page faults: iova", traced(3000, "iommu:io_page_fault")),
    row("a fault that the log alone tells of", FAIL, "kernel says: DMAR: .DMA Write", host_log(3000, DMAR)),
    row("the same by another IOMMU", FAIL, "IO_PAGE_FAULT", host_log(1200, AMD)),
    row("a log of IOMMUs without a fault", PASS, "no unmap", host_log(1200, "DMAR: Intel(R) Virtualization")),
    row("nobody read the log", UNKNOWN, "witness kmsg-host was not watching", no_log),
    row("faults only counted", FAIL, "2 IOMMU page", closed(counts=EXEC_COUNT | {"iommu:io_page_fault": 2})),
    row("events lost", UNKNOWN, "lost 1 events", closed(lost=1)),
    row(
        "not told whether events were lost",
        UNKNOWN,
        "unknown number",
        lambda s: s.drop("trace.close").add(1730, "trace.close", update=1, counts=EXEC_COUNT),
    ),
    row("no exec seen", UNKNOWN, "shows no exec", lambda s: s.drop("trace.event"), closed(counts={})),
    row("the exec only told, not counted", PASS, "no unmap", closed(counts={})),
    row("the exec only counted", PASS, "no unmap", lambda s: s.drop("trace.event")),
    row("never opened", UNKNOWN, "was not open", lambda s: s.drop("trace.open")),
    row("opened too late", UNKNOWN, "was not open", lambda s: s.move("trace.open", 1010, update=1)),
    row("never closed", UNKNOWN, "was not closed", lambda s: s.drop("trace.close")),
    row("closed too early", UNKNOWN, "was not closed", lambda s: s.move("trace.close", 1650, update=1)),
    row(
        "not traced the second time",
        UNKNOWN,
        "when update 2",
        lambda s: s.drop("trace.open", update=2),
        updates=2,
    ),
    row("blind", UNKNOWN, "trace went blind", says_blind("trace")),
    row("refused", UNKNOWN, "refused", refused),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", MAPPINGS)
def test_mappings_kept(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(mappings_kept(), tmp_path, spoil, updates, outcome, says)


def device(**data: Any) -> Any:
    return lambda s: s.change("host.device", AFTER_1, **data)


RESET = f"vfio-pci {BDF}: resetting"
BARS_GONE = CONFIG[:32] + "00" * 24 + CONFIG[80:]
DEVICE = [
    row("nothing changes", PASS, f"^{BDF} kept driver, command, BARs and MSI or MSI-X over update 1$"),
    row("two updates", PASS, "update 2", updates=2),
    row("another driver", FAIL, "driver was vfio-pci and is igb", device(driver="igb")),
    row("no driver", FAIL, "driver was vfio-pci and is None", device(driver=None)),
    row("bus mastering off", FAIL, "was 0x6 and is 0x2", device(command=1283)),
    row("memory off", FAIL, "was 0x6 and is 0x4", device(command=1285)),
    row("another bit of command", PASS, "kept", device(command=263)),
    row("BARs cleared", FAIL, "BARs was fe800000 .* is 0 0 0 0 0 0", device(config=BARS_GONE)),
    row("config outside the BARs differs", PASS, "kept", device(config=CONFIG[:-2] + "ff")),
    row("MSI-X off", FAIL, "MSI-X enable was True and is False", device(msix_enabled=False)),
    row("a reset was counted", FAIL, "number of resets .*was 2 and is 3", device(reset_count_hint=3)),
    row("the log forgot a reset", PASS, "kept", device(reset_count_hint=1)),
    row("resets cannot be counted", PASS, "kept", device(reset_count_hint=None)),
    row(
        "a register only a reset clears",
        FAIL,
        "pcie_device_control was 8 and is 0",
        lambda s: s.change("host.device", {"when": "before"}, cleared_by_reset={"pcie_device_control": 8}),
        device(cleared_by_reset={"pcie_device_control": 0}),
    ),
    row(
        "MSI off",
        FAIL,
        "msi_control was 129 and is 128",
        lambda s: s.change("host.device", {"when": "before"}, cleared_by_reset={"msi_control": 129}),
        device(cleared_by_reset={"msi_control": 128}),
    ),
    row(
        "bus mastering was off before",
        UNKNOWN,
        "bus mastering was off",
        lambda s: s.change("host.device", command=1283),
    ),
    row("a reset is logged in the update", FAIL, f"says at update 1: {RESET}", host_log(1200, RESET)),
    row("and a little later", FAIL, "resetting", host_log(OK + 200, RESET)),
    row("a reset when the guest ends", PASS, "kept", host_log(3700, RESET)),
    row("a reset before", PASS, "kept", host_log(100, RESET)),
    row("an AER error", FAIL, "AER", host_log(1200, "pcieport 0000:00:01.0: AER: Corrected error received")),
    row("AER switched on", PASS, "kept", host_log(1200, "pcieport 0000:00:01.0: AER: enabled with IRQ 25")),
    row("a function level reset", FAIL, "FLR", host_log(1200, f"{BDF}: FLR timed out")),
    row("nobody read the host's log", UNKNOWN, "kmsg-host was not", lambda s: s.drop("witness.start")),
    row("the log was left early", UNKNOWN, "stopped before the end", lambda s: s.move("witness.stop", 1300)),
    row("the log's reader is blind", UNKNOWN, "kmsg-host went blind", says_blind("kmsg-host")),
    row("no snapshots", UNKNOWN, "no host.device", lambda s: s.drop("host.device")),
    row("no snapshot after", UNKNOWN, "after update 1", lambda s: s.drop("host.device", when="after")),
    row("blind", UNKNOWN, "device went blind", says_blind("device")),
    row("refused", UNKNOWN, "refused", refused),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", DEVICE)
def test_device_not_reset(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(device_not_reset, tmp_path, spoil, updates, outcome, says)


V0, V1 = f"vfio-msix[0]({BDF})", f"vfio-msix[1]({BDF})"


def vectors(when: str, **counts: int) -> Any:
    named = {f"vfio-msix[{name[1:]}]({BDF})": count for name, count in counts.items()}
    return lambda s: s.change("host.interrupts", {"when": when, "update": 1}, vectors=named)


def guest_log(ms: float, text: str) -> Any:
    return lambda s: s.add(ms, "log", where="guest", level=6, text=text, t_src_ns=0)


WATCHDOG = "NETDEV WATCHDOG: CPU: 0: transmit queue 0 timed out"
INTERRUPTS = [
    row("they keep coming", PASS, f"^400 interrupts of {BDF} after update 1$"),
    row("two updates", PASS, "after update 2", updates=2),
    row(
        "none comes after the update",
        FAIL,
        "no interrupt .* came after update 1",
        vectors("after", v0=1, v1=1100),
    ),
    row("one comes", PASS, "^1 interrupts", vectors("after", v0=1, v1=1101)),
    row(
        "a vector is gone",
        FAIL,
        r"1 vectors .* gone since update 1: vfio-msix\[0\]",
        vectors("after", v1=1500),
    ),
    row(
        "a vector counts anew",
        FAIL,
        "counts anew since update 1: from 1000 to 9",
        vectors("after", v0=1, v1=9),
    ),
    row("a new vector", PASS, "interrupts of", vectors("after", v0=1, v1=1500, v2=3)),
    row(
        "no interrupt before",
        UNKNOWN,
        "had raised no interrupt",
        vectors("before", v0=0, v1=0),
    ),
    row(
        "one snapshot after the update",
        UNKNOWN,
        "only 1 snapshot",
        lambda s: s.drop("host.interrupts", when="during"),
    ),
    row(
        "the first of two was taken inside the update",
        UNKNOWN,
        "only 1 snapshot",
        lambda s: s.move("host.interrupts", 1300, when="during"),
    ),
    row("no snapshot after", UNKNOWN, "after update 1", lambda s: s.drop("host.interrupts", when="after")),
    row("no snapshots", UNKNOWN, "no host.interrupts", lambda s: s.drop("host.interrupts")),
    row("blind", UNKNOWN, "interrupts went blind", says_blind("interrupts")),
    row("the guest's watchdog barks", FAIL, "guest's kernel says: NETDEV", guest_log(AFTER, WATCHDOG)),
    row("it barked before", PASS, "interrupts of", guest_log(100, WATCHDOG)),
    row("a timeout", FAIL, "Timeout", guest_log(AFTER, "igb 0000:00:02.0: Tx Timeout")),
    row("nobody read the guest's log", UNKNOWN, "nobody read the guest", lambda s: s.drop("guest.booted")),
    row("the guest's log is blind", UNKNOWN, "kmsg-guest went blind", says_blind("kmsg-guest")),
    row("refused", UNKNOWN, "refused", refused),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", INTERRUPTS)
def test_interrupts_flow(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(interrupts_flow, tmp_path, spoil, updates, outcome, says)


def test_the_story_is_told_in_order() -> None:
    assert INVOKE < EXEC < OK < AFTER


def unmap(ms: float, task: str, iova: str = "0x0000000003edc000") -> Any:
    """A range is unmapped by this thread of QEMU's."""

    def spoil(story: Story) -> None:
        fields = {"iova": iova, "size": "4096", "task": task}
        story.add(ms, "trace.event", name="iommu:unmap", t_src_ns=host_ns(ms), fields=fields)
        story.change("trace.close", counts={"sched:sched_process_exec": 1, "iommu:unmap": 1})

    return spoil


OWN_IOMMU = [
    row(
        "the guest unmaps before it is paused",
        PASS,
        "1 of BARs or by the guest itself",
        unmap(1050, "CPU 0/KVM"),
    ),
    row("a thread without a name yet", PASS, "1 of BARs or by the guest itself", unmap(1600, "<...>")),
    row("QEMU unmaps", FAIL, "1 ranges were unmapped", unmap(1050, "qemu-system-x86")),
    row("unmapped while the guest is paused", FAIL, "1 ranges were unmapped", unmap(1300, "CPU 0/KVM")),
    row("a thread without a name, while it is paused", FAIL, "1 ranges", unmap(1300, "<...>")),
    row(
        "more were counted than told of",
        FAIL,
        "2 ranges were unmapped",
        unmap(1050, "CPU 0/KVM"),
        lambda s: s.change("trace.close", counts={"sched:sched_process_exec": 1, "iommu:unmap": 3}),
    ),
    row(
        "nobody knows when it was paused",
        UNKNOWN,
        "nobody knows when the guest was paused",
        lambda s: s.drop("qmp.event", name="RESUME"),
    ),
    row("nothing is unmapped at all", PASS, "^no unmap and no fault"),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", OWN_IOMMU)
def test_mappings_of_a_guest_with_its_own_iommu(
    tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int
) -> None:
    hold(mappings_kept(own_iommu=True), tmp_path, spoil, updates, outcome, says)


def test_bar_is_no_guest_ram(tmp_path: Path) -> None:
    """edu's, which QEMU took away while it handled an INTx right after RESUME."""
    spoil = (unmap(1600, "qemu-system-x86", "0x00000000fea00000"),)
    hold(mappings_kept(), tmp_path / "bar", spoil, 1, PASS, "1 of BARs")
    above = (unmap(1600, "qemu-system-x86", "0x00000000fffff000"),)
    hold(mappings_kept(), tmp_path / "last", above, 1, PASS, "1 of BARs")
    for iova in ("0x0000000100000000", "0x00000000bffff000", "0x0", "none"):
        spoil = (unmap(1600, "qemu-system-x86", iova),)
        hold(mappings_kept(), tmp_path / iova, spoil, 1, FAIL, "1 ranges were unmapped")


def test_the_same_address_is_memory_of_a_guest_with_its_own_iommu(tmp_path: Path) -> None:
    spoil = (unmap(1300, "CPU 0/KVM", "0x00000000fefdc000"),)
    hold(mappings_kept(own_iommu=True), tmp_path, spoil, 1, FAIL, "1 ranges were unmapped")


def test_a_guest_without_its_own_iommu_unmaps_nothing(tmp_path: Path) -> None:
    hold(mappings_kept(), tmp_path, (unmap(1050, "CPU 0/KVM"),), 1, FAIL, "1 ranges were unmapped")
