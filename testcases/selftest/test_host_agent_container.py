"""The container of the guest's QEMU: what it is made of, and how it is undone."""

from pathlib import Path

from lab.agents.host import container
from lab.agents.host.container_bundle import Limits, config
from lab.agents.host.journal import Entry
from lab.agents.host.sysfs import Sysfs

LIMITS = Limits(memory_bytes=448 << 20, memlock_bytes=320 << 20)


def test_processes_have_no_capability_and_may_lock_what_the_guest_needs() -> None:
    made = config("c", ["python3"], {"PATH": "/bin"}, LIMITS, ["/run/x"], ["/blobs"], [Path("/dev/null")])
    assert not any(made["process"]["capabilities"].values())
    assert {"type": "RLIMIT_MEMLOCK", "hard": 320 << 20, "soft": 320 << 20} in made["process"]["rlimits"]
    assert made["linux"]["resources"]["memory"] == {"limit": 448 << 20}
    assert {"pid", "mount", "network"} <= {n["type"] for n in made["linux"]["namespaces"]}


def test_only_named_devices_are_allowed_and_only_named_folders_writable() -> None:
    made = config("c", ["python3"], {}, LIMITS, ["/run/x"], ["/blobs"], [Path("/dev/null")])
    denied, *allowed = made["linux"]["resources"]["devices"]
    assert denied == {"allow": False, "access": "rwm"}
    assert allowed == [{"allow": True, "access": "rw", "type": "c", "major": 1, "minor": 3}]
    mounts = {mount["destination"]: mount["options"] for mount in made["mounts"]}
    assert mounts["/run/x"] == ["rbind", "rw"]
    assert mounts["/blobs"] == mounts["/usr"] == ["rbind", "ro"]


def test_a_container_that_was_never_started_is_undone_without_crun(tmp_path: Path) -> None:
    bundle = tmp_path / "guest1"
    (bundle / "rootfs").mkdir(parents=True)
    ran: list[object] = []
    entry = Entry(1, container.KIND, "guest1", {}, {"bundle": str(bundle)})
    for _ in range(2):  # the agent may die in the middle of it, and the next one begins again
        container.undo(Sysfs(run=lambda argv: ran.append(argv) or ""), entry)  # type: ignore[func-returns-value]
        assert not bundle.exists()
    assert ran == []
