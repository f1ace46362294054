"""A bench host made of files whose kernel makes devices, with texts recorded on a bench.

Recorded: Linux 7.3.4, iproute2 6.15.0, QEMU 11.1.3, igb by QEMU.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.agents.host import making, vduse
from lab.agents.host.journal import Journal, Undo
from lab.agents.host.sysfs import link_name
from lab.agents.rpc import AgentError
from testcases.selftest.host_agent_fakes import NIC, FakeHost

VF, VF_GROUP, PF_INTERFACE = "0000:01:10.0", "9", "eth1"
VF_MAC = "52:54:00:c9:ff:01"

IP_LINK_SHOW = (
    '[{"ifindex":3,"ifname":"eth1","flags":["BROADCAST","MULTICAST"],"mtu":1500,"qdisc":"mq","operstate":"DOWN",'
    '"linkmode":"DEFAULT","group":"default","txqlen":1000,"link_type":"ether","address":"52:54:00:c9:00:01",'
    '"broadcast":"ff:ff:ff:ff:ff:ff","vfinfo_list":[{"vf":0,"link_type":"ether","address":"52:54:00:c9:ff:01",'
    '"broadcast":"ff:ff:ff:ff:ff:ff","vlan_list":[{}],"rate":{"max_tx":0,"min_tx":0},"spoofchk":true,'
    '"link_state":"auto","trust":false}]}]'
)
MGMTDEV_SHOW = (
    '{"mgmtdev":{"vdpasim_net":{"supported_classes":["net"],"max_supported_vqs":3,"dev_features":["MTU","MAC",'
    '"STATUS","CTRL_VQ","CTRL_MAC_ADDR","ANY_LAYOUT","VERSION_1","ACCESS_PLATFORM"]},"vdpasim_blk":'
    '{"supported_classes":["block"],"max_supported_vqs":0,"dev_features":[]},"vduse":{"supported_classes":'
    '["net","block"],"max_supported_vqs":0,"dev_features":[]}}}'
)
DEV_SHOW = (
    '{"dev":{"cprlab0":{"type":"network","mgmtdev":"vdpasim_net","vendor_id":0,"max_vqs":3,"max_vq_size":256},'
    '"cprlabb":{"type":"block","mgmtdev":"vdpasim_blk","vendor_id":0,"max_vqs":1,"max_vq_size":256}}}'
)
_TYPES = {"vdpasim_net": "network", "vdpasim_blk": "block", "vduse": "block"}


class MakingHost(FakeHost):
    """NIC can have virtual functions; there is mtty, and a vDPA bus.

    fails:     words of a tool's command that it refuses
    spoofchk:  what the driver of the NIC says of its function's sender addresses; None: it does not say
    destroyed: VDUSE devices that the kernel was told to forget
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.fails: set[str] = set()
        self.spoofchk: bool | None = True
        self.destroyed: list[str] = []
        self.vdpa: dict[str, str] = {}
        self._nic()
        for driver in ("vhost_vdpa", "virtio_vdpa"):
            self.folder(f"sys/bus/vdpa/drivers/{driver}")
        for kind, left in (("mtty-1", "24"), ("mtty-2", "12")):
            self.file(f"sys/class/mdev_bus/mtty/mdev_supported_types/{kind}/available_instances", f"{left}\n")

    def write(self, path: Path, text: str) -> None:
        at = str(path.relative_to(self.root))
        if path.name == "sriov_numvfs":
            self._make_vf() if text == "1" else self.remove_vf()
        elif at.startswith("sys/bus/vdpa") and path.name in ("bind", "unbind"):
            self._move_vdpa(path, text)
        elif path.name == "create":
            self._make_mdev(path.parent, text)
        elif path.name == "remove":
            shutil.rmtree(path.parent)
        elif path.name not in ("driver_override", "unbind", "drivers_probe"):
            path.write_text(text + "\n")
        else:
            return super().write(path, text)
        self.written.append((path.name, text))
        return None

    def run(self, argv: Sequence[str]) -> str:
        if is_question(argv):
            return "[]"
        said = " ".join(argv)
        self.ran.append(said)
        if any(word in said for word in self.fails):
            raise AgentError(f"{said!r} failed: RTNETLINK answers: Operation not supported")
        if argv[0] == "ip":
            return self._ip(list(argv[1:]))
        if argv[0] == "vdpa":
            return self._vdpa(list(argv[1:]))
        raise AgentError(f"there is no program {argv[0]!r} on this host")

    def destroy(self, name: str) -> None:
        self.destroyed.append(name)
        shutil.rmtree(self.root / "sys/class/vduse" / name)

    def daemon(self, pid: int, name: str) -> None:
        """A daemon has made its half of a VDUSE device."""
        self.file(f"sys/class/vduse/{name}/msg_timeout", "30\n")
        self.hold(pid, f"/dev/vduse/{name}")

    def is_up(self, interface: str) -> bool:
        return bool(int((self.root / "sys/class/net" / interface / "flags").read_text(), 16) & 1)

    def set_up(self, interface: str, up: bool) -> None:
        self.file(f"sys/class/net/{interface}/flags", f"{0x1002 | up:#x}\n")

    def interface(self, name: str, mac: str) -> None:
        self.file(f"sys/class/net/{name}/address", f"{mac}\n")
        self.set_up(name, False)

    def tap(self, name: str) -> None:
        self.interface(name, "5e:bb:30:b2:64:a7")
        self.file(f"sys/class/net/{name}/tun_flags", "0x5002\n")

    def _nic(self) -> None:
        (self.root / "sys/bus/pci/drivers/igbvf").mkdir()
        net = self.folder(f"sys/devices/pci0000:00/{NIC}/net/{PF_INTERFACE}")
        self.link(f"sys/class/net/{PF_INTERFACE}", net)
        self.interface(PF_INTERFACE, "52:54:00:c9:00:01")
        for name, text in (("totalvfs", "7"), ("numvfs", "0"), ("drivers_autoprobe", "1")):
            self.file(f"sys/devices/pci0000:00/{NIC}/sriov_{name}", f"{text}\n")

    def _make_vf(self) -> None:
        pf = self.root / "sys/devices/pci0000:00" / NIC
        self.add(VF, "igbvf", group=VF_GROUP, pci_class="0x020000")
        if (pf / "sriov_drivers_autoprobe").read_text().strip() == "0":
            (self.root / "sys/bus/pci/devices" / VF / "driver").unlink()
        (pf / "virtfn0").symlink_to(self.root / "sys/devices/pci0000:00" / VF)
        (pf / "sriov_numvfs").write_text("1\n")

    def remove_vf(self) -> None:
        """As also a reset of the NIC, or its driver's end, does."""
        pf = self.root / "sys/devices/pci0000:00" / NIC
        (pf / "virtfn0").unlink()
        (self.root / "sys/bus/pci/devices" / VF).unlink()
        shutil.rmtree(self.root / "sys/devices/pci0000:00" / VF)
        shutil.rmtree(self.root / "sys/kernel/iommu_groups" / VF_GROUP)
        (pf / "sriov_numvfs").write_text("0\n")

    def _make_mdev(self, kind: Path, number: str) -> None:
        self.folder(f"sys/bus/mdev/devices/{number}/vfio-dev/vfio0")
        self.link(f"sys/bus/mdev/devices/{number}/iommu_group", self.folder("sys/kernel/iommu_groups/11"))

    def _move_vdpa(self, path: Path, name: str) -> None:
        device = self.root / "sys/bus/vdpa/devices" / name
        if path.name == "bind":
            driver = path.parent.name
            assert (device / "driver_override").read_text() == driver, "the other driver could take it"
            self._bind_vdpa(device, driver)
        else:
            for made in [*device.glob("vhost-vdpa-*"), *device.glob("virtio*")]:
                shutil.rmtree(made)
            (device / "driver").unlink()

    def _bind_vdpa(self, device: Path, driver: str) -> None:
        (device / "driver").symlink_to(self.root / "sys/bus/vdpa/drivers" / driver)
        if driver == "vhost_vdpa":
            (device / "vhost-vdpa-0").mkdir()
            self.file("dev/vhost-vdpa-0", "")
        elif _TYPES[self.vdpa[device.name]] == "block":
            (device / "virtio4/block/vdc").mkdir(parents=True)
            self.file("dev/vdc", "")

    def _ip(self, words: list[str]) -> str:
        match words:
            case ["-j", "link", "show", "dev", _]:
                shown = json.loads(IP_LINK_SHOW)
                shown[0]["vfinfo_list"][0]["spoofchk"] = self.spoofchk
                if self.spoofchk is None:
                    del shown[0]["vfinfo_list"][0]["spoofchk"]
                return json.dumps(shown)
            case ["link", "set", "dev", interface, "up" | "down" as state]:
                self.set_up(interface, state == "up")
            case ["link", "set", "dev", _, "vf", "0", *setting]:
                assert link_name(self.root / "sys/devices/pci0000:00" / NIC / "virtfn0") == VF
                self.spoofchk = False if setting == ["spoofchk", "off"] else self.spoofchk
            case ["link", "delete", "dev", interface]:
                shutil.rmtree(self.root / "sys/class/net" / interface)
            case _:
                raise AssertionError(words)
        return ""

    def _vdpa(self, words: list[str]) -> str:
        match words:
            case ["-j", "mgmtdev", "show"]:
                return MGMTDEV_SHOW
            case ["-j", "dev", "show"]:
                return json.dumps({"dev": {name: {"type": _TYPES[by]} for name, by in self.vdpa.items()}})
            case ["dev", "add", "name", name, "mgmtdev", management, *_]:
                self.vdpa[name] = management
                self._bind_vdpa(self.folder(f"sys/bus/vdpa/devices/{name}"), "virtio_vdpa")
            case ["dev", "del", name]:
                del self.vdpa[name]
                shutil.rmtree(self.root / "sys/bus/vdpa/devices" / name)
            case _:
                raise AssertionError(words)
        return ""


def undo_table(host: MakingHost) -> dict[str, Undo]:
    """The agent's own, with a kernel that forgets VDUSE devices."""
    table = making.undo_table(host.sysfs)
    return table | {vduse.KIND: lambda entry: vduse.undo(host.sysfs, entry, host.destroy)}


def journal_of(host: MakingHost) -> Journal:
    return Journal(host.root / "journal.jsonl", undo_table(host), 0.2)


def is_question(argv: object) -> bool:
    """Whether a command of a tool only looks at what the host's network stands on."""
    return isinstance(argv, list) and argv[:2] == ["ip", "-j"] and argv[2] != "link"


class Crash(BaseException):
    """The agent is killed."""


@contextmanager
def crash_after(host: MakingHost, steps: int) -> Iterator[None]:
    """Die before the step after so many that were taken: writes to sysfs and commands of tools."""
    left = steps

    def counted(act: Callable[..., str | None]) -> Callable[..., str | None]:
        def step(*args: object) -> str | None:
            nonlocal left
            if is_question(args[0]):
                return act(*args)
            if left == 0:
                raise Crash
            left -= 1
            return act(*args)

        return step

    for name in ("write", "run"):
        object.__setattr__(host.sysfs, name, counted(getattr(host, name)))
    try:
        yield
    except Crash:
        pass
    finally:
        for name in ("write", "run"):
            object.__setattr__(host.sysfs, name, getattr(host, name))


def next_agent(host: MakingHost, crashed: Journal) -> list[str]:
    """Let the next agent undo what a killed one left: what failed."""
    crashed.close()  # as the kernel does for a dead process
    following = journal_of(host)
    following.load()
    failed = [str(undone["error"]) for undone in following.undo_all() if "error" in undone]
    assert failed or following.undo_all() == []
    following.close()
    return failed


def tree(host: MakingHost) -> dict[str, str]:
    """All files and links of the host, to compare: nothing but the journal may stay."""
    found = {}
    for path in sorted(host.root.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(host.root))] = f"-> {path.readlink()}"
        elif path.is_file() and path.name != "journal.jsonl" and path.parent.name != "dev":
            found[str(path.relative_to(host.root))] = path.read_text()
    return found
