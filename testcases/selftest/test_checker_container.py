"""container_kept: truth table."""

from pathlib import Path
from typing import Any

import pytest

from lab.checkers import container_kept
from lab.measure import measure

from .spoilers import refused
from .story import Story
from .timelines import AFTER, at, healthy
from .truth import FAIL, PASS, UNKNOWN, hold, row

MIB = 1 << 20
PLACE = {"pid_namespace": 4026532306, "cgroup": "/cprlab-guest1"}
AFTER_1 = {"when": "after", "update": 1}


def contained(story: Story) -> None:
    """A healthy recording of a guest whose QEMU is in a container."""
    for update in range(1, story.updates + 1):
        for when, ms, peak in (("before", 900, 311), ("after", AFTER, 320)):
            story.add(
                at(update, ms),
                "host.container",
                when=when,
                update=update,
                id="guest1",
                init=126,
                init_start_ticks=1084,
                status="running",
                inside=[1, 2],
                qemu={"pid": 157, "pid_inside": 2, **PLACE},
                memory=memory(peak),
                most={"qemus": 1, "descriptors": 107},
                **PLACE,
            )


def memory(peak_mib: int, max_mib: int | None = 448, **events: int) -> dict[str, Any]:
    limit = None if max_mib is None else max_mib * MIB
    counts = {"max": 0, "oom": 0, "oom_kill": 0, **events}
    return {"current": 308 * MIB, "peak": peak_mib * MIB, "max": limit, "events": counts}


def after(**data: Any) -> Any:
    return lambda s: s.change("host.container", AFTER_1, **data)


def most(qemus: int, descriptors: int = 180) -> Any:
    return after(most={"qemus": qemus, "descriptors": descriptors})


ROWS = [
    row(
        "kept",
        PASS,
        "update 1 in container guest1: 320 MiB charged at most, 308 before it, of 448",
        contained,
    ),
    row("two updates", PASS, "107 descriptors at most in 1 QEMUs", contained, updates=2),
    row("another container", FAIL, "id was guest1 and is guest2", contained, after(id="guest2")),
    row("started anew", FAIL, "init_start_ticks was 1084 and is 9", contained, after(init_start_ticks=9)),
    row("stopped", FAIL, "status was running and is stopped", contained, after(status="stopped")),
    row("another PID namespace", FAIL, "pid_namespace was", contained, after(pid_namespace=4026531836)),
    row(
        "QEMU has left its cgroup",
        FAIL,
        "QEMU is in another cgroup than its container after update 1",
        contained,
        after(qemu={"pid": 157, "pid_inside": 2, **PLACE, "cgroup": "/"}),
    ),
    row(
        "a kill for want of memory",
        FAIL,
        "oom_kill rose by 1",
        contained,
        after(memory=memory(448, oom_kill=1)),
    ),
    row(
        "the limit was reached",
        FAIL,
        "limit was hit in update 1: max rose",
        contained,
        after(memory=memory(448, max=3)),
    ),
    row("more than the limit", FAIL, "more than the limit", contained, after(memory=memory(449))),
    row("no limit", UNKNOWN, "has no memory limit", contained, after(memory=memory(320, None))),
    row(
        "a second QEMU", FAIL, "2 QEMUs were in the container at once in update 1, not 1", contained, most(2)
    ),
    row("many descriptors", FAIL, "^73 descriptors more than the 107 .*: a second set", contained, most(1)),
    row("a few more", PASS, "110 descriptors at most", contained, most(1, 110)),
    row("nobody looked", UNKNOWN, "no host.container was recorded before update 1"),
    row(
        "nobody looked afterwards",
        UNKNOWN,
        "after update 1",
        contained,
        lambda s: s.drop("host.container", **AFTER_1),
    ),
    row("refused", UNKNOWN, "did not complete", contained, refused),
    row(
        "the witness went blind",
        UNKNOWN,
        "the witness container went blind",
        contained,
        lambda s: s.add(2000, "witness.blind", witness="container", reason="crun is gone"),
    ),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", ROWS)
def test_container_kept(spoil: Any, outcome: Any, says: str, updates: int, tmp_path: Path) -> None:
    hold(container_kept(), tmp_path, spoil, updates, outcome, says)


def test_what_it_used_is_measured(tmp_path: Path) -> None:
    story = healthy()
    contained(story)
    found = {m.name: m.value for m in measure(story.timeline(tmp_path)) if "container" in m.name}
    assert found == {
        "update 1: container, memory before it": 308 * MIB,
        "update 1: container, memory at most": 320 * MIB,
        "update 1: container, descriptors at most": 107,
        "update 1: container, QEMUs at most": 1,
    }


TWO = [
    row("two at once", PASS, "180 descriptors at most in 2 QEMUs", contained, most(2)),
    row("few descriptors", FAIL, "^3 descriptors more .*: no second set", contained, most(2, 110)),
    row("never two", FAIL, "1 QEMUs were in the container at once in update 1, not 2", contained),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", TWO)
def test_container_kept_by_two(spoil: Any, outcome: Any, says: str, updates: int, tmp_path: Path) -> None:
    """cpr-transfer: old and new QEMU side by side."""
    hold(container_kept(qemus=2), tmp_path, spoil, updates, outcome, says)


TIGHT = [
    row("the limit was reached", PASS, "MiB charged", contained, after(memory=memory(448, max=3))),
    row("a kill", FAIL, "oom_kill rose by 1", contained, after(memory=memory(448, max=3, oom_kill=1))),
    row("more than the limit", FAIL, "more than the limit", contained, after(memory=memory(449))),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", TIGHT)
def test_container_kept_in_a_tight_one(
    spoil: Any, outcome: Any, says: str, updates: int, tmp_path: Path
) -> None:
    hold(container_kept(tight=True), tmp_path, spoil, updates, outcome, says)
