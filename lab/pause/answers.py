"""The questions of the thread, each answered in one sentence with a figure and its n. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from lab.pause.analysis import Analysis, Growth, Row, apart
from lab.pause.plan import Point
from lab.pause.statistics import Series, ratio

EXEC, TRANSFER = "cpr-exec", "cpr-transfer"
ALIKE = 1.1
"""Guests are compared if a fixed piece of work took the bench host as long, within this."""
COST_GOAL = 1.05
TEARDOWN = ("save: KVM", "exec: address space", "exec: KVM")
VIRTUAL = (
    "What this bench cannot say: its processor is emulated, so every time is far longer than on hardware; "
    "user code, page tables and TLB misses are not slowed down alike: shares of a pause may shift. One "
    "processor of the controller does everything, so nothing of new QEMU's start runs beside the guest for "
    "free. It has no memory of hundreds of GiB and no NUMA. What it can say: which phases are in the pause "
    "of which mode, in what order, which of them grow with memory, pages and devices, and whether a "
    "difference is there at all."
)


def answers(found: Analysis) -> list[str]:
    """One sentence a question; a question that was not measured has none."""
    told = [
        *_slower(found),
        *_memory(found),
        *_one_thing(found, "2 MiB pages", lambda p: p.page == "2m", lambda p: replace(p, page="any")),
        *_one_thing(
            found,
            "prealloc=on in old QEMU's command alone",
            lambda p: p.prealloc == "old",
            lambda p: replace(p, prealloc="off"),
        ),
        *_one_thing(
            found,
            "prealloc=on in both commands",
            lambda p: p.prealloc == "both",
            lambda p: replace(p, prealloc="off"),
        ),
        *_devices(found),
        *_one_thing(found, "DMA load", lambda p: p.load, lambda p: replace(p, load=False)),
        *_async(found),
        *_clocks(found),
        *_load_clock(found),
        *_cost(found),
    ]
    return list(told)


def _slower(found: Analysis) -> Iterator[str]:
    """Is exec slower than transfer because it does one thing after the other?"""
    for point in found.points:
        one, other = found.row(point, EXEC), found.row(point, TRANSFER)
        if one is None or other is None or point.async_teardown:
            continue
        compared = ratio(one.pause.values, other.pause.values)
        if compared is None:
            continue
        teardown, start = one.phase_s(*TEARDOWN), one.phase_s("start", "realise")
        yield (
            f"At {point} {EXEC} pauses the guest for {_ms(one.pause)}, {TRANSFER} for {_ms(other.pause)}: "
            f"{compared[0]:.2f} times as long (95%: {compared[1]:.2f} to {compared[2]:.2f}). Of exec's pause "
            f"{_share(teardown, one)} is the end of the old address space and KVM, "
            f"{_share(one.phase_s('exec') - one.phase_s(*TEARDOWN[1:]), one)} the rest of the exec, "
            f"{_share(start, one)} new QEMU's "
            f"start and devices, {_share(one.phase_s('load'), one)} the load of its state; transfer "
            f"does start "
            "and devices while the guest runs, and the end of old QEMU after it runs again."
        )


def _memory(found: Analysis) -> Iterator[str]:
    """How does the pause grow with memory?"""
    for growth in found.growths:
        if growth.of != "pause":
            continue
        if not _alike(growth.apart):
            yield (
                f"By {growth.mode} with {_like(growth.point)} the growth with memory cannot be told "
                f"(n={growth.slope.n}): {_speeds(growth.apart)} between memory sizes."
            )
            continue
        teardown = [g for g in found.growths if (g.mode, g.point) == (growth.mode, growth.point)]
        parts = ", ".join(f"{g.of} {_slope(g)}" for g in teardown if g.of != "pause" and g.slope.seen)
        yield (
            f"By {growth.mode} with {_like(growth.point)} the pause grows by {_slope(growth)} with memory "
            f"(n={growth.slope.n}); phases whose interval leaves out 0: {parts or 'none'}."
        )


def _one_thing(
    found: Analysis, what: str, changed: Callable[[Point], bool], base: Callable[[Point], Point]
) -> Iterator[str]:
    for row in found.rows:
        other = found.row(base(row.point), row.mode)
        if not changed(row.point) or other is None or row.point.cost:
            continue
        compared = ratio(row.pause.values, other.pause.values)
        if not _alike(speeds := apart([row.yardstick, other.yardstick])):
            yield (
                f"With {what} at {row.point.memory_mib} MiB {row.mode} pauses for {_ms(row.pause)}; how that "
                f"compares cannot be told: {_speeds(speeds)} between the two guests."
            )
        elif compared is not None:
            yield (
                f"With {what} at {row.point.memory_mib} MiB {row.mode} pauses for {_ms(row.pause)} "
                f"instead of "
                f"{_ms(other.pause)}: {compared[0]:.2f} times as long (95%: {compared[1]:.2f} to "
                f"{compared[2]:.2f}); {_moved(row, other)}."
            )


def _devices(found: Analysis) -> Iterator[str]:
    for count in (0, 2):
        yield from _one_thing(
            found,
            f"{count or 'no'} assigned NIC{'s' if count != 1 else ''}",
            lambda p, count=count: p.devices == count,  # type: ignore[misc]
            lambda p: replace(p, devices=1),
        )


def _async(found: Analysis) -> Iterator[str]:
    """Does async-teardown help?"""
    for row in found.rows:
        other = found.row(replace(row.point, async_teardown=False), row.mode)
        if not row.point.async_teardown or other is None or row.mode != EXEC:
            continue
        compared = ratio(row.pause.values, other.pause.values)
        if not _alike(speeds := apart([row.yardstick, other.yardstick])):
            yield (
                f"With async-teardown=on {row.mode} pauses for {_ms(row.pause)}, "
                f"{_share(row.phase_s(*TEARDOWN), row)} of it the end of the old address space and KVM, "
                f"without it {_share(other.phase_s(*TEARDOWN), other)}; whether it is shorter "
                f"cannot be told: {_speeds(speeds)} between the two guests."
            )
        elif compared is not None:
            yield (
                f"async-teardown=on takes the end of the old address space and KVM out of exec's pause "
                f"({1000 * other.phase_s(*TEARDOWN):.0f} ms without it, "
                f"{1000 * row.phase_s(*TEARDOWN):.0f} ms with "
                f"it): {_ms(row.pause)} instead of {_ms(other.pause)}, {compared[0]:.2f} times as long (95%: "
                f"{compared[1]:.2f} to {compared[2]:.2f}); but its helper process waits for the end "
                "of a parent that only execs, so each update leaves one behind, with the old address space "
                "(testcases/reproductions/async-teardown.sh)."
            )


def _clocks(found: Analysis) -> Iterator[str]:
    """Why does the QMP clock overstate the guest's own gap?"""
    for row in found.rows:
        if (
            row.still is None
            or not {"guest", "qmp", "running", "host"} <= row.clocks.keys()
            or row.point.cost
        ):
            continue
        seen = {name: series.median for name, series in row.clocks.items()}
        yield (
            f"At {row.point} by {row.mode} the guest's own gap is {1000 * seen['guest']:.0f} ms, QMP STOP to "
            f"query-status running {1000 * seen['running']:.0f} ms "
            f"({seen['running'] / seen['guest']:.1f} times), "
            f"the pause by the host's kernel {1000 * seen['host']:.0f} ms (n={row.pause.n}): the "
            f"guest's clock "
            f"stands still for {1000 * row.still.median:.0f} ms, from where QEMU saves it to where "
            f"the guest runs "
            f"again, and QMP adds {1000 * (seen['running'] - seen['qmp']):.0f} ms after RESUME for "
            f"its answer."
        )
        return


def _load_clock(found: Analysis) -> Iterator[str]:
    """What does the far end of the wire see?"""
    for row in found.rows:
        if row.point.load and {"load", "host"} <= row.clocks.keys():
            ordinary_ms = 1000 * row.resolutions.get("load", 0.0)
            yield (
                f"The far end of the wire sees no frame for {_ms(row.clocks['load'])} at {row.point} "
                f"by {row.mode}, the pause by the host's kernel being {_ms(row.pause)}; between two frames "
                f"there are up to {ordinary_ms:.0f} ms without an update."
            )


def _cost(found: Analysis) -> Iterator[str]:
    """What do the witnesses themselves cost?"""
    for cost in found.costs:
        value, low, high = cost.ratio
        together = len(cost.witnesses) > 1
        who = "all witnesses together" if together else f"the witness {cost.witnesses[0]} alone"
        goal = f", {'below' if value < COST_GOAL else 'above'} the goal of 5%" if together else ""
        yield (
            f"The recorder's own cost: with {who} the pause is {_ms(cost.seen)} by QEMU's STOP and RESUME, "
            f"with none {_ms(cost.bare)}: {100 * (value - 1):+.1f}% by pairs "
            f"(95%: {100 * (low - 1):+.1f}% to {100 * (high - 1):+.1f}%){goal}."
        )


def _alike(apart_by: float | None) -> bool:
    return apart_by is not None and apart_by < ALIKE


def _speeds(apart_by: float | None) -> str:
    if apart_by is None:
        return "nobody looked whether the bench host was equally fast"
    return f"the bench host's own speed differed {apart_by:.2f} times"


def _moved(row: Row, other: Row) -> str:
    """The phase that changed most."""
    names = [name for name in row.phases if ":" not in name and name in other.phases]
    if not names:
        return "no phase is known"
    most = max(names, key=lambda name: abs(row.phase_s(name) - other.phase_s(name)))
    return f"most of it in {most}, {1000 * (row.phase_s(most) - other.phase_s(most)):+.0f} ms"


def _ms(series: Series) -> str:
    low, high = series.quartiles
    return f"{1000 * series.median:.0f} ms ({1000 * low:.0f} to {1000 * high:.0f}, n={series.n})"


def _share(seconds: float, row: Row) -> str:
    return f"{100 * seconds / row.pause.median:.0f}%"


def _slope(growth: Growth) -> str:
    of = growth.slope
    return f"{1000 * of.per_unit:.0f} ms per GiB (95%: {1000 * of.low:.0f} to {1000 * of.high:.0f})"


def _like(point: Point) -> str:
    pages = "" if point.page == "any" else f"{point.page} pages, "
    teardown = ", async-teardown" if point.async_teardown else ""
    return (
        f"{pages}prealloc {point.prealloc}, {point.devices} NIC{'s' if point.devices != 1 else ''}{teardown}"
    )
