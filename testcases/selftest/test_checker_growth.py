"""nothing_grows: truth table; and what the host agent counts for it."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from lab.agents.host.footprint import footprint, slab_bytes
from lab.agents.rpc import AgentError
from lab.checkers import nothing_grows
from lab.checkers.growth import QUANTITIES

from .spoilers import refused
from .story import Story
from .timelines import INVOKE, at
from .truth import FAIL, PASS, UNKNOWN, hold, row

UPDATES = 11
"""Two to warm up, three in each third."""
COUNTS = {"descriptors": 62, "eventfds": 21, "vectors": 10, "threads": 5, "mappings": 410}
HELD = {**COUNTS, "pinned_pages": 65600, "iommu_pages": 140, "rss_anon_kb": 18000}
SLABS = {"iommu_iova": 4096, "vfio_x": 512, "kmalloc-cg-64": 90000, "kvm_vcpu": 9000}


def held(story: Story) -> None:
    """What is held after each update is the same."""
    for update in range(1, story.updates + 1):
        story.add(at(update, 2650), "host.footprint", update=update, pid=157, **HELD, slab_bytes=dict(SLABS))


def more(name: str, each: float, *updates: int) -> Any:
    """So much more with each of these updates, by default all of them."""

    def spoil(story: Story) -> None:
        total = 0.0
        for update in range(1, story.updates + 1):
            total += each if update in (updates or range(UPDATES + 1)) else 0
            if name in SLABS:
                slabs = {**SLABS, name: SLABS[name] + int(total)}
                story.change("host.footprint", {"update": update}, slab_bytes=slabs)
            else:
                story.change("host.footprint", {"update": update}, **{name: HELD[name] + int(total)})

    return spoil


def only(name: str, value: int, update: int) -> Any:
    return lambda s: s.change("host.footprint", {"update": update}, **{name: value})


def said(growing: int) -> Any:
    """Three lines of the host's kernel at each update, and so many more each time."""

    def spoil(story: Story) -> None:
        for update in range(1, story.updates + 1):
            for line in range(3 + growing * update):
                story.add(at(update, INVOKE + 10), "log", where="host", level=4, text=f"line {line}")

    return spoil


def grows(sentence: str, outcome: Any, says: str, *spoil: Any, updates: int = UPDATES) -> Any:
    return row(sentence, outcome, says, held, *spoil, updates=updates)


GROWTH = [
    grows("nothing grows", PASS, "^descriptors: 62 at first, 62 at last; eventfds: 21"),
    grows(
        "a descriptor leaks each time",
        FAIL,
        "^descriptors: 66 at .*72 at last, 1 more",
        more("descriptors", 1),
    ),
    grows("a descriptor leaks now and then", FAIL, "^descriptors: 62.*63 at last", more("descriptors", 1, 6)),
    grows("eventfds leak", FAIL, "^eventfds", more("eventfds", 1)),
    grows("vectors leak", FAIL, "interrupt vectors of VFIO", more("vectors", 1)),
    grows("mappings leak", FAIL, "^mappings", more("mappings", 4)),
    grows("threads leak", FAIL, "^threads", more("threads", 1)),
    grows("pages stay pinned", FAIL, "^pinned pages", more("pinned_pages", 512)),
    grows("page tables are left behind", FAIL, "^IOMMU page tables", more("iommu_pages", 2)),
    grows("memory leaks", FAIL, "^anonymous memory", more("rss_anon_kb", 4096)),
    grows("the IOMMU's objects leak", FAIL, "^slabs of VFIO", more("iommu_iova", 65536)),
    grows("the kernel's memory leaks", FAIL, "^other slabs", more("kmalloc-cg-64", 1 << 20)),
    grows("a KVM leaks", FAIL, "^slabs of VFIO.* and KVM", more("kvm_vcpu", 131072)),
    grows("the host says more and more", FAIL, "^lines an update in the host's log: 7", said(1)),
    grows("the host says the same each time", PASS, "^descriptors", said(0)),
    grows("the first two updates cost something", PASS, "64 at first, 64", more("descriptors", 1, 1, 2)),
    grows("one look sees more", PASS, "62 at last", only("descriptors", 90, UPDATES)),
    grows("less and less", PASS, "^descriptors", more("descriptors", -1)),
    grows("memory goes up and down", PASS, "^descriptors", only("rss_anon_kb", 7000, 4)),
    grows("too few updates", UNKNOWN, "5 updates after the warm-up show no trend, 6 would", updates=7),
    grows("just enough updates", PASS, "^descriptors: 62", updates=8),
    grows("a leak seen in just enough", FAIL, "^descriptors", more("descriptors", 1), updates=8),
    row("nobody looked", UNKNOWN, "nobody looked at what is held after update 1, update 2", updates=8),
    grows("nobody looked once", UNKNOWN, "after update 4", lambda s: s.drop("host.footprint", update=4)),
    grows(
        "the witness is blind",
        UNKNOWN,
        "witness footprint went blind: no process",
        lambda s: s.add(9000, "witness.blind", witness="footprint", reason="no process"),
    ),
    grows(
        "the log's reader is blind",
        UNKNOWN,
        "witness kmsg-host went blind",
        lambda s: s.add(9000, "witness.blind", witness="kmsg-host", reason="overrun"),
    ),
    grows("an update was refused", UNKNOWN, "did not complete", refused),
]


@pytest.mark.parametrize(("spoil", "outcome", "says", "updates"), GROWTH)
def test_nothing_grows(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(nothing_grows(), tmp_path, spoil, updates, outcome, says)


def test_every_bound_has_its_reason() -> None:
    """A bound without one is a guess."""
    assert all(len(quantity.reason) > 20 for quantity in QUANTITIES)
    assert len({quantity.name for quantity in QUANTITIES}) == len(QUANTITIES)


SLABINFO = """slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables
iommu_iova           100    128     64   64    1 : tunables    0    0    0 : slabdata      2      2      0
dentry              9000   9000    192   21    1 : tunables    0    0    0 : slabdata    429    429      0
kmalloc-cg-1k         12     16   1024   16    4 : tunables    0    0    0 : slabdata      1      1      0
"""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A process with three descriptors on a host with slabs."""
    folder = tmp_path / "7"
    (folder / "fd").mkdir(parents=True)
    for number, link in enumerate(("/dev/null", "anon_inode:[eventfd]", "anon_inode:[eventfd]")):
        (folder / "fd" / str(number)).symlink_to(link)
    (folder / "status").write_text("Name:\tqemu\nVmRSS:\t   900 kB\nRssAnon:\t    40 kB\nThreads:\t5\n")
    (folder / "maps").write_text("7f00-7f01 rw-p 0 00:00 0\n7f02-7f03 rw-p 0 00:00 0\n")
    (tmp_path / "slabinfo").write_text(SLABINFO)
    (tmp_path / "vmstat").write_text(
        "nr_x 1\nnr_foll_pin_acquired 70\nnr_foll_pin_released 20\nnr_iommu_pages 9\n"
    )
    (tmp_path / "interrupts").write_text(
        "  59:   0  IR-PCI-MSIX  0-edge  vfio-msix[0](0000:01:00.0)\n  8: rtc0\n"
    )
    return tmp_path


def test_footprint_of_a_process(proc: Path) -> None:
    assert footprint(7, proc) == {
        **{"pid": 7, "descriptors": 3, "eventfds": 2, "mappings": 2, "threads": 5, "rss_anon_kb": 40},
        **{
            "vectors": 1,
            "pinned_pages": 50,
            "iommu_pages": 9,
            "slab_bytes": {"iommu_iova": 6400, "kmalloc-cg-1k": 12288},
        },
    }
    assert "dentry" not in slab_bytes(SLABINFO)


def test_no_process_and_no_counters(proc: Path) -> None:
    """What cannot be counted is never zero."""
    with pytest.raises(AgentError, match="no process 8"):
        footprint(8, proc)
    (proc / "vmstat").write_text("nr_x 1\n")
    with pytest.raises(AgentError, match="shows no nr_foll_pin_acquired"):
        footprint(7, proc)
    shutil.rmtree(proc / "7" / "fd")
    with pytest.raises(AgentError, match="no process 7"):
        footprint(7, proc)
