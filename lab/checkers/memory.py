"""What backs the guest's memory: the pages that were asked for, and what a balloon gave back stays away.

Source: Linux Documentation/admin-guide/mm/pagemap.rst (kpageflags), hugetlbpage.rst; QEMU
docs/devel/migration/CPR.rst: memory is preserved in place, whatever backs it.
"""

from dataclasses import dataclass

from lab.checkers.findings import Findings
from lab.checkers.pfns import before_and_after
from lab.checkers.updates import Update, completed, seeing
from lab.timeline import Event, Timeline
from lab.verdict import Verdict

HUGE_KB = {"2m": 2048, "1g": 1 << 20}
_THP_KB = 2048
_NEEDED = 8
_MOST = 0.5
_MIB = 1 << 20


@dataclass(frozen=True)
class PagesAsAsked:
    """Guest memory is backed by the pages that were asked for, before and after each update.

    Reads: host.memory {when, update, of, bytes, kernel_page_kb, pages {kB: samples}}; cpr.*.
    page: "4k" (none is larger), "thp" (most are of 2 MiB, none of hugetlb), "2m", "1g" (all, of hugetlb)
    """

    page: str

    @property
    def __name__(self) -> str:
        return "pages_as_asked"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        done = completed(found, timeline)
        seeing(found, timeline, "memory")
        files = list(dict.fromkeys(str(e.data["of"]) for e in timeline.of("host.memory", when="before")))
        if not files:
            found.gap("nobody looked at what backs the guest's memory")
        for update in done:
            for of in files:
                pair = before_and_after(found, timeline, "host.memory", update, of=of)
                if pair is not None:
                    self._judge(found, f"before {update.name}", pair[0])
                    self._judge(found, f"after {update.name}", pair[1])
        return found.verdict()

    def _judge(self, found: Findings, when: str, seen: Event) -> None:
        pages = {int(kb): int(count) for kb, count in seen.data["pages"].items()}
        samples, mapped_kb = sum(pages.values()), int(seen.data["kernel_page_kb"])
        if samples < _NEEDED:
            found.gap(f"only {samples} pages of {seen.data['of']} could be looked at {when}", seen)
            return
        listed = ", ".join(f"{count} of {kb} kB" for kb, count in sorted(pages.items()))
        if (wrong := self._wrong(pages, samples, mapped_kb)) == "":
            found.fact(f"{seen.data['of']} of {seen.data['bytes'] // _MIB} MiB is {listed} {when}", seen)
        elif mapped_kb == 0:
            found.gap(f"{seen.data['of']} is not mapped {when}, so whose pages it has cannot be told", seen)
        else:
            found.defect(f"{seen.data['of']} is not backed by {self.page} {when}: {wrong} ({listed})", seen)

    def _wrong(self, pages: dict[int, int], samples: int, mapped_kb: int) -> str:
        """What is not as it was asked for; empty if all is."""
        if self.page in HUGE_KB:
            kb = HUGE_KB[self.page]
            return (
                "" if mapped_kb == kb and set(pages) == {kb} else f"its mapping has pages of {mapped_kb} kB"
            )
        if mapped_kb != 4:
            return f"its mapping has pages of {mapped_kb} kB"
        if self.page == "4k":
            return "" if set(pages) == {4} else "some are larger"
        huge = sum(count for kb, count in pages.items() if kb >= _THP_KB)
        return "" if huge > samples * _MOST else f"{huge} of {samples} samples lie in huge pages"


@dataclass(frozen=True)
class StaysGivenBack:
    """What the balloon took from the guest stays taken, and the host keeps what it was given.

    Reads: guest.balloon {when, update, actual_bytes}; host.memory {when, update, of, bytes, allocated_bytes};
        cpr.*.
    inhibited: a device assigned by VFIO has pinned the memory, so that the host is given nothing (QEMU
        hw/virtio/virtio-balloon.c, qemu_balloon_is_inhibited); then nothing may be missing
    tolerance_mib: a guest's balloon gives back and takes pages all the time
    """

    inhibited: bool = False
    tolerance_mib: int = 8
    of: str = "ram0"

    @property
    def __name__(self) -> str:
        return "stays_given_back"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        done = completed(found, timeline)
        seeing(found, timeline, "memory")
        seeing(found, timeline, "balloon")
        for update in done:
            balloon = before_and_after(found, timeline, "guest.balloon", update)
            memory = before_and_after(found, timeline, "host.memory", update, of=self.of)
            if balloon is not None and memory is not None:
                self._judge(found, update, balloon, memory)
        return found.verdict()

    def _judge(
        self, found: Findings, update: Update, balloon: tuple[Event, Event], memory: tuple[Event, Event]
    ) -> None:
        size = int(memory[0].data["bytes"])
        actual, after = (int(event.data["actual_bytes"]) for event in balloon)
        if actual > size - self.tolerance_mib * _MIB:
            found.gap(f"the balloon was not inflated before {update.name}", balloon[0])
            return
        if after != actual:
            text = f"the guest had {actual // _MIB} MiB and has {after // _MIB} MiB since {update.name}"
            found.defect(text, *balloon)
        held = [int(event.data["allocated_bytes"]) for event in memory]
        expected = size if self.inhibited else actual
        if abs(held[0] - expected) > self.tolerance_mib * _MIB:
            text = f"the host held {held[0] // _MIB} MiB before {update.name}, not {expected // _MIB} MiB"
            found.gap(text, memory[0])
        elif abs(held[1] - held[0]) > self.tolerance_mib * _MIB:
            text = f"the host held {held[0] // _MIB} MiB and holds {held[1] // _MIB} MiB since {update.name}"
            found.defect(text, *memory)
        found.fact(
            f"the guest has {after // _MIB} MiB, the host holds {held[1] // _MIB} MiB after {update.name}",
            *balloon,
            *memory,
        )
