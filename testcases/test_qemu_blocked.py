"""What a real QEMU on the controller says against an update: no bench, no guest, no KVM.

QEMU comes from the bench's root file system and runs under TCG.
"""

import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lab import images
from lab.drivers.agent import HostAgent, Spawned
from lab.drivers.ssh import HostConnection
from lab.drivers.ssh_channel import Completed
from lab.errors import BenchError
from lab.images.controller_qemu import qemu_argv, qemu_env
from lab.preflight import Finding, preflight
from lab.preflight.command import Command
from lab.preflight.facts import Facts
from lab.qemu.argv import GuestConfig, with_descriptors
from lab.qemu.blocked import blocked_reasons
from lab.qemu.devices import Device, IommuBackend
from lab.qemu.memory import MEMFD, Memory


@dataclass(frozen=True)
class Other:
    """A device that is no class of the lab's: its words after -device."""

    words: tuple[str, ...]
    by_vfio: ClassVar[bool] = False

    def argv(self, number: int, iommu: IommuBackend) -> list[str]:
        return ["-device", *self.words]


class Here(HostConnection):
    """The controller as the host."""

    def __init__(self) -> None: ...

    def run(
        self, argv: Sequence[str], timeout_s: float = 30.0, input: bytes | str | None = None
    ) -> Completed:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout_s)
        return Completed(done.returncode, done.stdout, done.stderr)

    def check(self, argv: Sequence[str], timeout_s: float = 30.0, input: bytes | str | None = None) -> str:
        return self.run(argv, timeout_s).stdout

    def stream_unix(self, path: str) -> socket.socket:
        stream = socket.socket(socket.AF_UNIX)
        try:
            stream.connect(path)
        except OSError:
            stream.close()
            raise
        return stream


class Starter(HostAgent):
    """Starts QEMU on the controller."""

    def __init__(self, folder: Path) -> None:
        self.log, self.root = folder / "qemu.log", images.ensure_root().root_dir
        self.argv: list[str] = []

    def spawn(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        sockets: Sequence[str] = (),
        taps: Sequence[str] = (),
        container: str = "",
        stdio: str = "",
    ) -> Spawned:
        ours, theirs = socket.socketpair()
        filled = with_descriptors(list(argv[1:]), {"stream-fd": theirs.fileno()})
        self.argv = ["max" if word == "host" else word for word in filled]  # TCG has no host CPU
        with self.log.open("wb") as log, ours, theirs:
            self.qemu = subprocess.Popen(
                [*qemu_argv(self.root), *self.argv],
                env=qemu_env(self.root),
                stderr=log,
                pass_fds=[theirs.fileno()],
            )
        return Spawned(self.qemu.pid, {}, tuple(self.argv), str(self.log))

    def reap(self, pid: int, wait_s: float = 10.0) -> dict[str, Any]:
        try:
            return {"status": self.qemu.wait(wait_s), "signal": None}
        except subprocess.TimeoutExpired:
            raise BenchError("it still runs") from None

    def kill(self, pid: int) -> dict[str, Any]:
        self.qemu.kill()
        return self.reap(pid)


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[Starter]:
    starter = Starter(tmp_path)
    yield starter
    assert starter.qemu.poll() is not None, "QEMU is left behind"


def asked(
    starter: Starter, folder: Path, *devices: Device, mode: str = "cpr-exec", memory: Memory = MEMFD
) -> list[str]:
    config = GuestConfig("/none", "/none", str(folder / "run"), "type1", devices, accel="tcg", memory=memory)
    return blocked_reasons(Here(), starter, config, "qemu", mode)


def refused(config: GuestConfig) -> Sequence[Finding]:
    """What preflight has against its command line."""
    return preflight(Facts(Command.parse(config.argv("qemu")))).refused


def test_a_plain_guest_is_not_blocked_and_does_not_run(starter: Starter, tmp_path: Path) -> None:
    assert asked(starter, tmp_path) == []
    assert starter.argv[-1] == "-S" and "-kernel" not in starter.argv
    assert not (tmp_path / "run").exists()


def test_a_device_that_cannot_be_migrated_is_named(starter: Starter, tmp_path: Path) -> None:
    assert asked(starter, tmp_path, Other(("amd-iommu",))) == ["non-migratable device: amd-iommu"]


def test_a_blocker_of_one_mode_blocks_that_mode_alone(starter: Starter, tmp_path: Path) -> None:
    """Private memory is lost by both; 11.1.3 refuses it for cpr-transfer only, so preflight has to look."""
    private = "ivshmem-plain,memdev=more,master=on", "-object", "memory-backend-ram,id=more,size=16M"
    [transfer] = asked(starter, tmp_path, Other(private), mode="cpr-transfer")
    assert "Memory region more is not compatible with CPR" in transfer
    assert asked(starter, tmp_path, Other(private)) == []


@pytest.mark.parametrize("memory", [Memory("ram"), Memory(dimms_mib=(64,)), Memory(balloon=True)], ids=str)
@pytest.mark.parametrize("mode", ["cpr-exec", "cpr-transfer"])
def test_shared_memory_is_not_blocked(starter: Starter, tmp_path: Path, memory: Memory, mode: str) -> None:
    assert asked(starter, tmp_path, mode=mode, memory=memory) == []


@pytest.mark.parametrize(
    ("memory", "lost"),
    [
        (Memory("ram", share=False), "guest RAM (memory-backend=ram0) is not shared"),
        (Memory(share=False), "guest RAM (memory-backend=ram0) is not shared"),
        (Memory(aux=False), "-machine lacks aux-ram-share=on"),
    ],
    ids=str,
)
def test_preflight_names_what_cpr_exec_accepts_and_loses(
    starter: Starter, tmp_path: Path, memory: Memory, lost: str
) -> None:
    """cpr-transfer is blocked by it; to cpr-exec only the lab objects: reproductions private-ram, aux-ram."""
    assert asked(starter, tmp_path, memory=memory) == []
    config = GuestConfig("/none", "/none", str(tmp_path), "type1", memory=memory)
    assert [finding.reason.split(":")[0] for finding in refused(config)] == [lost]


@pytest.mark.parametrize(
    ("memory", "region"),
    [(Memory("ram", share=False), "ram0"), (Memory(share=False), "ram0"), (Memory(aux=False), "pc.bios")],
    ids=str,
)
def test_cpr_transfer_is_blocked_by_private_memory(
    starter: Starter, tmp_path: Path, memory: Memory, region: str
) -> None:
    reasons = asked(starter, tmp_path, mode="cpr-transfer", memory=memory)
    assert any(f"Memory region {region} is not compatible with CPR" in reason for reason in reasons), reasons


def test_memory_of_sgx_is_not_to_be_had(starter: Starter, tmp_path: Path) -> None:
    """Debian's QEMU 11.1.3 is built without SGX; preflight refuses it for any other."""
    epc = Memory("epc")
    with pytest.raises(BenchError, match="invalid object type: memory-backend-epc"):
        asked(starter, tmp_path, memory=epc)
    config = GuestConfig("/none", "/none", str(tmp_path), "type1", memory=epc)
    assert any("memory-backend-epc, which CPR does not support" in str(f) for f in refused(config))


def test_a_qemu_that_does_not_start_is_told_with_its_last_words(starter: Starter, tmp_path: Path) -> None:
    with pytest.raises(
        BenchError, match=r"^qemu cannot be asked .*ended with 1; it said last: .*'nonesuch' is not a valid"
    ) as error:
        asked(starter, tmp_path, Other(("nonesuch",)))
    assert "\n" not in str(error.value)


def test_a_mode_that_qemu_does_not_know_is_an_error(starter: Starter, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="cpr-nonesuch"):
        asked(starter, tmp_path, mode="cpr-nonesuch")
