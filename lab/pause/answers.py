"""What a sweep says to each question, in sentences with a figure, its interval and its n. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from lab.pause.analysis import Analysis, Row, apart
from lab.pause.plan import TIMED, Point
from lab.pause.statistics import ratio
from lab.pause.words import (
    alike,
    differs,
    grown,
    moved,
    ms,
    of_small_pages,
    per_gib,
    plainness,
    share,
    speeds,
    times,
)

EXEC, TRANSFER, REBOOT = "cpr-exec", "cpr-transfer", "cpr-reboot"
COST_GOAL = 1.05
TEARDOWN = ("save: KVM", "exec: address space", "exec: KVM")
STILL = ("save", "exec", "start", "realise", "load")
"""Phases in which the guest's clock stands still: QEMU saves it as it begins, and sets it as it ends."""


def slower(found: Analysis) -> Iterator[str]:
    """Is exec slower than transfer because it does one thing after the other?"""
    both = [
        (one, other, compared)
        for point in found.points
        if (one := found.row(point, EXEC)) is not None
        and (other := found.row(point, TRANSFER)) is not None
        and not point.async_teardown
        and (compared := ratio(one.pause.values, other.pause.values)) is not None
    ]
    if not both:
        return
    one, other, compared = max(both, key=lambda pair: plainness(pair[0].point))
    teardown, start = one.phase_s(*TEARDOWN), one.phase_s("start", "realise")
    rest = one.phase_s("exec") - one.phase_s(*TEARDOWN[1:])
    yield (
        f"At {one.point} {EXEC} pauses the guest for {ms(one.pause)}, {TRANSFER} for {ms(other.pause)}: "
        f"{times(compared)}. Of exec's pause {share(start, one)} is new QEMU's start and devices, which "
        f"transfer does while the guest runs, {share(teardown, one)} the end of the old address space and "
        f"KVM, which it does afterwards, {share(rest, one)} the rest of the exec, and "
        f"{share(one.phase_s('load'), one)} the load of the state, which transfer has too."
    )
    if len(both) > 1:
        ratios = [of[0] for _, _, of in both]
        yield f"Over {len(both)} kinds of guest it is {min(ratios):.1f} to {max(ratios):.1f} times as long."


def memory(found: Analysis) -> Iterator[str]:
    """How does the pause grow with memory?"""
    for mode in found.modes:
        mine = [g for g in found.growths if g.mode == mode and g.of == "pause" and g.point.page == "any"]
        if mine:
            yield f"By {mode} the pause grows with memory {'; '.join(grown(found, g) for g in mine)}."


def pages(found: Analysis) -> Iterator[str]:
    """And with the size of pages?"""
    for growth in found.growths:
        if growth.of == "pause" and growth.point.page != "any":
            small = next((g for g in found.growths if g.of == "pause" and of_small_pages(g, growth)), None)
            beside = f", with pages as the host makes them {per_gib(small)}" if small else ""
            yield f"By {growth.mode} the pause grows with memory {grown(found, growth)}{beside}."
    yield from _one_thing(found, "2 MiB pages", lambda p: p.page == "2m", lambda p: replace(p, page="any"))


def prealloc(found: Analysis) -> Iterator[str]:
    """Does prealloc=on cost the update?"""
    for kind, words in (("old", "old QEMU's command alone"), ("both", "both commands")):
        yield from _one_thing(
            found,
            f"prealloc=on in {words}",
            lambda p, kind=kind: p.prealloc == kind,  # type: ignore[misc]
            lambda p: replace(p, prealloc="off"),
        )


def devices(found: Analysis) -> Iterator[str]:
    for count in (0, 2):
        yield from _one_thing(
            found,
            f"{count or 'no'} assigned NIC{'s' if count != 1 else ''}",
            lambda p, count=count: p.devices == count,  # type: ignore[misc]
            lambda p: replace(p, devices=1),
        )


def async_teardown(found: Analysis) -> Iterator[str]:
    """Does async-teardown help?"""
    for row in found.rows:
        other = found.row(replace(row.point, async_teardown=False), row.mode)
        if not row.point.async_teardown or other is None or row.mode != EXEC:
            continue
        compared = ratio(row.pause.values, other.pause.values)
        if not alike(differ := apart([row.yardstick, other.yardstick])):
            yield (
                f"With async-teardown=on {row.mode} pauses for {ms(row.pause)}, "
                f"{share(row.phase_s(*TEARDOWN), row)} of it the end of the old address space and KVM, "
                f"without it {share(other.phase_s(*TEARDOWN), other)}; whether it is shorter "
                f"cannot be told: {speeds(differ)} between the two guests."
            )
        elif compared is not None:
            yield (
                "async-teardown=on takes the end of the old address space and KVM out of exec's pause "
                f"({1000 * other.phase_s(*TEARDOWN):.0f} ms without it, "
                f"{1000 * row.phase_s(*TEARDOWN):.0f} ms with it): {ms(row.pause)} instead of "
                f"{ms(other.pause)}, {times(compared)}; but its helper process waits for the end of a "
                "parent that only execs, so each update leaves one behind, with the old address space "
                "(testcases/reproductions/async-teardown.sh)."
            )


def container(found: Analysis) -> Iterator[str]:
    """What does a container change?"""
    yield from _one_thing(found, "QEMU in a container", lambda p: p.boxed, lambda p: replace(p, boxed=False))


def clocks(found: Analysis) -> Iterator[str]:
    """Why does the QMP clock overstate the guest's own gap?"""
    told = [
        row
        for row in found.rows
        if row.still is not None
        and {"guest", "qmp", "running", "host"} <= row.clocks.keys()
        and not row.point.cost
    ]
    for mode in (EXEC, TRANSFER):
        rows = [row for row in told if row.mode == mode and row.phases]
        if rows:
            yield _overstated(max(rows, key=lambda row: plainness(row.point)))


def _overstated(row: Row) -> str:
    seen = {name: 1000 * series.median for name, series in row.clocks.items()}
    still_ms = 1000 * row.still.median if row.still else 0.0
    inside = ", ".join(f"{n} {1000 * row.phase_s(n):.0f}" for n in STILL if n in row.phases)
    return (
        f"At {row.point} by {row.mode} QMP STOP to query-status running is {seen['running']:.0f} ms, the "
        f"guest's own gap {seen['guest']:.0f} ms (n={row.pause.n}, "
        f"{seen['running'] / seen['guest']:.1f} times; without an update it has gaps of up to "
        f"{1000 * row.resolutions.get('guest', 0.0):.0f} ms). Of the {seen['host']:.0f} ms by the host's "
        f"kernel the guest's clock stands still for {still_ms:.0f}, while QEMU is in {inside}; it counts "
        f"stop, {1000 * row.phase_s('stop'):.0f}, resume, {1000 * row.phase_s('resume'):.0f} ms, and "
        "(inferred) the end of the load, once new QEMU has set it; QMP's answer comes "
        f"{seen['running'] - seen['qmp']:.0f} ms after RESUME."
    )


def reboot(found: Analysis) -> Iterator[str]:
    """What is in the pause of cpr-reboot?"""
    for row in found.rows:
        if row.mode == REBOOT and row.phases:
            parts = ", ".join(f"{name} {1000 * series.median:.0f}" for name, series in row.phases.items())
            yield (
                f"At {row.point} by {REBOOT} the vCPUs stand still for {ms(row.pause)}, and the guest is "
                f"away for {1000 * sum(row.phase_s(n) for n in row.phases if ':' not in n):.0f} ms: "
                f"{parts} ms."
            )


def load(found: Analysis) -> Iterator[str]:
    """Does DMA load change the pause, and what do its peers see?"""
    yield from _one_thing(found, "DMA load", lambda p: p.load, lambda p: replace(p, load=False))
    yield from _load_clock(found)


def _load_clock(found: Analysis) -> Iterator[str]:
    """What does the far end of the wire see?"""
    for row in found.rows:
        if row.point.load and {"load", "host"} <= row.clocks.keys():
            ordinary_ms = 1000 * row.resolutions.get("load", 0.0)
            yield (
                f"The far end of the wire sees no frame for {ms(row.clocks['load'])} at {row.point} "
                f"by {row.mode}, the pause by the host's kernel being {ms(row.pause)}; between two frames "
                f"there are up to {ordinary_ms:.0f} ms without an update."
            )


def cost(found: Analysis) -> Iterator[str]:
    """What do the witnesses themselves cost?"""
    for of in found.costs:
        value, low, high = of.ratio
        alone = len(of.witnesses) == 1
        who = f"the witness {of.witnesses[0]} alone" if alone else f"the witnesses {' '.join(of.witnesses)}"
        goal = ""
        if set(of.witnesses) == set(TIMED):
            who += ", which a sweep has,"
            goal = f", {'below' if value < COST_GOAL else 'above'} the goal of 5%"
        threads = ", ".join(
            f"{name} {100 * share:.1f}%" for name, share in of.effort.items() if share > 0.005
        )
        took = f"; the host agent's threads take of one processor: {threads}" if threads else ""
        yield (
            f"With {who} the pause is {ms(of.seen)} by QEMU's STOP and RESUME, with none {ms(of.bare)}: "
            f"{100 * (value - 1):+.1f}% by pairs (95%: {100 * (low - 1):+.1f}% to "
            f"{100 * (high - 1):+.1f}%){goal}{took}."
        )


def _one_thing(
    found: Analysis, what: str, changed: Callable[[Point], bool], base: Callable[[Point], Point]
) -> Iterator[str]:
    """By each mode, of the largest guest that was measured with it and without."""
    for mode in found.modes:
        pairs = [
            (row, other)
            for row in found.rows
            if row.mode == mode and changed(row.point) and not row.point.cost
            if (other := found.row(base(row.point), mode)) is not None
        ]
        if pairs:
            yield from _compared(what, *max(pairs, key=lambda pair: pair[0].point.memory_mib))


def _compared(what: str, row: Row, other: Row) -> Iterator[str]:
    compared = ratio(row.pause.values, other.pause.values)
    if not alike(differ := apart([row.yardstick, other.yardstick])):
        yield (
            f"With {what} ({row.point}) {row.mode} pauses for {ms(row.pause)}; how that compares cannot "
            f"be told: {speeds(differ)} between the two guests."
        )
    elif compared is not None:
        seen = moved(row, other) if differs(compared) else "no difference is seen"
        yield (
            f"With {what} ({row.point}) {row.mode} pauses for {ms(row.pause)} instead of "
            f"{ms(other.pause)}: {times(compared)}; {seen}."
        )
