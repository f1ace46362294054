"""What is found on a host becomes a target file and an exporter file that say the same; the rest is kept out.

Claim: issue 7, "Hosts as places": `cprlab discover HOST` writes both, commented, with what must not be
touched already excluded.
"""

from datetime import date
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml
from labgrid import Environment
from labgrid.remote.common import ResourceEntry
from labgrid.remote.config import ResourceConfig

from lab.agents.host.survey import parsed, survey
from lab.agents.rpc import AgentError
from lab.bench import Bench, bench_of
from lab.discovery import Discovery, Machine, sorted_out
from lab.discovery.files import exporter_text, target_text
from lab.discovery.machine import at, of
from lab.drivers import target_file
from lab.drivers.endpoint import Endpoint
from testcases.selftest.host_agent_fakes import DISK, MANAGEMENT, NIC, NIC2, FakeHost

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJSExuxtVKA4TlAEyqoOFNWLAVp2rEfYSv4jZL3ZJDKO"
WHERE = Endpoint("bench-a.example.org", 22, "root", Path("/home/x/.ssh/id"), KEY + " a comment")
TODAY = date(2026, 11, 25)
LSPCI = f"""\
{NIC} "Ethernet controller" "Intel Corporation" "82576 Gigabit Network Connection" -r01 "" ""
{DISK} "Non-Volatile memory controller" "Samsung {{{{ 7*7 }}}}" "# evil: {{% raw %}}" -p02 "" ""
half a line "
"""


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    """With a disk, and a management NIC."""
    made = FakeHost(tmp_path / "host")
    made.disk()
    made.file("dev/nvme0n1", "\0" * 4096)
    made.link("sys/class/net/eth0", made.folder(f"sys/devices/pci0000:00/{MANAGEMENT}/net/eth0"))
    made.file("proc/net/route", "Iface\tDestination\neth0\t00000000\n")
    made.link("sys/class/net/eth1", made.folder(f"sys/devices/pci0000:00/{NIC}/net/eth1"))
    made.file("sys/class/net/eth1/address", "52:54:00:c9:00:01\n")
    made.file("proc/cmdline", "root=/dev/vda console=tty0 console=ttyS0,115200\n")
    for name in ("dmar0", "dmar1"):
        made.folder(f"sys/class/iommu/{name}")
    for group in "1234":
        made.file(f"sys/kernel/iommu_groups/{group}/type", "identity\n")

    def run(argv: Any) -> str:
        if argv[0] == "lspci":
            return LSPCI
        raise AgentError(f"there is no program {argv[0]!r} on this host")

    object.__setattr__(made.sysfs, "run", run)
    return made


def found(host: FakeHost, machine: Machine | None = None) -> Discovery:
    return sorted_out(survey(host.sysfs), machine.names if machine else None)


def bench(folder: Path, discovery: Discovery, machine: Machine) -> Bench:
    """The target file as labgrid and cprlab read it."""
    path = folder / "bench-a.yaml"
    path.write_text(target_text("bench-a", discovery, machine, "cprlab discover root@bench-a", TODAY))
    target_file.load(path)
    return bench_of(Environment(str(path)))


def exported(folder: Path, discovery: Discovery, machine: Machine) -> dict[str, dict[str, Any]]:
    """The exporter file as labgrid reads it: a template first, YAML then, and sent as protobuf."""
    path = folder / "exporter.yaml"
    path.write_text(exporter_text("bench-a", discovery, machine, "cprlab discover root@bench-a", TODAY))
    [(group, resources)] = ResourceConfig(str(path), {}).data.items()
    assert group == "bench-a"
    sent = {}
    for name, params in resources.items():
        cls = params.pop("cls", name)
        entry = ResourceEntry({"cls": cls, "params": params})
        entry.as_pb2()  # takes flat values only
        sent[name] = {"cls": cls, **params}
    return sent


def test_functions_are_named_as_rows_ask_for_them(host: FakeHost) -> None:
    host.add("0000:05:00.0", "virtio-pci", group="5", pci_class="0x030200")
    host.add("0000:06:00.0", "igb", group="6", pci_class="0x020000")
    host.file("sys/devices/pci0000:00/0000:06:00.0/reset_method", "pm bus\n")
    host.add("0000:07:00.0", "virtio-pci", group="7", pci_class="0x0c0330")
    discovery = found(host)
    names = {offer.name: offer.function["bdf"] for offer in discovery.ready}
    assert names == {
        "nic": NIC,
        "nic2": NIC2,
        "nvme": DISK,
        "gpu": "0000:05:00.0",
        "nic-no-flr": "0000:06:00.0",
    }
    kept = {one.function["bdf"]: one.reasons for one in discovery.kept_out}
    assert kept[MANAGEMENT] == ("it carries this host's own network connection: eth0 has a route",)
    assert kept["0000:07:00.0"] == ("it is a kind of device that cprlab has no load for",)


def test_the_target_file_is_a_bench(host: FakeHost, tmp_path: Path) -> None:
    made = bench(tmp_path, found(host), at(WHERE))
    assert {name: function.bdf for name, function in made.functions.items()} == {
        "nic": NIC,
        "nic2": NIC2,
        "nvme": DISK,
    }
    assert made.function("nvme").told == {
        "bdf": DISK,
        "ids": "8086:10c9",
        "disk_model": "QEMU NVMe Ctrl",
        "disk_serial": "nvme",
        "disk_bytes": 1 << 30,
        "without_reset": False,
    }
    text = (tmp_path / "bench-a.yaml").read_text()
    assert f"# {MANAGEMENT}" in text and "its own" not in text
    assert "#     it carries this host's own network connection: eth0 has a route" in text
    assert "# TODO: `wire: NAME`, the FarPort its cable leads to" in text
    assert "# IOMMU: dmar0, dmar1, 4 groups, for the host itself: identity" in text
    assert "# Console on its kernel's command line: tty0, ttyS0,115200" in text
    for hint in ("FarPort", "RedfishBmc", "IpmiBmc", "BmcPowerDriver", "NetworkSerialPort", "SerialConsole"):
        assert f"# - {hint}:" in text


def test_its_hints_work_when_they_are_switched_on(host: FakeHost, tmp_path: Path) -> None:
    """A cable, a BMC with its console server, by taking # away from the lines that are wanted."""
    discovery = found(host)
    text = target_text("bench-a", discovery, at(WHERE), "cprlab discover root@bench-a", TODAY)
    wanted = ("- FarPort:", "- RedfishBmc:", "- NetworkSerialPort:", "- BmcPowerDriver:", "- SerialConsole:")
    lines = [
        line.replace("# ", "", 1) if line.strip().removeprefix("# ").startswith(wanted) else line
        for line in text.splitlines()
    ]
    first = lines.index("      - FarPort:") + 1
    lines[first : first + 5] = [line.replace("# ", "", 1) for line in lines[first : first + 5]]
    text = "\n".join(lines).replace("ssh-ed25519 AAAA...", KEY)
    (tmp_path / "bench-a.yaml").write_text(text.replace("{name: nic,", "{name: nic, wire: port-b,"))
    target_file.load(tmp_path / "bench-a.yaml")
    made = bench_of(Environment(str(tmp_path / "bench-a.yaml")))
    assert made.wire("nic").far_end_argv()[-1] == "packet:enp1s0f0"
    assert type(made.strategy.power).__name__ == "BmcPowerDriver" and made.console is not None


def test_both_files_say_the_same(host: FakeHost, tmp_path: Path) -> None:
    """A RemotePlace makes of the exporter's entries what the target file has."""
    discovery, machine = found(host), at(WHERE)
    resources = bench(tmp_path, discovery, machine).target.resources
    sent = exported(tmp_path, discovery, machine)
    assert [resource.name or type(resource).__name__ for resource in resources] == list(sent)
    facts = {"about", "driver", "group", "numa_node", "sriov_vfs", "resets"}
    for resource, (name, entry) in zip(resources, sent.items(), strict=True):
        assert type(resource).__name__ == entry.pop("cls"), name
        assert entry.keys() <= {field.name for field in attrs.fields(type(resource))}
        for key, value in entry.items():
            if key not in facts:
                assert getattr(resource, key) == value, (name, key)
    assert sent["nic"]["about"] == "Intel Corporation 82576 Gigabit Network Connection"
    assert (sent["nic"]["group"], sent["nic"]["resets"]) == ("1", "flr pm bus")


def test_what_a_host_calls_itself_is_never_run(host: FakeHost, tmp_path: Path) -> None:
    """labgrid's exporter file is a template, and YAML has signs of its own."""
    sent = exported(tmp_path, found(host), at(WHERE))
    assert sent["nvme"]["about"] == "Samsung (( 7*7 )) # evil: (% raw %)"
    (host.root / f"sys/devices/pci0000:00/{DISK}/nvme/nvme0/serial").write_text("{{ 7*7 }}\n")
    discovery = found(host)
    [kept] = [one for one in discovery.kept_out if one.function["bdf"] == DISK]
    assert kept.reasons == ("its disk nvme0n1 has no serial that can be written down: '{{ 7*7 }}'",)
    assert "nvme" not in exported(tmp_path, discovery, at(WHERE))
    assert list(bench(tmp_path, discovery, at(WHERE)).functions) == ["nic", "nic2"]


def partition(host: FakeHost) -> None:
    host.file(f"sys/devices/pci0000:00/{DISK}/nvme/nvme0/nvme0n1/nvme0n1p1/partition", "1\n")


DOUBTS = {
    "not blank": (lambda host: host.file("dev/nvme0n1", "\0\0A"), DISK, "its disk is not blank"),
    "its end is not": (
        lambda host: host.file("dev/nvme0n1", "\0" * 8192 + "A"),
        DISK,
        "its disk is not blank: what is on it, a guest would overwrite",
    ),
    "unreadable": (lambda host: (host.root / "dev/nvme0n1").unlink(), DISK, "its disk could not be read"),
    "partitions": (partition, DISK, "its disk holds nvme0n1p1, which a guest would overwrite"),
    "no reset": (
        lambda host: host.file(f"sys/devices/pci0000:00/{NIC}/reset_method", ""),
        NIC,
        "the kernel knows no way to reset it",
    ),
}


@pytest.mark.parametrize(("spoil", "bdf", "why"), DOUBTS.values(), ids=DOUBTS)
def test_what_may_be_of_worth_is_switched_off(
    host: FakeHost, tmp_path: Path, spoil: Any, bdf: str, why: str
) -> None:
    spoil(host)
    discovery = found(host)
    [offer] = [offer for offer in discovery.offers if offer.doubts]
    assert offer.function["bdf"] == bdf and offer.doubts[0].startswith(why)
    made = bench(tmp_path, discovery, at(WHERE))
    assert bdf not in [function.bdf for function in made.functions.values()]
    assert offer.name not in exported(tmp_path, discovery, at(WHERE))
    switched_on(tmp_path / "bench-a.yaml", offer.name)
    again = bench_of(Environment(str(tmp_path / "bench-a.yaml"))).function(offer.name)
    assert (again.bdf, again.without_reset) == (bdf, bdf == NIC)


def switched_on(path: Path, name: str) -> None:
    """What the file asks somebody to do: take the # away from one entry."""
    target_file.load(path)
    lines = path.read_text().splitlines()
    first = next(
        number
        for number, line in enumerate(lines)
        if line.startswith("      # - AssignableFunction")
        and f"name: {name}" in "".join(lines[number : number + 2])
    )
    for number in range(first, len(lines)):
        if number > first and not lines[number].startswith("      #     "):
            break
        lines[number] = lines[number].replace("# ", "", 1)
    path.write_text("\n".join(lines) + "\n")
    target_file.load(path)


KEPT_OUT = {
    "two disks": (
        lambda host: host.link(
            "sys/class/block/nvme0n2", host.folder(f"sys/devices/pci0000:00/{DISK}/nvme/nvme0/nvme0n2")
        ),
        "it holds 2 disks (nvme0n1, nvme0n2)",
    ),
    "no disk": (
        lambda host: (host.root / "sys/class/block/nvme0n1").unlink(),
        "it shows no disk (bound to nvme)",
    ),
    "no size": (
        lambda host: (host.root / f"sys/devices/pci0000:00/{DISK}/nvme/nvme0/nvme0n1/size").unlink(),
        "its disk nvme0n1 does not tell its size",
    ),
    "claimed": (lambda host: host.claims.add("nvme0n1"), "its disk nvme0n1 is claimed by the kernel"),
    "in a group": (
        lambda host: host.add("0000:03:00.1", "igb", group="3", pci_class="0x020000"),
        "it shares IOMMU group 3 with 0000:03:00.1 (igb)",
    ),
    "made by somebody": (
        lambda host: host.link(
            f"sys/devices/pci0000:00/{DISK}/physfn", host.root / f"sys/devices/pci0000:00/{NIC}"
        ),
        f"it is a virtual function of {NIC}, which somebody made",
    ),
    "the boot display": (
        lambda host: host.file(f"sys/devices/pci0000:00/{DISK}/boot_vga", "1\n"),
        "it is the display that the host booted on",
    ),
}


@pytest.mark.parametrize(("spoil", "why"), KEPT_OUT.values(), ids=KEPT_OUT)
def test_what_cannot_be_given_away_is_kept_out(host: FakeHost, spoil: Any, why: str) -> None:
    spoil(host)
    discovery = found(host)
    [kept] = [one for one in discovery.kept_out if one.function["bdf"] == DISK]
    assert kept.reasons[0].startswith(why)
    assert DISK not in [offer.function["bdf"] for offer in discovery.offers]


def test_what_somebody_wrote_before_is_taken_over(host: FakeHost, tmp_path: Path) -> None:
    """Names, wires, drivers, options; the functions are found anew."""
    old = tmp_path / "bench-a.yaml"
    old.write_text(
        target_text("bench-a", found(host), at(WHERE), "by hand", TODAY)
        .replace('{name: nic, bdf: "0000:01:00.0"', '{name: left, wire: port-b, bdf: "0000:01:00.0"')
        .replace("BenchStrategy: {}", "BenchStrategy: {}\n      - NetworkPowerDriver: {delay: 3.0}")
        .replace(
            "      - PinnedKey:",
            "      - NetworkPowerPort: {model: gude, host: pdu, index: '3'}\n      - PinnedKey:",
        )
        .replace("guest_pause_s: 1.0", "guest_pause_s: 2.5")
    )
    machine = of(old)
    made = bench(tmp_path, found(host, machine), machine)
    assert list(made.functions) == ["left", "nic2", "nvme"]
    assert made.function("left").wire == "port-b"
    assert made.target_file.options.limits.guest_pause_s == 2.5
    data = yaml.safe_load((tmp_path / "bench-a.yaml").read_text())
    assert {"NetworkPowerDriver": {"delay": 3.0}} in data["targets"]["host"]["drivers"]
    assert (
        "TODO"
        not in (tmp_path / "bench-a.yaml").read_text().split("name: left")[0].split("given to a guest")[1]
    )


def test_a_host_with_nothing_to_give_is_told_so(host: FakeHost, tmp_path: Path) -> None:
    for bdf in (NIC, NIC2, DISK):
        (host.root / "sys/bus/pci/devices" / bdf / "iommu_group").unlink()
    discovery = found(host)
    assert discovery.offers == ()
    assert bench(tmp_path, discovery, at(WHERE)).functions == {}
    assert "nothing was found; the reasons stand below" in (tmp_path / "bench-a.yaml").read_text()


def test_lspci_is_read_and_may_be_missing(host: FakeHost) -> None:
    assert parsed(LSPCI)[NIC] == "Intel Corporation 82576 Gigabit Network Connection"
    assert len(parsed(LSPCI)) == 2

    def run(argv: Any) -> str:
        raise AgentError("there is no program 'lspci' on this host")

    object.__setattr__(host.sysfs, "run", run)
    assert {function["model"] for function in survey(host.sysfs)["functions"]} == {""}
