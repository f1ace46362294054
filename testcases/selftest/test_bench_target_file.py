"""A mistake in a target file is one line with file, line and key; the files we ship have none.

Source: issue 2, "What bad input gets".
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab.bench import prepared
from lab.drivers import target_file
from lab.errors import LabUsageError

TARGETS = Path(__file__).resolve().parents[2] / "targets"
VIRTUAL = (TARGETS / "virtual.yaml").read_text()
EXAMPLE = (TARGETS / "example-host.yaml").read_text()


@pytest.mark.parametrize("path", sorted(TARGETS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_file_in_targets_is_valid(path: Path) -> None:
    assert target_file.load(path).name == path.stem


def test_what_we_read_from_it() -> None:
    file = target_file.load(TARGETS / "virtual.yaml")
    assert file.options.guest.memory_mib == 256
    assert file.options.limits.guest_pause_s == 20.0
    assert file.options.limits.reboot_pause_s == 120.0
    assert file.tools.qemu_new == "/usr/bin/qemu-system-x86_64"


BMC = EXAMPLE.replace("# - RedfishBmc", "- RedfishBmc").replace(
    "#                system", "                 system"
)

MISTAKES = {
    "no password": (
        BMC,
        "password_file: ~/.config/cprlab/bmc-a,\n",
        "\n",
        "either password_env or password_file",
    ),
    "a password in the file": (BMC, "username: lab,", "username: lab, password: x,", "password: unknown key"),
    "http": (BMC, "https://bmc", "http://bmc", "https://ADDRESS or https://ADDRESS:PORT was expected, not"),
    "unknown section": (VIRTUAL, "tools:", "tolls:", "tolls: unknown key"),
    "unknown option": (VIRTUAL, "guest_pause_s", "guest_pause", "options.limits.guest_pause: unknown key"),
    "wrong type": (VIRTUAL, "cpus: 2\n", "cpus: two\n", "cpus: must be a valid integer, not 'two'"),
    "no conversion of text": (VIRTUAL, "memory_mib: 256", 'memory_mib: "256"', "not '256'"),
    "out of range": (VIRTUAL, "memory_mib: 3072", "memory_mib: 64", "must be greater than or equal to 512"),
    "unknown argument": (VIRTUAL, "memory_mib: 3072", "memory: 3072", "VirtualBench.memory: unknown key"),
    "unknown model": (
        VIRTUAL,
        "model: igb",
        "model: ne2k",
        "devices[0].model: one of igb, e1000e, nvme, virtio-gpu, edu was expected, not",
    ),
    "a disk that never answers": (VIRTUAL, "iops: 40", "iops: 0", "devices[2].iops: must be greater"),
    "a NIC is no disk": (
        VIRTUAL,
        "model: igb,",
        "model: igb, iops: 100,",
        "devices[0].iops: a device with a disk (nvme) was expected for it, not 100",
    ),
    "bad BDF": (
        VIRTUAL,
        '"0000:01:00.0"',
        '"01:00.0"',
        "AssignableFunction.bdf: a full BDF in lower case, such as 0000:3b:00.0, was expected",
    ),
    "missing argument": (VIRTUAL, 'bdf: "0000:01:00.0", ', "", "AssignableFunction: key 'bdf' is missing"),
    "unknown class": (VIRTUAL, "BenchStrategy: {}", "BenchStrategie: {}", "unknown driver class"),
    "no arguments": (VIRTUAL, "BenchStrategy: {}", "BenchStrategy:", "arguments were expected, {} for none"),
    "repeated key": (VIRTUAL, "qemu-new:", "qemu-old:", "tools.qemu-old: this key stands here twice"),
    "no such module": (
        VIRTUAL,
        "labgrid_bench",
        "labgrid_bank",
        "'lab.drivers.labgrid_bank' cannot be imported",
    ),
    "other target": (VIRTUAL, "  host:", "  main:", "a target named 'host' was expected"),
    "unknown template": (VIRTUAL, "cpus: 1}", "cpus: !template $LG_NO}", "unknown template variable 'LG_NO'"),
    "unknown tag": (VIRTUAL, "cpus: 1}", "cpus: !python 1}", "a plain value or !template was expected"),
    "not YAML": (VIRTUAL, "cpus: 1}", "cpus: 1", "not YAML"),
    "password": (
        EXAMPLE,
        "username: root}",
        "username: root, password: x}",
        "NetworkService.password: unknown key",
    ),
    "short host key": (
        EXAMPLE,
        "ssh-ed25519 A",
        "A",
        'PinnedKey.host_key: a public key, "ssh-ed25519 AAAA...", was expected',
    ),
    "unknown argument of labgrid's class": (
        EXAMPLE,
        "- BenchHost: {}",
        "- BenchHost: {}\n      - NetworkPowerDriver: {dely: 2}",
        "NetworkPowerDriver.dely: unknown key",
    ),
}


@pytest.mark.parametrize(("text", "right", "wrong", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(text: str, right: str, wrong: str, expected: str, tmp_path: Path) -> None:
    assert right in text
    path = tmp_path / "bench.yaml"
    path.write_text(text.replace(right, wrong, 1))
    with pytest.raises(LabUsageError) as error:
        target_file.load(path)
    message = str(error.value)
    assert expected in message
    assert "\n" not in message
    found = re.match(re.escape(str(path)) + r":(\d+): ", message)
    assert found, message
    changed = text[: text.index(right)].count("\n") + 1
    if expected not in (
        "'lab.drivers.labgrid_bank' cannot be imported",
        "a target named 'host' was expected",
    ):
        assert 0 <= int(found[1]) - changed <= 2


def test_labgrids_templates_are_legal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LG_QEMU", "/opt/q")
    path = tmp_path / "bench.yaml"
    path.write_text(VIRTUAL.replace("qemu-new: /usr", "qemu-new: !template $LG_QEMU/usr"))
    assert target_file.load(path).tools.qemu_new == "/opt/q/usr/bin/qemu-system-x86_64"


def test_pytest_checks_the_file_before_labgrid_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "bench.yaml"
    path.write_text(VIRTUAL.replace("tools:", "tolls:"))
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "lab.drivers.labgrid_pytest",
        "--lg-env",
        str(path),
        str(tmp_path),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=TARGETS.parent)
    assert done.returncode == 4
    assert "tolls: unknown key" in done.stderr


def test_a_password_in_a_url_is_refused_and_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "bench.yaml"
    path.write_text(BMC.replace("https://bmc", "https://lab:pa55@bmc"))
    with pytest.raises(LabUsageError, match=r"RedfishBmc\.url: https://ADDRESS") as error:
        target_file.load(path)
    assert "pa55" not in str(error.value)


POWER = {
    "redfish": ("RedfishBmc", "BmcPowerDriver", "NetworkSerialPort", "SerialConsole"),
    "ipmi": ("IpmiBmc", "BmcPowerDriver", "SerialConsole"),
    "pdu": ("NetworkPowerPort", "NetworkPowerDriver"),
}


@pytest.mark.parametrize("kind", POWER)
def test_each_way_of_power_in_the_example_makes_a_bench(kind: str, tmp_path: Path) -> None:
    """What stands there as comments is a target that labgrid builds, too."""
    text, seen = EXAMPLE, set()
    lines = []
    for line in text.splitlines():
        name = line.strip().removeprefix("# - ").partition(":")[0]
        wanted = name in POWER[kind] and name not in seen
        if line.strip().startswith("#  ") and kind == "redfish":
            line = line.replace("#", " ", 1)
        lines.append(line.replace("# - ", "- ") if wanted else line)
        seen |= {name} if wanted else set()
    path = tmp_path / "bench.yaml"
    path.write_text("\n".join(lines))
    bench = prepared(path)
    assert seen == set(POWER[kind])
    assert bench.strategy.power is not None
    assert (bench.console is not None) == ("SerialConsole" in POWER[kind])
