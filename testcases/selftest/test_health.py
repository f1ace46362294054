"""Which hosts are handed out, and what becomes of one that fails: the whole table, its file, its use.

Claim: issue 7, "Health": good, suspect, quarantined, maintenance; a host that could not be restored is not
handed out; a dead host is broken, never a skip.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.drivers.target_file import TargetFile
from lab.drivers.target_schema import Options, Tools
from lab.errors import BenchError, LabUsageError
from lab.health import Event, Health, State, Store, after, refusal
from lab.health.check import looked_at
from lab.health.state import HISTORY, by_hand
from lab.health.use import checked, looked_after, made_ready

GOOD, SUSPECT, QUARANTINED, MAINTENANCE = State
PASSED, FAILED, USE, LEFT, RESTORED = Event

TABLE = {
    GOOD: {PASSED: GOOD, FAILED: QUARANTINED, USE: SUSPECT, LEFT: QUARANTINED, RESTORED: GOOD},
    SUSPECT: {PASSED: GOOD, FAILED: QUARANTINED, USE: SUSPECT, LEFT: QUARANTINED, RESTORED: SUSPECT},
    # a check that passes does not end it: what could not be undone is still there
    QUARANTINED: {
        PASSED: QUARANTINED,
        FAILED: QUARANTINED,
        USE: QUARANTINED,
        LEFT: QUARANTINED,
        RESTORED: SUSPECT,
    },
    MAINTENANCE: dict.fromkeys(Event, MAINTENANCE),
}


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_the_whole_table(state: State, event: Event) -> None:
    before = Health(state, "old reason" if state is not GOOD else "", "t0")
    came = after(before, event, "t1", "new reason")
    assert came.state is TABLE[state][event]
    moved = came.state is not state
    assert came.since == ("t1" if moved else "t0")
    assert len(came.history) == moved
    assert came.checked == ("t1" if event is PASSED else "")
    if came.state is GOOD:
        assert came.reason == ""
    else:
        assert came.reason == ("new reason" if moved or (state, event) == (SUSPECT, USE) else "old reason")


def test_only_good_and_suspect_hosts_are_handed_out() -> None:
    told = {state: refusal("bench-a", Health(state, "its cable is cut", "t0")) for state in State}
    assert told[GOOD] == told[SUSPECT] == ""
    assert told[QUARANTINED].startswith("host bench-a is in quarantine since t0: its cable is cut; ")
    assert told[MAINTENANCE].startswith("host bench-a is in maintenance since t0: its cable is cut; ")
    assert all("cprlab hosts set bench-a suspect" in told[state] for state in (QUARANTINED, MAINTENANCE))


def test_a_state_is_a_tag_of_labgrid() -> None:
    """Its values are letters, digits, and a few signs."""
    assert all(state.value.isalpha() for state in State)


def test_by_hand_it_goes_anywhere_and_the_history_has_an_end() -> None:
    health = Health()
    for number in range(HISTORY + 5):
        health = by_hand(health, (MAINTENANCE, GOOD)[number % 2], f"t{number}", "new NIC")
    assert len(health.history) == HISTORY and health.history[-1]["at"] == f"t{HISTORY + 4}"
    assert [h["reason"] for h in health.history[-2:]] == ["", "new NIC"]


def test_it_is_kept_between_commands(tmp_path: Path) -> None:
    assert Store(tmp_path).read("bench-a") == Health() and Store(tmp_path).names() == []
    Store(tmp_path).happened("bench-a", Event.NOT_RESTORED, "0000:3b:00.0:\nheld")
    kept = Store(tmp_path).read("bench-a")
    assert (kept.state, kept.reason) == (QUARANTINED, "0000:3b:00.0: held")
    assert Store(tmp_path).names() == ["bench-a"]
    assert not list(tmp_path.glob("*.partial"))


def test_another_machine_of_that_name_is_another_host(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.happened("bench-a", Event.NOT_RESTORED, "held", "root@a:22 AAAA")
    assert store.read("bench-a", "root@a:22 AAAA").state is QUARANTINED
    assert store.read("bench-a").state is QUARANTINED
    assert store.read("bench-a", "root@b:22 BBBB") == Health(machine="root@b:22 BBBB")
    assert store.happened("bench-a", Event.USE_FAILED, "silent", "root@b:22 BBBB").state is SUSPECT
    assert store.read("bench-a").machine == "root@b:22 BBBB"


def test_what_is_said_by_hand_holds_for_the_machine_that_comes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.set("bench-a", MAINTENANCE, "new NIC")
    assert store.read("bench-a", "root@a:22 AAAA").state is MAINTENANCE


def test_what_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    Store(tmp_path).happened("bench-a", Event.RESTORED)
    assert not (tmp_path / "bench-a.json").exists()


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden"])
def test_what_is_no_name_is_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(LabUsageError, match="is no name of a host"):
        Store(tmp_path).happened(name, Event.USE_FAILED)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text", ["", "{", '{"state": "fine"}', '{"state": "good", "history": [], "colour": 1}']
)
def test_a_damaged_file_is_told_of(tmp_path: Path, text: str) -> None:
    (tmp_path / "bench-a.json").write_text(text)
    with pytest.raises(LabUsageError, match=r"bench-a\.json cannot be read .* remove it"):
        Store(tmp_path).read("bench-a")


def test_two_controllers_lose_nothing(tmp_path: Path) -> None:
    def often() -> None:
        for _ in range(20):
            Store(tmp_path).set("bench-a", MAINTENANCE, "one")
            Store(tmp_path).happened("bench-a", Event.USE_FAILED, "two")

    threads = [threading.Thread(target=often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = Store(tmp_path).read("bench-a")
    assert (kept.state, len(kept.history)) == (MAINTENANCE, HISTORY)
    json.loads((tmp_path / "bench-a.json").read_text())


NIC = "0000:01:00.0"


class FakeAgent:
    """A host's agent; each field is what may be wrong."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {"kernel": "6.12.1", "tainted": 0}
        self.can = {"root": True, "iommu": True, "vfio_pci": True, "kvm": True}
        self.driver, self.comes_back_to, self.qemu = "igb", "igb", "11.1.3"

    def capabilities(self) -> dict[str, Any]:
        return self.can

    def device(self, bdf: str) -> dict[str, Any]:
        return {"driver": self.driver}

    def bind(self, bdf: str) -> None:
        self.driver = "vfio-pci"

    def give_back(self, bdf: str) -> None:
        self.driver = self.comes_back_to

    def qemu_probe(self, path: str) -> dict[str, Any]:
        if not self.qemu:
            raise BenchError(f"{path} is not a QEMU that runs here")
        return {"version": self.qemu}


class FakeBench:
    """A host; `silent`: it does not become ready. It is its own strategy and its own ssh."""

    name, machine = "bench-a", "root@bench-a:22 AAAA"
    allowed = [{"bdf": NIC}]
    target_file = TargetFile(Path("bench-a.yaml"), Options(), Tools.model_validate({}), ())

    def __init__(self) -> None:
        self.its_agent, self.silent, self.alive, self.transitions = FakeAgent(), "", True, 0
        self.strategy = self.host = self

    def transition(self, status: str) -> None:
        self.transitions += 1
        if self.silent:
            raise BenchError(self.silent)

    @contextmanager
    def agent(self) -> Iterator[Any]:
        yield self.its_agent


def test_a_check_says_what_it_looked_at() -> None:
    looked = looked_at(FakeBench())
    assert f"{NIC} can be given to VFIO, and comes back to igb" in looked
    assert "/usr/bin/qemu-system-x86_64 answers: 11.1.3" in looked and len(looked) == 5


WRONG = {
    "an oops": (lambda agent: agent.facts.update(tainted=1 << 7), "went through an oops or a BUG"),
    "machine check": (
        lambda agent: agent.facts.update(tainted=1 << 4 | 1),
        "went through a machine check since",
    ),
    "no KVM": (lambda agent: agent.can.update(kvm=False), "it lacks kvm: cprlab doctor"),
    "a driver that is lost": (
        lambda agent: setattr(agent, "comes_back_to", None),
        "0000:01:00.0 was bound to igb and came back to none",
    ),
    "no QEMU": (lambda agent: setattr(agent, "qemu", ""), "is not a QEMU that runs here"),
}


@pytest.mark.parametrize(("spoil", "line"), WRONG.values(), ids=WRONG)
def test_a_check_that_fails_puts_the_host_into_quarantine(tmp_path: Path, spoil: Any, line: str) -> None:
    bench, store = FakeBench(), Store(tmp_path)
    store.happened("bench-a", Event.USE_FAILED, "it was silent")
    spoil(bench.its_agent)
    with pytest.raises(BenchError, match=line):
        made_ready(bench, store)
    assert store.read("bench-a").state is QUARANTINED and line in store.read("bench-a").reason


def test_a_flag_of_the_kernel_that_says_nothing_of_its_health_is_no_failure() -> None:
    bench = FakeBench()
    bench.its_agent.facts["tainted"] = 1 << 0 | 1 << 12 | 1 << 9
    looked_at(bench)


def test_a_good_host_is_not_checked_and_a_suspect_one_is(tmp_path: Path) -> None:
    bench, store = FakeBench(), Store(tmp_path)
    made_ready(bench, store)
    assert store.read("bench-a") == Health()
    store.set("bench-a", SUSPECT, "it was silent")
    made_ready(bench, store)
    assert store.read("bench-a").state is GOOD and store.read("bench-a").checked


@pytest.mark.parametrize("state", [QUARANTINED, MAINTENANCE])
def test_one_that_is_not_handed_out_is_not_touched(tmp_path: Path, state: State) -> None:
    bench, store = FakeBench(), Store(tmp_path)
    store.set("bench-a", state, "its cable is cut")
    with pytest.raises(BenchError, match="its cable is cut"):
        made_ready(bench, store)
    assert bench.transitions == 0


def test_a_dead_host_is_suspect_and_the_next_time_in_quarantine(tmp_path: Path) -> None:
    bench, store = FakeBench(), Store(tmp_path)
    bench.silent = "ssh did not answer"
    for state in (SUSPECT, QUARANTINED):
        with pytest.raises(BenchError, match="ssh did not answer"):
            made_ready(bench, store)
        assert store.read("bench-a").state is state
    with pytest.raises(BenchError, match=r"host bench-a is in quarantine since .*: ssh did not answer"):
        made_ready(bench, store)
    assert bench.transitions == 2


def test_a_host_that_dies_in_use_is_suspect(tmp_path: Path) -> None:
    bench, store = FakeBench(), Store(tmp_path)
    looked_after(bench, store, "test_x[type1]")
    assert store.read("bench-a").state is GOOD
    bench.alive = False
    looked_after(bench, store, "test_x[type1]")
    assert store.read("bench-a").reason == "it did not answer any more after test_x[type1]"


def test_a_check_by_hand_of_a_good_host_that_fails(tmp_path: Path) -> None:
    bench, store = FakeBench(), Store(tmp_path)
    assert checked(bench, store)
    bench.its_agent.can["iommu"] = False
    with pytest.raises(BenchError, match=r"host bench-a is in quarantine since .*: it lacks iommu"):
        checked(bench, store)
