"""dma_intact: what excuses a loss, and the direction from the guest."""

from pathlib import Path
from typing import Any

import pytest

from lab.checkers import dma_intact

from .spoilers import (
    BEFORE,
    FROM,
    FROM_RECEIVED,
    FROM_SENT,
    INSIDE,
    TO,
    TO_RECEIVED,
    counted,
    load_at,
    lose,
    quiet,
)
from .timelines import EPOCH, INVOKE, OK
from .truth import FAIL, PASS, UNKNOWN, hold, row

EXCUSES = [
    row(
        "the guest's socket dropped as many",
        UNKNOWN,
        "lost in the lab's own socket, which dropped 2$",
        lose(BEFORE, INSIDE),
        counted("guest-socket", drops=9),
    ),
    row(
        "the guest's socket dropped fewer",
        FAIL,
        "2 of 640 blocks nic.to-guest lost: seq 51, 201$",
        lose(BEFORE, INSIDE),
        counted("guest-socket", drops=8),
    ),
    row(
        "the ring overran and the NIC counted as many",
        UNKNOWN,
        r"20000 blocks/s for 0.41 s are 8100, more than the ring's 4096, and the NIC counted 2 without",
        lose(BEFORE, INSIDE),
        counted("guest-nic", rx_no_buffer_count=9),
        load_at(20000, 4096),
    ),
    row(
        "the NIC counted fewer than were lost",
        FAIL,
        "lost",
        lose(BEFORE, INSIDE),
        counted("guest-nic", rx_no_buffer_count=8),
        load_at(20000, 4096),
    ),
    row(
        "one loss under two names excuses no second one",
        FAIL,
        "lost",
        lose(BEFORE, INSIDE),
        counted("guest-nic", rx_no_buffer_count=8, rx_missed_errors=8),
        load_at(20000, 4096),
    ),
    row(
        "the NIC and the socket dropped them together",
        UNKNOWN,
        "the NIC counted 1",
        lose(BEFORE, INSIDE),
        counted("guest-nic", rx_no_buffer_count=8),
        counted("guest-socket", drops=8),
        load_at(20000, 4096),
    ),
    row(
        "the NIC counted as many, but the ring had room",
        FAIL,
        "lost",
        lose(BEFORE, INSIDE),
        counted("guest-nic", rx_no_buffer_count=9),
    ),
    row(
        "the ring is exactly full",
        FAIL,
        "lost",
        lose(BEFORE, INSIDE),
        counted("guest-nic", rx_no_buffer_count=9),
        load_at(1000, 405),
    ),
    row(
        "the counters were not recorded",
        FAIL,
        "lost",
        lose(BEFORE),
        lambda s: s.drop("load.counters"),
        load_at(20000, 4096),
    ),
    row(
        "the counters were recorded only at the end",
        FAIL,
        "lost",
        lose(BEFORE),
        lambda s: s.drop("load.counters", when="start"),
        load_at(20000, 4096),
    ),
    row(
        "the load's rate is not known",
        FAIL,
        "lost",
        lose(BEFORE),
        counted("guest-nic", rx_no_buffer_count=9),
        lambda s: s.change("load.start", rate_hz=0),
    ),
    row(
        "the far end's socket excuses nothing to the guest",
        FAIL,
        "lost",
        lose(BEFORE),
        counted("far-socket", drops=90),
    ),
    row(
        "an excused loss and wrong bytes",
        FAIL,
        "wrong bytes",
        lose(BEFORE),
        counted("guest-socket", drops=9),
        lambda s: s.set_rows(TO_RECEIVED, "good", 70, 0),
    ),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", EXCUSES)
def test_a_loss_is_excused_only_by_counters(
    tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int
) -> None:
    hold(dma_intact(f"nic.{TO}"), tmp_path, spoil, updates, outcome, says)


FROM_GUEST = [
    row("everything arrives", PASS, r"^560 blocks nic.from-guest intact; 60 inside and 310 after update 1$"),
    row("two updates in a row", PASS, "after update 2", updates=2),
    row("a block is lost", FAIL, "lost: seq 51$", lose(BEFORE, table=FROM_RECEIVED)),
    row(
        "the far end's socket dropped it",
        UNKNOWN,
        "the lab's own socket",
        lose(BEFORE, table=FROM_RECEIVED),
        counted("far-socket", drops=8),
    ),
    row(
        "the guest's ring excuses nothing from the guest",
        FAIL,
        "lost",
        lose(BEFORE, table=FROM_RECEIVED),
        counted("guest-nic", rx_no_buffer_count=99),
        counted("guest-socket", drops=99),
        load_at(20000, 4096),
    ),
    row(
        "a block is damaged",
        FAIL,
        "wrong bytes",
        lambda s: s.set_rows(FROM_RECEIVED, "good", BEFORE, 0),
    ),
    row(
        "the guest sends nothing inside the update",
        PASS,
        " 0 inside and",
        quiet(INVOKE, OK, FROM_RECEIVED, FROM_SENT),
    ),
    row(
        "the guest sent nothing shortly before the update",
        UNKNOWN,
        "no block passed in the 1000 ms before",
        quiet(0, INVOKE, FROM_RECEIVED, FROM_SENT),
    ),
    row(
        "the guest sends no more",
        FAIL,
        "no DMA from-guest after the update",
        quiet(INVOKE, 9999, FROM_RECEIVED, FROM_SENT),
        lambda s: s.add(EPOCH + 500, "load.stalled", load="nic", stream=FROM, epoch=2),
    ),
    row(
        "the guest sends no more, and nobody waited for it",
        UNKNOWN,
        "no block of epoch 2",
        quiet(INVOKE, 9999, FROM_RECEIVED, FROM_SENT),
    ),
]


@pytest.mark.parametrize("spoil, outcome, says, updates", FROM_GUEST)
def test_from_guest(tmp_path: Path, spoil: Any, outcome: Any, says: str, updates: int) -> None:
    hold(dma_intact(f"nic.{FROM}"), tmp_path, spoil, updates, outcome, says)


ETHTOOL = {  # of what `ethtool -S` prints of each driver; {own} and {port} are what rises
    "igb": "  rx_packets: 1\n  rx_no_buffer_count: {own}\n  rx_missed_errors: 0\n  rx_fifo_errors: {own}",
    "ixgbe": "  rx_packets: 1\n  rx_no_buffer_count: 0\n  rx_no_dma_resources: {own}\n  fdir_miss: 5",
    "ice": "  rx_unicast: 1\n  rx_dropped: {own}\n  rx_dropped.nic: {port}\n  rx_bytes: 64",
    "mlx5_core": "  rx_packets: 1\n  rx_out_of_buffer: {own}\n  rx_discards_phy: {port}\n  rx_bytes: 64",
}


def told_by(driver: str, **values: int) -> dict[str, int]:
    lines = ETHTOOL[driver].format(**{"own": 0, "port": 0} | values).splitlines()
    return {name.strip(): int(value) for name, _, value in (line.rpartition(":") for line in lines)}


@pytest.mark.parametrize("driver", ETHTOOL)
@pytest.mark.parametrize("values, outcome", [({"own": 2}, UNKNOWN), ({"own": 1, "port": 9}, FAIL)])
def test_each_driver_counts_what_its_ring_lost(
    tmp_path: Path, driver: str, values: dict[str, int], outcome: Any
) -> None:
    def spoil(story: Any) -> None:
        for when, counters in (("start", told_by(driver)), ("end", told_by(driver, **values))):
            story.change("load.counters", {"where": "guest-nic", "when": when}, counters=counters)

    lost = lose(BEFORE, INSIDE), load_at(20000, 4096)
    hold(dma_intact(f"nic.{TO}"), tmp_path, (*lost, spoil), 1, outcome, "lost")
