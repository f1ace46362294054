"""The kernel's own maximum of a vCPU's gaps, and the kprobes, on a tracefs made of plain files."""

from pathlib import Path

import pytest

from lab.agents.host import probes, vcpu_gaps
from lab.agents.host.journal import Journal

HISTOGRAM = """# event histogram
#
# trigger info: hist:keys=vcpu_id:vals=hitcount:cprlab_gap=common_timestamp.usecs-$cprlab_exit [active]
#

{ vcpu_id:          1 } hitcount:          7
	max:       9000  common_timestamp:  386000000
{ vcpu_id:          0 } hitcount:       2430
	max:    1263056  common_timestamp:  386316711
{ vcpu_id:          2 } hitcount:          1
	max:          0  common_timestamp:          0

Totals:
    Hits: 2438
    Entries: 3
    Dropped: 0
"""


def test_each_vcpu_has_its_longest_gap_and_when_it_ended() -> None:
    gaps = {gap["vcpu"]: gap for gap in vcpu_gaps.parsed(HISTOGRAM)}
    assert gaps[0] == {"vcpu": 0, "entries": 2430, "gap_ns": 1_263_056_000, "end_ns": 386_316_711_000}
    assert gaps[1]["gap_ns"] == 9_000_000
    assert set(gaps) == {0, 1}, "a vCPU that entered once has had no gap"


def test_an_entry_stamped_before_its_exit_is_no_gap() -> None:
    assert not list(
        vcpu_gaps.parsed(HISTOGRAM.replace("9000 ", str(2**64 - 40_000)).replace("1263056", str(2**64 - 1)))
    )


def test_a_histogram_that_dropped_something_tells_nothing() -> None:
    assert not list(vcpu_gaps.parsed(HISTOGRAM.replace("Dropped: 0", "Dropped: 3")))


def test_triggers_are_taken_back_in_the_opposite_order(tmp_path: Path) -> None:
    for event in ("kvm_exit", "kvm_entry"):
        (tmp_path / "events" / "kvm" / event).mkdir(parents=True)
    vcpu_gaps.switch_on(tmp_path)
    vcpu_gaps.switch_off(tmp_path)
    exits, entries = (
        (tmp_path / "events/kvm" / name / "trigger").read_text() for name in ("kvm_exit", "kvm_entry")
    )
    exit_, wake = exits.partition("!")[0], "enable_hist:kvm:kvm_exit"
    entry = entries.partition(wake)[0]
    assert exit_.endswith("clock=mono:pause") and ":onmax(" in entry
    assert (exits, entries) == (f"{exit_}!{exit_}", f"{entry}{wake}!{wake}!{entry}")


def test_a_kernel_without_kvm_events_refuses(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="kvm_exit"):
        vcpu_gaps.switch_on(tmp_path)


def test_kprobes_are_defined_and_removed(tmp_path: Path) -> None:
    events = tmp_path / "kprobe_events"
    events.touch()
    journal = Journal(tmp_path / "journal.jsonl", {probes.KIND: probes.remove})
    entry = probes.define(journal, tmp_path)
    defined = events.read_text().splitlines()
    assert "p:cprlab/exit_mmap exit_mmap" in defined and "r:cprlab/exit_mmap_done exit_mmap" in defined
    journal.undo(entry)
    removed = events.read_text().splitlines()[len(defined) :]
    assert removed == [f"-:{line.split()[0].split(':')[1]}" for line in defined]


def test_kprobes_that_cannot_be_defined_leave_nothing_in_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", {probes.KIND: probes.remove})
    with pytest.raises(FileNotFoundError):
        probes.define(journal, tmp_path)
    assert journal.undo_all() == []
