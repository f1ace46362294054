"""What a host offers for rows without hardware is asked of it, on texts recorded on a bench.

Recorded: Linux 7.3.4, iproute2 6.15.0, QEMU 11.1.3.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from lab.agents.host.capabilities import NOIOMMU, capabilities
from lab.agents.host.tool import run_tool
from lab.agents.rpc import AgentError
from testcases.selftest.host_agent_fakes import NIC, FakeHost
from testcases.selftest.host_agent_made import MakingHost

STORAGE_DAEMON_HELP = """\
  --export [type=]vhost-user-blk,id=<id>,node-name=<node-name>,
           addr.type=fd,addr.str=<fd>[,writable=on|off]
           [,logical-block-size=<block-size>][,num-queues=<num-queues>]
                         export the specified block node as a
                         vhost-user-blk device over file descriptor

  --export [type=]vduse-blk,id=<id>,node-name=<node-name>
           ,name=<vduse-name>[,writable=on|off]
           [,num-queues=<num-queues>][,queue-size=<queue-size>]
"""


class Installed(MakingHost):
    """There is a qemu-storage-daemon that prints `help` for --help."""

    def __init__(self, root: Path, help: str) -> None:
        super().__init__(root)
        self._help = help

    def run(self, argv: Sequence[str]) -> str:
        return self._help if argv == ["qemu-storage-daemon", "--help"] else super().run(argv)


def test_a_host_that_has_all(tmp_path: Path) -> None:
    host = Installed(tmp_path / "host", STORAGE_DAEMON_HELP)
    nodes = {"dev/vhost-net", "dev/vhost-vsock", "dev/vduse/control", "dev/net/tun"}
    for node in nodes:
        host.file(node, "")
    found = capabilities(host.sysfs)
    assert found["sriov"] == {NIC: 7}
    assert found["vdpa"] == ["vdpasim_blk", "vdpasim_net", "vduse"]
    assert found["mdev"] == {"mtty": ["mtty-1", "mtty-2"]}
    names = ["vhost_vdpa", "vhost_net", "vhost_vsock", "vduse", "tun", "vfio_noiommu_off"]
    assert all(found[name] is True for name in [*names, "qemu_storage_daemon", "vduse_blk_export"])


def test_a_host_that_has_none(tmp_path: Path) -> None:
    found = capabilities(FakeHost(tmp_path / "host").sysfs)
    assert (found["sriov"], found["vdpa"], found["mdev"]) == ({}, [], {})
    names = ["vhost_vdpa", "vhost_net", "vhost_vsock", "vduse", "tun"]
    assert not any(found[name] for name in [*names, "qemu_storage_daemon", "vduse_blk_export"])


def test_a_storage_daemon_that_was_built_without(tmp_path: Path) -> None:
    help_text = STORAGE_DAEMON_HELP[: STORAGE_DAEMON_HELP.index("  --export [type=]vduse")]
    found = capabilities(Installed(tmp_path / "host", help_text).sysfs)
    assert (found["qemu_storage_daemon"], found["vduse_blk_export"]) == (True, False)


@pytest.mark.parametrize(("text", "off"), [(None, True), ("N\n", True), ("Y\n", False)])
def test_unsafe_vfio_without_an_iommu(tmp_path: Path, text: str | None, off: bool) -> None:
    host = FakeHost(tmp_path / "host")
    if text is not None:
        host.file(NOIOMMU, text)
    assert capabilities(host.sysfs)["vfio_noiommu_off"] is off


def test_a_tool_that_succeeds() -> None:
    assert run_tool(["printf", "%s", "a b"]) == "a b"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "echo 'Error: vdpa: x' >&2; echo 'kernel answers: y' >&2; exit 1",
            "failed: Error: vdpa: x; kernel answers: y",
        ),
        ("echo out; exit 2", "failed: out"),
        ("exit 3", "failed: it printed nothing"),
    ],
)
def test_a_tool_that_fails_is_told_of_in_one_line(script: str, said: str) -> None:
    with pytest.raises(AgentError) as failed:
        run_tool(["sh", "-c", script])
    assert str(failed.value).endswith(said) and "\n" not in str(failed.value)


def test_a_tool_that_is_not_there() -> None:
    with pytest.raises(AgentError, match="there is no program 'no-such-tool' on this host"):
        run_tool(["no-such-tool"])
