"""Nothing adds up over many updates: what QEMU and the host's kernel hold does not grow.

Source: the claim of testcases/test_cpr_exec_endurance.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from lab.checkers.findings import Findings
from lab.checkers.updates import Update, completed, seeing
from lab.timeline import Event, Timeline
from lab.verdict import Verdict

WARM_UP = 2
"""Updates until what is made once is made: the host's caches, the allocator's arenas of new QEMU."""
FEWEST = 6
"""Updates after that without which there is no trend: two in each third."""
KIB = 1 << 10


@dataclass(frozen=True)
class Quantity:
    """One thing that must not grow.

    unit:    what it is counted in
    of:      its value in a host.footprint
    allowed: how much more of it there may be in the last third of the updates than in the first, however
             many updates there are: what it differs by when nothing leaks
    reason:  why so much
    """

    name: str
    unit: str
    of: Callable[[Mapping[str, object]], float]
    allowed: float
    reason: str


def _field(name: str) -> Callable[[Mapping[str, object]], float]:
    return lambda seen: float(str(seen[name]))


def _slabs(*starts: str) -> Callable[[Mapping[str, object]], float]:
    def of(seen: Mapping[str, object]) -> float:
        slabs = seen["slab_bytes"]
        assert isinstance(slabs, Mapping)
        return float(sum(size for name, size in slabs.items() if str(name).startswith(starts)) / KIB)

    return of


EXACT = "each is opened by somebody; the median leaves out what is open for a moment"
QUANTITIES = (
    Quantity("descriptors", "files", _field("descriptors"), 0, EXACT),
    Quantity("eventfds", "files", _field("eventfds"), 0, EXACT),
    Quantity("interrupt vectors of VFIO", "vectors", _field("vectors"), 0, EXACT),
    Quantity("threads", "threads", _field("threads"), 1, "a worker thread comes and goes"),
    Quantity("mappings", "mappings", _field("mappings"), 8, "the allocator splits and merges its own"),
    Quantity("pinned pages", "pages", _field("pinned_pages"), 64, "direct I/O of others, as in pins.py"),
    Quantity("IOMMU page tables", "pages", _field("iommu_pages"), 8, "what is mapped stays mapped as it was"),
    Quantity(
        "anonymous memory",
        "KiB",
        _field("rss_anon_kb"),
        12288,
        "QEMU 11.1.3 had 29 to 31 MiB after 27 of 30 updates and 19 after 3: what its allocator gives back",
    ),
    Quantity(
        "slabs of VFIO, the IOMMU and KVM",
        "KiB",
        _slabs("vfio", "iommu", "iova", "dmar", "kvm", "x86_emulator", "pte_list"),
        128,
        "a slab in part use counts as a whole: two more of kvm_vcpu's, of 26 KiB, in 30 updates",
    ),
    Quantity(
        "other slabs",
        "KiB",
        _slabs("kmalloc", "maple_node", "vm_area", "filp", "eventpoll"),
        512,
        "4 MiB of the whole host, the lab's own included; 240 KiB more in 20 updates, none in 10 more",
    ),
)


LOG = "lines an update in the host's log"
LOG_ALLOWED = 2
"""Messages that come with every update are no growth, and what they say is judged by logs_clean."""


@dataclass(frozen=True)
class NothingGrows:
    """From the first third of the updates to the last nothing of QUANTITIES becomes more than its noise.

    Medians of thirds are compared, after a warm-up: a single update that held more for a moment proves
    nothing, and what leaks at each update is the more by the last third the more updates there were.

    Reads: host.footprint {update, ...}; log {where: host}; cpr.*; witness.blind.
    """

    @property
    def __name__(self) -> str:
        return "nothing_grows"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        done = completed(found, timeline)
        seeing(found, timeline, "footprint")
        after = {int(e.data["update"]): e for e in timeline.of("host.footprint")}
        seen = [after[update.number] for update in done if update.number in after]
        if missing := [update.name for update in done if update.number not in after]:
            found.gap(f"nobody looked at what is held after {', '.join(missing[:3])}")
        if (few := len(seen) - WARM_UP) < FEWEST:
            found.gap(f"{max(few, 0)} updates after the warm-up show no trend, {FEWEST} would")
            return found.verdict()
        thirds = _thirds(seen[WARM_UP:])
        for quantity in QUANTITIES:
            _compare(found, quantity, *thirds)
        if seeing(found, timeline, "kmsg-host"):
            _log(found, timeline, done[WARM_UP:])
        return found.verdict()


Thirds = tuple[Sequence[Event], Sequence[Event]]


def _thirds(seen: Sequence[Event]) -> Thirds:
    third = len(seen) // 3
    return seen[:third], seen[-third:]


def _compare(found: Findings, quantity: Quantity, first: Sequence[Event], last: Sequence[Event]) -> None:
    old, new = (median(quantity.of(event.data) for event in part) for part in (first, last))
    _judge(found, quantity.name, old, new, quantity.allowed, _between(first, last), (first[0], last[-1]))


def _log(found: Findings, timeline: Timeline, done: Sequence[Update]) -> None:
    """How much each update made the host's kernel say."""
    said = [e.index for e in timeline.of("log", where="host")]
    lines = [(u.invoke, sum(u.invoke.index < at < u.until for at in said)) for u in done]
    third = len(lines) // 3
    first, last = lines[:third], lines[-third:]
    old, new = (median(count for _, count in part) for part in (first, last))
    _judge(found, LOG, old, new, LOG_ALLOWED, len(lines) - third, (first[0][0], last[-1][0]))


def _between(first: Sequence[Event], last: Sequence[Event]) -> float:
    """Updates between the middles of two parts."""
    return float(median(int(e.data["update"]) for e in last) - median(int(e.data["update"]) for e in first))


def _judge(
    found: Findings,
    name: str,
    old: float,
    new: float,
    allowed: float,
    updates: float,
    events: tuple[Event, Event],
) -> None:
    told = f"{name}: {old:g} at first, {new:g} at last"
    if new - old > allowed:
        each = (new - old) / updates
        found.defect(f"{told}, {each:.3g} more with each update ({allowed:g} in all is noise)", *events)
    else:
        found.fact(told, *events)
