"""A provisioned host is the one asked for, or it is said what differs; and it stays who and where it was.

Claims: contracts of lab/provision.py, lab/agents/host/identity.py and lab/agents/host/provisioned.py.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from lab.agents.host import identity, provisioned
from lab.agents.rpc import AgentError
from lab.errors import LabUsageError
from lab.images.provisioned import ProvisionedRoot
from lab.provision import Asked, changed, differences, release_of

DIGEST = "d1" * 32
ASKED = Asked(Path("bzImage"), ProvisionedRoot(Path("root"), DIGEST))
GOOD = {
    "boot_id": "b",
    "release": "7.3.4",
    "digest": DIGEST,
    "root": "rootfs rootfs",
    "files": 9,
    "wrong": [],
}
HERE = "10.1.0.5 40000 10.1.0.2 22"
LINKS = [
    {"ifname": "lo", "address": "00:00:00:00:00:00", "addr_info": []},
    {
        "ifname": "enp3s0",
        "address": "52:54:00:12:34:56",
        "addr_info": [
            {"local": "10.1.0.2", "prefixlen": 24, "scope": "global"},
            {"local": "fe80::1", "prefixlen": 64, "scope": "link"},
        ],
    },
]
ROUTES = [{"dst": "default", "gateway": "10.1.0.1"}, {"dst": "10.1.0.0/24"}]


@pytest.mark.parametrize(
    "other, words",
    [
        ({}, ""),
        ({"boot_id": "a"}, "it is the same boot as before"),
        ({"release": "6.1"}, "its kernel is 6.1, not 7.3.4"),
        ({"digest": None}, f"its root is None, not {DIGEST[:12]}"),
        ({"digest": "0" * 64}, f"its root is 000000000000, not {DIGEST[:12]}"),
        ({"wrong": ["usr/bin/ip", "x"]}, "2 of its 9 files differ, the first is /usr/bin/ip"),
    ],
)
def test_what_is_not_as_asked_for_is_said(other: dict[str, Any], words: str) -> None:
    assert differences(ASKED, "7.3.4", "a", {**GOOD, **other}) == words


@pytest.mark.parametrize(
    "other, words",
    [
        ({}, ""),
        ({"boot_id": "b"}, "it is the same boot as before"),
        ({"root": "rootfs rootfs"}, "root is rootfs rootfs, was /dev/sda1 ext4"),
        ({"release": "6.2"}, "release is 6.2, was 6.1"),
    ],
)
def test_what_did_not_come_back_as_it_was_is_said(other: dict[str, Any], words: str) -> None:
    own = {"boot_id": "a", "release": "6.1", "root": "/dev/sda1 ext4"}
    assert changed(own, "b", {**own, "boot_id": "c", **other}) == words


def test_a_kernel_says_its_release(tmp_path: Path) -> None:
    kernel = tmp_path / "bzImage"
    head = bytearray(0x1000)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = (0x600).to_bytes(2, "little")
    head[0x800:0x810] = b"7.3.4 (root@x)\0\0"
    kernel.write_bytes(head)
    assert release_of(kernel) == "7.3.4"
    kernel.write_bytes(b"no kernel" * 1000)
    with pytest.raises(LabUsageError, match="is no bzImage"):
        release_of(kernel)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with keys, one NIC and a root on a disk."""
    files = {
        "ssh/ssh_host_ed25519_key": "private",
        "ssh/ssh_host_ed25519_key.pub": "public",
        "users": "ssh-ed25519 AAAA me",
        "cmdline": "BOOT_IMAGE=/vmlinuz root=UUID=1 ro quiet console=ttyS0 intel_iommu=on console=ttyS0",
        "net/enp3s0/device": "",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    for name, path in {"_SSH": "ssh", "_USERS": "users", "_CMDLINE": "cmdline", "_NET": "net"}.items():
        monkeypatch.setattr(identity, name, tmp_path / path)
    monkeypatch.setattr(identity, "_ip", lambda *words: LINKS if words == ("address",) else ROUTES)
    return tmp_path


def test_the_next_system_is_reached_as_this_one(host: Path) -> None:
    archive = identity.identity(HERE)
    place = re.search(
        rb"hostname .*\nnic 52:54:00:12:34:56\naddress 10.1.0.2/24\nroute default via 10.1.0.1\n", archive
    )
    assert place, archive
    for part in (b"etc/ssh/ssh_host_ed25519_key\0", b"private", b"root/.ssh/authorized_keys", b"dev/console"):
        assert part in archive
    assert b"TRAILER!!!" in archive and len(archive) % 4 == 0


def test_the_next_kernel_hears_nothing_of_this_ones_disk(host: Path) -> None:
    line = identity.next_command_line("cprlab.root=d1")
    assert line == "quiet console=ttyS0 intel_iommu=on cprlab.root=d1"


def test_a_bridge_or_bond_is_refused(host: Path) -> None:
    (host / "net/enp3s0/device").unlink()
    with pytest.raises(AgentError, match="ssh comes by enp3s0, which is no plain NIC"):
        identity.identity(HERE)


def test_an_address_that_is_nowhere_is_refused(host: Path) -> None:
    with pytest.raises(AgentError, match=r"has the address 9\.9\.9\.9"):
        identity.identity("1.1.1.1 1 9.9.9.9 22")
    with pytest.raises(AgentError, match="not started over ssh"):
        identity.identity("")


def test_a_host_without_keys_is_refused(host: Path) -> None:
    (host / "ssh/ssh_host_ed25519_key").unlink()
    with pytest.raises(AgentError, match="no ssh host keys"):
        identity.identity(HERE)


def test_each_file_is_compared_but_pythons_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, cache = tmp_path / "good", tmp_path / "x.pyc"
    good.write_text("good")
    cache.write_text("renewed")
    digest = hashlib.sha256(b"good").hexdigest()
    lines = [f"{digest} 4 {name}" for name in (str(good), f"{tmp_path}/missing", str(cache))]
    manifest = tmp_path / "manifest"
    manifest.write_text("".join(f"{line}\n" for line in lines))
    monkeypatch.setattr(provisioned, "MANIFEST", manifest)
    seen = provisioned.compared()
    assert (seen["files"], seen["wrong"]) == (2, [f"{tmp_path}/missing"])
    assert seen["digest"] == hashlib.sha256(manifest.read_bytes()).hexdigest()
    good.write_text("other")
    assert provisioned.compared()["wrong"] == [str(good), f"{tmp_path}/missing"]


def test_a_host_with_its_own_system_has_no_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioned, "MANIFEST", tmp_path / "none")
    seen = provisioned.compared()
    assert seen["digest"] is None and seen["came_from"] is None and json.dumps(seen)
