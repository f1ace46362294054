"""The bench host's QEMU command line is data, private to its run folder, and listens nowhere else.

Source: issue 2, part 2; virtual-bench/README.md, "Bench host arguments that worked".
"""

import hashlib
import os
import re
import tarfile
from pathlib import Path

import pytest
import yaml

from lab.drivers import run_dirs
from lab.drivers.virtual_argv import Machine, machine_argv
from lab.drivers.virtual_devices import MODELS, SCREEN, Device, bdf
from lab.drivers.virtual_seed import KeyPair, write_private, write_seed

RUN = Path("/tmp/cprlab-1-x")


def argv(*devices: Device, accelerator: str = "tcg") -> list[str]:
    machine = Machine(
        RUN, Path("/k"), Path("/d"), RUN / "seed.tar", RUN / "log", 2, 1024, devices, accelerator
    )
    return machine_argv(machine)


def test_each_device_has_its_own_root_port_in_order() -> None:
    devices = Device("nic", "igb", wire=True), Device("disk", "nvme")
    words = argv(*devices)
    ports = [word for word in words if word.startswith("pcie-root-port")]
    assert [port.split(",")[1] for port in ports] == ["id=port-nic", "id=port-disk"]
    assert [port.split("addr=")[1].split(",")[0] for port in ports] == ["0x10", "0x11"]
    assert [bdf(devices, index) for index in (0, 1)] == ["0000:01:00.0", "0000:02:00.0"]


def test_a_device_that_shares_a_group_is_a_function_beside_the_one_before() -> None:
    devices = Device("a", "nvme"), Device("b", "nvme", shares_group=True), Device("c", "edu")
    words = argv(*devices)
    places = [re.search(r"bus=port-(.),addr=([0-9.]+)(,multifunction=on)?", word) for word in words]
    found = [match.groups() for match in places if match]
    assert found == [("a", "0.0", ",multifunction=on"), ("a", "0.1", ",multifunction=on"), ("c", "0.0", None)]
    assert [bdf(devices, index)[5:] for index in range(3)] == ["01:00.0", "01:00.1", "02:00.0"]


def test_a_host_without_iommu_has_none() -> None:
    machine = Machine(RUN, Path("/k"), Path("/d"), RUN / "s", RUN / "log", 2, 1024, (), "tcg", iommu="none")
    assert "intel-iommu" in " ".join(argv()) and "intel-iommu" not in " ".join(machine_argv(machine))


def test_a_wire_is_two_sockets_in_the_run_folder() -> None:
    (netdev,) = [word for word in argv(Device("nic", "igb", wire=True)) if word.startswith("dgram")]
    assert f"local.path={RUN}/nic.qemu" in netdev
    assert f"remote.path={RUN}/nic.far" in netdev


def test_a_nic_without_wire_has_no_netdev() -> None:
    assert not [word for word in argv(Device("nic", "igb")) if word.startswith("dgram")]


@pytest.mark.parametrize("model", MODELS)
def test_every_model_gives_one_device_behind_its_port(model: str) -> None:
    assert sum("bus=port-it" in word for word in argv(Device("it", model))) == 1


def test_a_disk_is_held_back_only_if_asked() -> None:
    drives = [
        word
        for word in argv(Device("slow", "nvme", iops=100), Device("fast", "nvme"))
        if word.startswith("if=none,id=disk-")
    ]
    assert ["throttling.iops-total=100" in drive for drive in drives] == [True, False]
    assert "throttling" not in drives[1]


def test_edu_reaches_all_memory_and_the_screen_is_small() -> None:
    words = argv(Device("edu", "edu"), Device("gpu", "virtio-gpu"))
    (edu,) = [word for word in words if word.startswith("edu")]
    (gpu,) = [word for word in words if word.startswith("virtio-gpu")]
    assert "dma_mask=0xffffffffffffffff" in edu
    assert f"xres={SCREEN.width},yres={SCREEN.height}" in gpu


def test_every_function_of_the_virtual_bench_is_where_its_device_is() -> None:
    file = yaml.safe_load((Path(__file__).resolve().parents[2] / "targets/virtual.yaml").read_text())
    resources = file["targets"]["host"]["resources"]
    devices = tuple(Device(**device) for device in resources[0]["VirtualBench"]["devices"])
    functions = [r["AssignableFunction"] for r in resources[1:]]
    assert [f["name"] for f in functions] == [device.name for device in devices]
    assert [f["bdf"] for f in functions] == [bdf(devices, index) for index in range(len(devices))]
    assert [f.get("wire") for f in functions] == [d.name if d.wire else None for d in devices]


def test_nothing_listens_beyond_loopback_and_the_bench_reaches_nothing() -> None:
    (user,) = [word for word in argv() if word.startswith("user,")]
    assert user == "user,id=management,restrict=on,hostfwd=tcp:127.0.0.1:0-:22"
    assert not [word for word in argv() if "tcp:" in word and "127.0.0.1" not in word]


def test_kvm_takes_the_hosts_cpu() -> None:
    words = argv(accelerator="kvm")
    assert words[words.index("-accel") + 1] == "kvm"
    assert words[words.index("-cpu") + 1] == "host"


def test_the_seed_holds_keys_and_blobs(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"kernel")
    write_seed(tmp_path / "seed.tar", KeyPair.made(), KeyPair.made(), [blob])
    with tarfile.open(tmp_path / "seed.tar") as seed:
        modes = {member.name: member.mode for member in seed}
    assert modes["etc/ssh/ssh_host_ed25519_key"] == 0o600
    assert modes["root/.ssh/authorized_keys"] == 0o600
    assert f"var/lib/cprlab/blobs/{hashlib.sha256(b'kernel').hexdigest()}" in modes
    assert (tmp_path / "seed.tar").stat().st_size % 512 == 0


def test_a_private_key_is_ours_alone(tmp_path: Path) -> None:
    write_private(tmp_path / "key", KeyPair.made().private)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_folders_of_dead_owners_are_swept_and_no_others(tmp_path: Path) -> None:
    names = (f"cprlab-{2**22 + 1}-x", f"cprlab-{os.getpid()}-x", "other-1-x")
    dead, ours, foreign = (tmp_path / name for name in names)
    for folder in (dead, ours, foreign):
        folder.mkdir()
    run_dirs.sweep(tmp_path)
    assert not dead.exists() and ours.exists() and foreign.exists()


def test_an_earlier_console_log_is_kept(tmp_path: Path) -> None:
    run_dirs.console_log(tmp_path, RUN).write_text("first")
    again = run_dirs.console_log(tmp_path, RUN)
    assert not again.exists()
    assert (tmp_path / "console-host.log.1").read_text() == "first"
