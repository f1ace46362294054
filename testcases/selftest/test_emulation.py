"""What an emulated host says of itself is what a real one's files say, and two never share an address.

Claims: contract of lab/emulation/described.py; the machine itself is shown in testcases/test_bare_metal.py.
"""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from labgrid.remote.config import ResourceConfig

from lab.bench import prepared
from lab.drivers import target_file
from lab.drivers.virtual_argv import Machine, machine_argv
from lab.drivers.virtual_devices import Device
from lab.drivers.virtual_seed import KeyPair
from lab.emulation import disk
from lab.emulation.described import FAR_PORT, Described
from lab.emulation.machine import SwitchedMachine
from lab.errors import BenchError

RUN = Path("/run/x")
MACHINE = Machine(RUN, Path("/k"), Path("/d"), RUN / "seed.tar", RUN / "log", 1, 512, (), "tcg")
KEY = KeyPair.made().public
DESCRIBED = Described(
    address="127.64.1.2",
    ssh=2222,
    host_key=KEY,
    key_file=Path("/f/key"),
    bmc={
        "RedfishBmc": {"url": "https://127.64.1.2:8443", "username": "admin", "password_file": "/f/password"}
    },
    serial=4001,
    functions={"nic": {"bdf": "0000:01:00.0"}, "nvme": {"bdf": "0000:02:00.0"}},
    far_ssh=2223,
    far_key=KEY,
)
BY_IPMI = replace(
    DESCRIBED,
    serial=None,
    bmc={"IpmiBmc": {"host": "127.64.1.2", "username": "admin", "password_file": "/f/p"}},
)


@pytest.mark.parametrize("described", [DESCRIBED, BY_IPMI], ids=["redfish", "ipmi"])
def test_its_target_file_is_a_real_hosts(described: Described, tmp_path: Path) -> None:
    path = tmp_path / "bench-a.yaml"
    path.write_text(described.target_file({"guest": {"memory_mib": 256}}))
    assert target_file.load(path).options.guest.memory_mib == 256
    bench = prepared(path)
    assert bench.virtual is None and bench.console is not None and bench.strategy.power is not None
    assert bench.wire("nic").far_end_argv()[-1] == "packet:port0"
    assert "VirtualBench" not in path.read_text()


def test_its_exporter_file_has_the_same_resources(tmp_path: Path) -> None:
    path = tmp_path / "bench-a.exporter"
    path.write_text(DESCRIBED.exporter_file("bench-a"))
    exported = ResourceConfig(str(path)).data["bench-a"]
    assert exported[FAR_PORT]["cls"] == "FarPort" and exported["nic"]["wire"] == FAR_PORT
    assert {entry["cls"] for entry in exported.values()} == {
        kind for resource in DESCRIBED.resources() for kind in resource
    }
    assert "password_file" in exported["RedfishBmc"]  # where it stands on the controller, never what


def test_a_far_machines_nic_is_the_other_end_of_the_wire(tmp_path: Path) -> None:
    near = replace(MACHINE, devices=(Device("nic", "igb", wire=True),))
    far = replace(MACHINE, run_dir=tmp_path, devices=(Device("far", "igb", cable=near.run_dir / "nic"),))
    ends = [
        next(word for word in machine_argv(machine) if word.startswith("dgram,")).split(",")[3::2]
        for machine in (near, far)
    ]
    assert [end.partition("=")[2] for end in ends[0]] == [end.partition("=")[2] for end in reversed(ends[1])]


def test_a_machine_that_keeps_its_disk_has_no_seed_and_no_snapshot() -> None:
    argv = " ".join(machine_argv(replace(MACHINE, seed=None, keeps_disk=True, ssh_at="127.64.1.2:2222")))
    assert "snapshot=off" in argv and "id=seed" not in argv and "hostfwd=tcp:127.64.1.2:2222-:22" in argv


def test_a_host_is_installed_with_its_keys(tmp_path: Path) -> None:
    image, own = tmp_path / "image", tmp_path / "own.raw"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", str(image)], check=True)
    disk.install(image, own, {"/key": (b"private", 0o600)})
    said = subprocess.run(
        ["/sbin/debugfs", "-R", "stat /key", str(own)], check=True, capture_output=True, text=True
    ).stdout
    assert "Mode:  0600" in said and "User:     0" in said
    assert (
        subprocess.run(["/sbin/debugfs", "-R", "cat /key", str(own)], check=True, capture_output=True).stdout
        == b"private"
    )
    assert own.stat().st_mode & 0o777 == 0o600 and not own.with_suffix(".parts").exists()
    assert image.read_bytes() != own.read_bytes()


def test_an_image_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"no file system")
    with pytest.raises(BenchError, match="tune2fs failed"):
        disk.install(tmp_path / "image", tmp_path / "own", {})


def test_a_machine_that_was_never_on_is_off(tmp_path: Path) -> None:
    machine = SwitchedMachine(replace(MACHINE, run_dir=tmp_path), ["false"], {})
    machine.off()
    machine.reset()
    assert not machine.is_on
    with pytest.raises(BenchError, match="was never powered on"):
        machine.last_words()
