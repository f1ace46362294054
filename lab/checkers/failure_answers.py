"""The answers to the questions about one failure: words, with the evidence; None where that lacks."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from lab.checkers.account import account
from lab.checkers.excuse import excuse
from lab.checkers.failure_window import Window
from lab.checkers.findings import Findings
from lab.checkers.guest import RESTARTS
from lab.checkers.tables import Column, whole
from lab.checkers.updates import how_it_ended
from lab.streams import StreamFacts, streams
from lab.timeline import Event

TOLERANCE_PAGES = 64
"""Other processes pin and unpin a few pages (direct I/O)."""
_PAGES_PER_MIB = 256
_WAYS = ("to_guest", "from_guest")
_WRONG = ("lost", "damaged", "repeated", "reordered")
_NONE: Mapping[str, Any] = {"connections": 1, "eofs": 0, **{way: dict.fromkeys(_WRONG, 0) for way in _WAYS}}
_WORST = ("held", "reconnected", "lost")


def update(found: Findings, window: Window) -> str | None:
    """What became of the update: done, refused, died (QEMU has ended), hung (nobody knows).

    Or split: it was done, and then old QEMU was let go on with the same guest.
    """
    one = window.update
    found.fact(how_it_ended(one), *one.events)
    if split := [e for e in window.of("failure.said", window.begin.index) if e.data.get("split")]:
        found.fact(str(split[0].data.get("said")), split[0])
        return "split"
    if one.outcome == "ok":
        return "done"
    if gone := window.end_of_qemu(window.meant):
        found.fact(f"QEMU ended with {_how(gone)}", gone)
        return "died"
    return "refused" if one.outcome == "fail" else "hung"


def reason(found: Findings, window: Window, says: str) -> None:
    """A defect unless the recorded reason, a note of the lab or QEMU itself says what it must."""
    first = window.begin.index
    said = [str(window.update.done.data.get("reason", ""))]
    said += [str(e.data.get("said", "")) for e in window.of("failure.said", first)]
    said += [str(e.data["text"]) for e in window.of("log", first) if e.data.get("where") == "qemu"]
    if not any(re.search(says, text) for text in said):
        found.defect(
            f"nothing says {says!r}: it failed for another reason, or not at all", *window.update.events
        )


def guest(found: Findings, window: Window) -> str | None:
    """Whether the same guest runs on until the ordinary update begins."""
    if gone := window.end_of_qemu(window.meant):
        found.fact(f"QEMU ended with {_how(gone)}", gone)
        return "lost"
    beats = _beats(found, window)
    if beats is None:
        return None
    before = [e for e in window.timeline.of("guest.heartbeat") if e.index < window.update.invoke.index]
    again = [e for e in window.of("qmp.event", window.begin.index) if e.data.get("name") in RESTARTS]
    if beats and before and beats[-1].data["boot_id"] == before[-1].data["boot_id"]:
        if any(e.data.get("memory_intact") is False for e in beats):
            found.defect("the guest's memory pattern is damaged", beats[0])
        elif not any(e.data.get("memory_intact") is True for e in beats):
            found.gap("the guest's memory was not checked since", beats[0])
        found.fact(f"beat {beats[0].data['beat']} to {beats[-1].data['beat']} since", beats[0], beats[-1])
        return "lives"
    if again:
        found.fact(f"QEMU said {again[0].data['name']}", again[0])
        return "rebooted"
    return _without_beats(found, window)


def _beats(found: Findings, window: Window) -> list[Event] | None:
    epoch = window.epoch(window.update)
    if epoch is None:
        found.gap("no new epoch was opened", window.update.done)
        return None
    return [e for e in window.of("guest.heartbeat") if int(e.data["epoch"]) >= epoch]


def _without_beats(found: Findings, window: Window) -> str | None:
    told = [e for e in window.of("qmp.reply") if e.data.get("command") == "query-status"]
    status = told[-1].data.get("result", {}).get("status") if told else None
    if status not in (None, "running"):
        found.fact(f"QEMU answers, and the guest is {status}", told[-1])
        return "paused"
    silent = window.of("guest.unreachable") + window.of("load.unreachable")
    if not silent:
        found.gap("no heartbeat was heard, and nobody called the guest in vain")
        return None
    found.fact(f"no heartbeat, and no answer: {silent[0].data.get('reason')}", silent[0])
    return "silent"


def dma(found: Findings, window: Window) -> str | None:
    """Every stream's blocks sent from before the failure until the ordinary update: the worst of them."""
    said = [_stream(found, window, facts) for facts in streams(window.timeline)]
    if not said:
        found.gap("no load declares a stream")
    known = [word for word in said if word is not None]
    # an unknown stream may have been worse
    return max(known, key=("intact", "lost", "stopped").index) if known and len(known) == len(said) else None


def _stream(found: Findings, window: Window, facts: StreamFacts) -> str | None:
    sent = whole(found, window.timeline, facts.sent)
    received = whole(found, window.timeline, facts.received)
    epoch = window.epoch(window.update)
    if sent is None or received is None or epoch is None:
        return None
    ours = (sent["epoch"] >= epoch - 1) & (sent["epoch"] <= epoch)
    seqs = np.asarray(sent["seq"][ours])
    if not len(seqs):
        found.gap(f"no block {facts} was sent around the failure")
        return None
    if not np.any(received["epoch"] == epoch):
        found.fact(f"no block {facts} came after the failure", window.update.done)
        return "stopped"
    mine = (received["seq"] >= seqs[0]) & (received["seq"] <= seqs[-1])
    wrong = int(np.count_nonzero(received["good"][mine] == 0))
    return _account(found, window, facts, seqs, received["seq"][mine], wrong)


def _account(
    found: Findings, window: Window, facts: StreamFacts, sent: Column, received: Column, wrong: int
) -> str | None:
    try:
        result = account(sent, received)
    except ValueError as damage:
        found.gap(str(damage))
        return None
    late = result.reordered if facts.ordered else 0
    if wrong or result.repeated or late:
        found.fact(f"{facts}: {wrong} blocks wrong, {result.repeated} came again, {late} late")
        return "lost"
    if not result.lost:
        found.fact(f"{result.received} blocks {facts} intact")
        return "intact"
    text = f"{result.lost} of {result.sent} blocks {facts} lost"
    if excused := excuse(window.timeline, facts, result.lost):
        found.gap(f"{text}; {excused.text}", *excused.events)
        return None
    found.fact(text)
    return "lost"


def interrupts(found: Findings, window: Window) -> str | None:
    """Whether every function's counters rise between two looks after the failure."""
    seen = window.of("host.interrupts")
    bdfs = sorted({str(e.data["bdf"]) for e in seen})
    words = []
    for bdf in bdfs:
        looks = [e for e in seen if e.data["bdf"] == bdf]
        if len(looks) < 2:
            found.gap(f"only one look at the interrupts of {bdf}", *looks)
            return None
        old, new = (_total(looks[at].data["vectors"]) for at in (0, -1))
        found.fact(f"{max(0, new - old)} interrupts of {bdf} since", looks[0], looks[-1])
        words.append("flow" if new > old else "stopped")
    if not words:
        found.gap("nobody looked at the interrupts after the failure")
        return None
    return "stopped" if "stopped" in words else "flow"


def _total(vectors: Mapping[str, int]) -> int:
    return sum(int(count) for count in vectors.values())


def chardevs(found: Findings, window: Window) -> str | None:
    """The worst of what happened to any chardev's connection and lines until the ordinary update."""
    names = sorted({str(e.data["chardev"]) for e in window.timeline.starting("chardev.")})
    words = [_chardev(found, window, name) for name in names]
    if not words:
        found.gap("no chardev was ever seen")
    known = [word for word in words if word is not None]
    return max(known, key=_WORST.index) if known and len(known) == len(words) else None


def _chardev(found: Findings, window: Window, name: str) -> str | None:
    first = window.begin.index
    cut = [e for e in window.of("chardev.eof", first) if e.data["chardev"] == name]
    back = [e for e in window.of("chardev.reopen", first) if e.data["chardev"] == name]
    reports = [e for e in window.of("chardev.report") if e.data["chardev"] == name]
    if not reports:
        # while QEMU execs, its old listener may accept once more, and drop the connection
        if cut and (not back or back[-1].index < cut[-1].index):
            found.fact(f"{name} was cut, and stayed so", cut[-1])
            return "lost"
        return _unheard(found, window, name)
    now = reports[-1]
    earlier = [e for e in window.timeline.of("chardev.report", chardev=name) if e.index < first]
    before = earlier[-1].data if earlier else _NONE
    wrong = {what: _more(now.data, before, what) for what in _WRONG if _more(now.data, before, what) > 0}
    if cut or back or int(now.data["eofs"]) > int(before["eofs"]):
        found.fact(f"{name} was cut and connected anew; {wrong or 'nothing'} lost or wrong", now)
        return "reconnected"
    epoch = window.epoch(window.update) or 0
    late = [way for way in _WAYS if int(now.data[way]["last_epoch"]) < epoch]
    slow = [way for way in late if _behind(now.data[way]) and _count(now.data, before, way, "received") > 0]
    if late and late == slow and not wrong:
        found.gap(
            f"{name} was not cut, but is behind: {_behind(now.data[slow[0]])} lines had not come yet", now
        )
        return None
    if wrong or late:
        found.fact(f"{name} was not cut, but lines are missing or wrong: {wrong or 'all since'}", now)
        return "lost"
    found.fact(f"{name} held", now)
    return "held"


def _unheard(found: Findings, window: Window, name: str) -> str | None:
    """Of a chardev that is connected, but whose other end nobody could ask."""
    epoch = window.epoch(window.update)
    lines = whole(found, window.timeline, f"chardev.{name}.received")
    if lines is None or epoch is None or np.any(lines["epoch"] >= epoch):
        found.gap(f"nothing was reported of {name} after the failure", window.update.done)
        return None
    found.fact(f"{name} is connected, and no line came since", window.update.done)
    return "lost"


def _more(now: Mapping[str, Any], before: Mapping[str, Any], what: str) -> int:
    return sum(_count(now, before, way, what) for way in _WAYS)


def _count(now: Mapping[str, Any], before: Mapping[str, Any], way: str, what: str) -> int:
    """How many more there are of something; what is only on its way is not lost."""
    return sum(
        sign * (int(one[way].get(what, 0)) - (_behind(one[way]) if what == "lost" else 0))
        for sign, one in ((1, now), (-1, before))
    )


def _behind(way: Mapping[str, Any]) -> int:
    """Lines that were sent, and had not come when it was asked: a report counts them as lost."""
    return max(0, int(way.get("sent", 0)) - int(way.get("last_number", way.get("sent", 0))))


def next_update(found: Findings, window: Window) -> str | None:
    """Whether the ordinary update that follows brings the guest into new QEMU."""
    if window.after is None:
        found.gap("no ordinary update was brought to an end after it")
        return None
    found.fact(how_it_ended(window.after), *window.after.events)
    start = window.after.done.index
    if window.after.outcome == "fail" or (window.after.outcome == "info" and window.end_of_qemu()):
        return "fails"
    epoch = window.epoch(window.after)
    beats = [e for e in window.of("guest.heartbeat", start, window.until) if e.data["epoch"] == epoch]
    if window.after.outcome == "ok" and epoch is not None and beats:
        found.fact(f"beat {beats[0].data['beat']} in new QEMU", beats[0])
        return "succeeds"
    silent = window.of("guest.unreachable", start, window.until)
    if silent or window.end_of_qemu():
        found.fact("the guest was not heard of since", *silent[:1])
        return "fails"
    found.gap("no heartbeat was heard after the ordinary update", window.after.done)
    return None


def unpinned(found: Findings, window: Window) -> str | None:
    """Whether the host has no more pages pinned when QEMU is gone than before it was started."""
    levels = {str(e.data["when"]): e for e in window.timeline.of("host.pinned")}
    if missing := sorted({"before", "running", "gone"} - set(levels)):
        found.gap(f"the pinned pages were not counted {missing[0]}")
        return None
    before, running, gone = (int(levels[when].data["pages"]) for when in ("before", "running", "gone"))
    case = window.timeline.of("case")
    memory = int(case[0].data["parameters"]["memory_mib"]) * _PAGES_PER_MIB if case else 0
    if not memory or running - before < memory:
        found.gap(f"only {running - before} pages were pinned for the guest, whose memory has {memory}")
        return None
    found.fact(
        f"{before} pages pinned before QEMU, {running} with it, {gone} when it was gone", levels["gone"]
    )
    return "yes" if gone <= before + TOLERANCE_PAGES else "no"


def _how(gone: Event) -> str:
    return str(gone.data.get("signal") or f"status {gone.data.get('status')}")
