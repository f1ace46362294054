"""What the host agent reads out of kernel text, on text recorded on a bench (Linux 7.3.4, QEMU 11.1.3)."""

import mmap
import os
import sys
from pathlib import Path

import pytest

from lab.agents.host import capabilities, device, kmsg, pins, procfs, trace
from lab.agents.host.spawned import _has_left, ending
from lab.agents.host.sysfs import Sysfs
from lab.agents.rpc import AgentError
from testcases.selftest.host_agent_fakes import NIC, FakeHost

MAP = (
    " qemu-system-x86-159     [001] .....   170.718797: map: IOMMU: iova=0x0000000000000000 - "
    "0x0000000000001000 paddr=0x0000000103c02000 size=4096"
)
EXEC = (
    "           <...>-113     [000] .....    58.336610: sched_process_exec: "
    "filename=/usr/bin/setpriv pid=113 old_pid=113"
)


def test_a_mapping() -> None:
    line = trace.parsed(MAP)
    assert line is not None
    assert (line.name, line.t_ns, line.task, line.pid) == ("map", 170_718_797_000, "qemu-system-x86", 159)
    assert line.fields["size"] == "4096" and line.fields["iova"] == "0x0000000000000000"


def test_an_exec() -> None:
    line = trace.parsed(EXEC)
    assert line is not None
    assert (line.name, line.fields["filename"]) == ("sched_process_exec", "/usr/bin/setpriv")


def test_a_task_name_may_hold_anything() -> None:
    line = trace.parsed(MAP.replace("qemu-system-x86-159", "CPU 0/KVM-x: y-159"))
    assert line is not None
    assert (line.task, line.pid, line.name) == ("CPU 0/KVM-x: y", 159, "map")


def test_a_marker() -> None:
    text = "         python3-106     [001] .....    57.500000: tracing_mark_write: cprlab open 1"
    line = trace.parsed(text)
    assert line is not None
    assert (line.name, line.text) == ("tracing_mark_write", "cprlab open 1")


@pytest.mark.parametrize("line", ["", "CPU:0 [LOST 123 EVENTS]", "# tracer: nop"])
def test_no_event(line: str) -> None:
    assert trace.parsed(line) is None


def test_lost_events_are_summed_over_processors() -> None:
    stats = "entries: 5\noverrun: {}\ncommit overrun: 1\nbytes: 99\n"
    stats += "oldest event ts: 7.7\ndropped events: 2\nread events: 9\n"
    assert trace.lost([stats.format(4), stats.format(0)]) == 10


def test_kernel_messages() -> None:
    raw = b"28,339,59080070,-;vfio-pci 0000:01:00.0: resetting\n SUBSYSTEM=pci\n DEVICE=+pci:0000:01:00.0\n"
    record = kmsg.parsed(raw)
    assert (record.level, record.sequence, record.kernel_us) == (4, 339, 59080070)
    assert record.text == "vfio-pci 0000:01:00.0: resetting"
    assert kmsg.parsed(b"6,1,2,-,caller=T1;tab\\x09here\n").text == "tab\there"


INTERRUPTS = """\
           CPU0       CPU1
 24:         12          3  PCI-MSIX-0000:00:03.0   0-edge      virtio0-config
 36:          1         41  IR-PCI-MSIX-0000:01:00.0    0-edge      vfio-msix[0](0000:01:00.0)
 37:          0          0  IR-PCI-MSIX-0000:01:00.0    1-edge      vfio-msix[1](0000:01:00.0)
 38:          7          0  IR-PCI-MSIX-0000:02:00.0    0-edge      vfio-msix[0](0000:02:00.0)
 16:          5          6  IO-APIC   16-fasteoi   vfio-intx(0000:03:00.0)
NMI:          0          0   Non-maskable interrupts
"""


def test_interrupts_of_one_function() -> None:
    assert device.vectors(INTERRUPTS, NIC) == {
        "vfio-msix[0](0000:01:00.0)": 42,
        "vfio-msix[1](0000:01:00.0)": 0,
    }
    assert device.vectors(INTERRUPTS, "0000:03:00.0") == {"vfio-intx(0000:03:00.0)": 11}
    assert device.vectors(INTERRUPTS, "0000:09:00.0") == {}


IGB = bytes.fromhex(
    "8680c910070510000100000200000000000080fe000082fe01d00000040084fe000000000000000000000000f41a0011"
    "0000000040000000000000000a01000001502200030000000000000000000000057080010000000000000000000000000000"
    "000000000000000000000000000011a00980030000000320000000000000000000000000000000000000000000000000"
    "000000000000000000000000000010000200208000100000"
).ljust(256, b"\0")


def test_configuration_space(tmp_path: Path) -> None:
    host = FakeHost(tmp_path)
    (tmp_path / "sys/bus/pci/devices" / NIC / "config").write_bytes(IGB)
    seen = device.device(host.sysfs, NIC)
    assert (seen["command"], seen["msix_enabled"], seen["msix_masked"]) == (0x507, True, False)
    assert seen["cleared_by_reset"]["bars"][:2] == [0xFE800000, 0xFE820000]
    assert (seen["config"], seen["driver"]) == (IGB.hex(), "igb")


def test_configuration_space_needs_root(tmp_path: Path) -> None:
    host = FakeHost(tmp_path)
    (tmp_path / "sys/bus/pci/devices" / NIC / "config").write_bytes(IGB[:64])
    with pytest.raises(AgentError, match="only 64 bytes: run the host agent as root"):
        device.device(host.sysfs, NIC)


def test_a_capability_list_that_loops_ends(tmp_path: Path) -> None:
    config = bytearray(IGB)
    config[0x41] = 0x40
    assert device._capability_word(bytes(config), 0x11, 2) is None


def test_pin_counters() -> None:
    vmstat = b"nr_free_pages 1\nnr_foll_pin_acquired 65600\nnr_foll_pin_released 12\n"
    assert pins.counter(vmstat, b"\nnr_foll_pin_acquired ") == 65600
    assert pins.counter(b"Name: x\nVmLck:\t  262400 kB\n", b"\nVmLck:") == 262400
    with pytest.raises(AgentError, match="no nr_foll_pin_acquired"):
        pins.counter(b"nr_free_pages 1\n", b"\nnr_foll_pin_acquired ")


def test_this_process() -> None:
    seen = procfs.process(os.getpid())
    assert seen["exe"] == str(Path("/proc/self/exe").readlink())
    assert seen["start_ticks"] > 0 and seen["vmrss_kb"] > 0 and seen["threads"] >= 1
    with Path("/dev/null").open() as null:
        numbers = {number: link for number, link, _ in procfs.process(os.getpid())["fds"]}
        assert numbers[null.fileno()] == "/dev/null"


def test_no_such_process() -> None:
    with pytest.raises(AgentError, match="there is no process 4194999"):
        procfs.process(4194999)


@pytest.mark.parametrize("mapped", [True, False], ids=["in its page tables", "in the file only"])
def test_page_frames_of_a_memory_file(mapped: bool) -> None:
    page = procfs.PAGE_BYTES
    with os.fdopen(os.memfd_create("cprlab-test"), "r+b", buffering=0) as file:
        file.truncate(8 * page)
        os.pwrite(file.fileno(), b"x" * page, 2 * page)
        with mmap.mmap(file.fileno(), 8 * page) as memory:
            assert not mapped or memory[2 * page] == ord("x")
            inode = os.fstat(file.fileno()).st_ino
            if os.geteuid() != 0:
                with pytest.raises(AgentError, match="CAP_SYS_ADMIN"):
                    procfs.pfns(os.getpid(), [2 * page], "cprlab-test")
                return
            pages = procfs.pfns(os.getpid(), [2 * page, 5 * page, 99 * page], "cprlab-test")
    assert pages[0][0::2] == [2 * page, inode] and pages[0][1] > 0
    assert [pfn for _, pfn, _ in pages[1:]] == [-1, -1], "a hole, and behind the end of the file"


def test_no_guest_memory() -> None:
    with pytest.raises(AgentError, match="must be a memfd or a file"):
        procfs.pfns(os.getpid(), [0], "memfd:no-such-name")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("7.3.4", (7, 3)), ("6.12.57+deb13-amd64", (6, 12)), ("QEMU version 11.1.3", (11, 1)), ("", (0, 0))],
)
def test_versions(text: str, expected: tuple[int, int]) -> None:
    assert capabilities.version(text) == expected


def test_capabilities_of_a_host_without_iommu(tmp_path: Path) -> None:
    found = capabilities.capabilities(Sysfs(tmp_path))
    assert (found["iommu"], found["iommu_groups"], found["iommufd"], found["kvm"]) == (False, 0, False, False)


@pytest.mark.parametrize(
    ("path", "said"), [("/bin/true", "is not a QEMU"), ("/no/such/qemu", "No such file")]
)
def test_what_is_no_qemu(path: str, said: str) -> None:
    with pytest.raises(AgentError, match=said):
        capabilities.qemu_version(path)


def test_a_qemu_is_asked_for_its_version_once_and_again_when_it_is_another_file(tmp_path: Path) -> None:
    qemu, asked = tmp_path / "qemu", tmp_path / "asked"
    for version in ("11.1.3", "11.1.4"):
        other = tmp_path / version
        other.write_text(f"#!/bin/sh\necho x >> {asked}\necho QEMU emulator version {version}\n")
        other.chmod(0o755)
        other.replace(qemu)
        assert [capabilities.qemu_version(str(qemu)) for _ in range(2)] == [
            f"QEMU emulator version {version}"
        ] * 2
    assert asked.read_text() == "x\nx\n"


def test_endings() -> None:
    assert ending(3) == {"status": 3, "signal": None}
    assert ending(-11) == {"status": None, "signal": "SIGSEGV"}


def test_whether_a_process_is_still_its_launcher() -> None:
    assert not _has_left(os.getpid(), sys.executable)
    assert _has_left(os.getpid(), "/bin/sh")
    assert _has_left(4194999, sys.executable), "it has ended"
