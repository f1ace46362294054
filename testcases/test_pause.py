"""How long an update pauses the guest, by mode, memory, pages, devices: the cases behind `cprlab pause`.

Questions under test, from the discussion of "[PATCH V2 00/11] Live update: cpr-exec" (2024-07-18): exec
"should be simply slower, logically, due to the serialized operation to (1) tearing down the old mm, (2)
reload the new ELF, then (3) runs through the QEMU init process"; "with the async-teardown option we have a
way to move the MM teardown to a separate process". The numbers are not judged but for the bench's budget;
that their phases add up is.
"""

from contextlib import nullcontext
from dataclasses import replace
from random import Random

import pytest

from lab.checkers import logs_clean, phases_add_up, same_guest, update_completed
from lab.pause.plan import TIMED, WITNESSES, Point, Sweep
from lab.rows import Case, Row
from lab.rows.container import Contained
from lab.rows.guest_config import guest_config as config_of
from lab.rows.memory import require, set_aside
from lab.rows.table import row as row_of


def pytest_generate_tests(metafunc):
    """One case a point: --pause-points, or those of the default sweep."""
    if "point" in metafunc.fixturenames and "short" not in metafunc.function.__name__:
        asked = metafunc.config.getoption("pause_points")
        names = asked.split(",") if asked else [str(point) for point in Sweep().points()]
        wanted = [name for name in names if Point.parse(name).cost == ("cost" in metafunc.function.__name__)]
        metafunc.parametrize("point", wanted, indirect=True)


@pytest.fixture
def row(point):
    """Its devices, all by type1."""
    return Case(row_of(point.row) if point.row else Row("no-device", "no device", ()), "type1")


@pytest.fixture
def memory(point, bench, agent):
    """Its memory, set aside on the bench host."""
    if point.page != "any":
        require(point.memory, agent.capabilities(), bench.name)
    return set_aside(agent, point.memory, point.memory_mib)


@pytest.fixture
def container(point, agent, attached, memory):
    """That of its QEMU, if it is in one."""
    return Contained().made(agent, memory.total_mib(point.memory_mib)) if point.boxed else ""


@pytest.fixture
def guest_config(point, bench, row, attached, memory, guest_kernel, guest_initramfs, container):
    """Its guest; QEMU traces itself."""
    config = config_of(bench, row, attached, guest_kernel, guest_initramfs, memory=memory)
    return replace(config, memory_mib=point.memory_mib, extra=point.extra, container=container)


@pytest.mark.nightly
def test_pause(point, load, sampled, pause_turns, verdict, claims_of_a_sweep):
    """The pause stays within the bench's budget, and its phases are known and add up."""
    with load() if point.load else nullcontext() as running:
        if running is not None:
            running.settle()
        sampled(pause_turns[0], first=True)
        for mode in pause_turns:
            sampled(mode)

    verdict(*claims_of_a_sweep)


@pytest.mark.nightly
def test_cost_of_recording(point, sampled, pause_repeats, verdict, budget):
    """The same with all witnesses, each alone, and none, in turns: what they cost shows in the record."""
    sampled("cpr-exec", first=True)
    groups = [WITNESSES, TIMED, (), *((one,) for one in WITNESSES)]
    for turn in range(1, 2 * pause_repeats + 1):
        # in another order each time: what one leaves behind for the next hits all alike
        for group in Random(turn).sample(groups, len(groups)):
            sampled("cpr-exec", by_witnesses=group, turn=turn)

    verdict(update_completed(), same_guest(), phases_add_up(), budget, logs_clean())


@pytest.mark.parametrize("point", ["256m-any-prealloc-off-1dev"], indirect=True)
def test_pause_in_short(point, sampled, verdict, budget):
    """One update by exec and one by transfer: the phases are known and add up, within the budget."""
    for mode in ("cpr-exec", "cpr-transfer"):
        sampled(mode)

    verdict(update_completed(2), same_guest(), phases_add_up(), budget, logs_clean())


@pytest.mark.nightly
@pytest.mark.parametrize("point", ["256m-any-prealloc-off-1dev"], indirect=True)
def test_pause_by_reboot_in_short(point, sampled, verdict, budget):
    """The same by cpr-reboot, for which the guest is put to sleep: from there to its waking up."""
    sampled("cpr-reboot")

    verdict(update_completed(1), same_guest(), phases_add_up(), budget)
