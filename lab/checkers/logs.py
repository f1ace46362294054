"""Nobody complains: host kernel, guest kernel and QEMU.

Source: Linux include/linux/kern_levels.h, level 4 is KERN_WARNING; some of the worst (segfault,
AER) are logged at other levels and known by their words.
"""

import re
from dataclasses import dataclass

from lab.checkers.benign import STANDARD, Benign, harmless
from lab.checkers.findings import Findings
from lab.checkers.guest import SILENCE_S, silent_s
from lab.checkers.updates import awake, completed, fresh_epoch, seeing
from lab.timeline import Event, Timeline
from lab.verdict import Verdict

BAD_WORDS = re.compile(
    r"WARNING:|\bBUG\b|\bOops\b|Call Trace|IO_PAGE_FAULT|DMAR:.*(fault|error|\[DMA)|AER:.*(error|recovery)"
    r"|PCIe Bus Error|segfault|general protection|Out of memory|soft lockup|blocked for more than",
    re.IGNORECASE,
)
_WARNING = 4


@dataclass(frozen=True)
class LogsClean:
    """No message of warning or worse, and no line of QEMU's, but the reviewed ones.

    Reads: log {where, level, text}; witness.*; qemu.start; guest.booted; guest.heartbeat; cpr.*.
    benign: the reviewed messages; see lab/checkers/benign.txt
    """

    benign: tuple[Benign, ...] = STANDARD

    @property
    def __name__(self) -> str:
        return "logs_clean"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        done = completed(found, timeline)
        awake(found, timeline, "kmsg-host")
        seeing(found, timeline, "kmsg-guest")
        seeing(found, timeline, "qemu-stderr")
        if not timeline.of("qemu.start") and not timeline.of("witness.start", witness="qemu-stderr"):
            found.gap("nobody read QEMU's stderr")
        if not timeline.of("guest.booted"):
            found.gap("the guest's agent never came up, so nobody read the guest's log")
        for update in done:
            epoch = fresh_epoch(found, timeline, update)
            if epoch is None:
                continue
            if not (beats := timeline.of("guest.heartbeat", epoch=epoch)):
                found.gap(f"nobody read the guest's log after {update.name}", update.done)
            # who reads the log is who beats
            elif (silence_s := silent_s(timeline, update, beats[-1])) > SILENCE_S:
                found.gap(
                    f"nobody read the guest's log in the last {silence_s:.1f} s after {update.name}",
                    beats[-1],
                )
        self._judge(found, timeline)
        return found.verdict()

    def _judge(self, found: Findings, timeline: Timeline) -> None:
        logs = timeline.of("log")
        complaints = [e for e in logs if complaint(e)]
        seen: dict[tuple[str, str], list[Event]] = {}
        for event in complaints:
            where, text = str(event.data.get("where")), str(event.data.get("text", "")).strip()
            if not harmless(where, text, self.benign):
                seen.setdefault((where, text), []).append(event)
        for (where, text), events in seen.items():
            times = f" ({len(events)} times)" if len(events) > 1 else ""
            found.defect(f"{where} says{times}: {text}", *events[:3])
        reviewed = len(complaints) - sum(map(len, seen.values()))
        readers = [*timeline.of("witness.start", witness="kmsg-host"), *timeline.of("guest.booted")]
        found.fact(
            f"{len(logs)} messages, {reviewed} of them complaints that are reviewed and harmless", *readers
        )


def complaint(event: Event) -> bool:
    """Whether a message is one that somebody must have looked at."""
    level, text = event.data.get("level"), str(event.data.get("text", ""))
    if level == "stderr":
        return bool(text.strip())
    return (isinstance(level, int) and level <= _WARNING) or BAD_WORDS.search(text) is not None
