"""What an earlier boot of a host left in the journal is struck out and never replayed on what is there now.

Claim: issue 7, "Undo"; and "Interlocks": what somebody else has set up since is theirs.
"""

import json
from contextlib import suppress
from pathlib import Path

import pytest

from lab.agents.host import binding
from lab.agents.host.journal import Entry, Journal
from testcases.selftest.host_agent_fakes import DISK, NIC, FakeHost, told


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path / "host")


def journal(host: FakeHost, boot: str) -> Journal:
    undo = {
        binding.KIND: lambda entry: binding.undo(host.sysfs, entry),
        binding.MODULE: lambda entry: binding.undo_module(host.sysfs, entry),
    }
    return Journal(host.root / "journal.jsonl", undo, 0.2, boot)


def left_by(host: FakeHost, boot: str) -> None:
    killed = journal(host, boot)
    binding.bind(host.sysfs, killed, told(NIC))
    killed.close()


def given_to(host: FakeHost, bdf: str, driver: str, override: str) -> None:
    link = host.root / "sys/bus/pci/devices" / bdf / "driver"
    link.unlink()
    link.symlink_to(host.root / "sys/bus/pci/drivers" / driver)
    (host.root / "sys/bus/pci/devices" / bdf / "driver_override").write_text(f"{override}\n")


def test_of_this_boot_it_is_undone(host: FakeHost) -> None:
    left_by(host, "one")
    following = journal(host, "one")
    following.load()
    assert [one["what"] for one in following.undo_all()] == [NIC]
    assert host.sysfs.driver(NIC) == "igb"


def test_of_another_boot_it_is_only_struck_out(host: FakeHost) -> None:
    """After it another device has this address: the host's own disk, say."""
    left_by(host, "one")
    given_to(host, NIC, "nvme", "(null)")
    host.written.clear()
    following = journal(host, "two")
    following.load()
    assert [one["what"] for one in following.undo_all()] == [NIC]
    assert host.written == [] and host.sysfs.driver(NIC) == "nvme"
    assert following.path.read_text() == "" and following.undo_all() == []


def test_a_journal_without_boots_is_undone(host: FakeHost) -> None:
    """One that a version of the lab before this one wrote."""
    left_by(host, "one")
    path = host.root / "journal.jsonl"
    [record] = [json.loads(line) for line in path.read_text().splitlines() if line]
    del record["boot"]
    path.write_text(json.dumps(record) + "\n")
    following = journal(host, "two")
    following.load()
    following.undo_all()
    assert host.sysfs.driver(NIC) == "igb"


def test_what_somebody_else_has_bound_since_is_theirs(host: FakeHost) -> None:
    left_by(host, "one")
    given_to(host, NIC, "virtio-pci", "virtio-pci")
    host.written.clear()
    following = journal(host, "one")
    following.load()
    assert "error" not in following.undo_all()[0]
    assert host.written == [] and host.sysfs.driver(NIC) == "virtio-pci"


def modules(host: FakeHost, ran: list[str]) -> None:
    """modprobe loads vfio-pci, and takes it away again."""
    (host.root / "sys/bus/pci/drivers/vfio-pci").rmdir()

    def run(argv: object) -> str:
        assert isinstance(argv, list)
        if argv[0] == "modprobe":
            ran.append(" ".join(argv))
            host.folder("sys/bus/pci/drivers/vfio-pci")
            host.file("sys/module/vfio_pci/refcnt", "0\n")
        return "[]"

    object.__setattr__(host.sysfs, "run", run)


def test_a_module_that_was_loaded_for_it_goes_too(host: FakeHost) -> None:
    ran: list[str] = []
    modules(host, ran)
    bound = journal(host, "one")
    binding.bind(host.sysfs, bound, told(NIC))
    assert ran == ["modprobe vfio-pci"]
    assert [one["kind"] for one in bound.undo_all()] == [binding.KIND, binding.MODULE]
    assert ran == ["modprobe vfio-pci", "modprobe -r vfio-pci"]


def test_a_module_that_somebody_has_come_to_use_stays(host: FakeHost) -> None:
    ran: list[str] = []
    modules(host, ran)
    bound = journal(host, "one")
    binding.bind(host.sysfs, bound, told(NIC))
    host.file("sys/module/vfio_pci/refcnt", "2\n")
    assert not any("error" in one for one in bound.undo_all())
    assert ran == ["modprobe vfio-pci"]


def test_a_module_that_was_never_loaded_is_no_error(host: FakeHost) -> None:
    """The agent died between writing it down and loading it."""
    binding.undo_module(host.sysfs, Entry(1, binding.MODULE, "vfio-pci", {}, {}))


def test_a_disk_is_compared_once_and_left_bound(host: FakeHost) -> None:
    """Bound, it shows no disk any more; binding it again is no error."""
    host.disk()
    held = journal(host, "one")
    binding.bind(host.sysfs, held, told(DISK))
    (host.root / "sys/class/block/nvme0n1").unlink()
    binding.bind(host.sysfs, held, told(DISK))


@pytest.mark.parametrize("writes_done", range(4))
def test_a_crash_while_it_is_given_back_is_gone_on_with(host: FakeHost, writes_done: int) -> None:
    left_by(host, "one")
    real, left = host.write, writes_done

    class Killed(BaseException):
        pass

    def write(path: Path, text: str) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        real(path, text)

    object.__setattr__(host.sysfs, "write", write)
    killed = journal(host, "one")
    killed.load()
    with suppress(Killed):
        killed.undo_all()
    killed.close()
    object.__setattr__(host.sysfs, "write", real)
    following = journal(host, "one")
    following.load()
    assert not any("error" in one for one in following.undo_all())
    assert (host.sysfs.driver(NIC), host.sysfs.attribute(NIC, "driver_override")) == ("igb", "(null)")
