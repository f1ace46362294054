"""Memory that is set aside on a bench host for a guest, and given back; and which pages really back it.

Recorded: /sys/kernel/mm and /proc of the virtual bench, Linux 7.3.4.
"""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lab.agents.host import backing, hostmem
from lab.agents.host.agent import HostAgent
from lab.agents.host.capabilities import capabilities
from lab.agents.rpc import AgentError, Wire
from lab.drivers.capabilities import missing
from lab.qemu.memory import Memory
from lab.rows.memory import needs
from testcases.selftest.host_agent_fakes import FakeHost

SHMEM_ENABLED = "[always] within_size advise never deny force\n"
FILESYSTEMS = "nodev\tsysfs\nnodev\ttmpfs\nnodev\thugetlbfs\n\text4\n"
PAGES = "sys/kernel/mm/hugepages/hugepages-2048kB"


class RoomyHost(FakeHost):
    """It has memory for `room` huge pages of 2 MiB, `used` of them in use; it mounts what it is told to."""

    def __init__(self, root: Path, room: int = 400) -> None:
        super().__init__(root)
        self.room, self.used = room, 0
        self.file(hostmem.SHMEM_THP, SHMEM_ENABLED)
        self.file("proc/filesystems", FILESYSTEMS)
        self.file("proc/kpageflags", "")
        self.file("proc/self/mounts", "")
        (root / "sys/kernel/mm/hugepages/hugepages-1048576kB").mkdir(parents=True)
        self.reserved(0)

    def reserved(self, count: int) -> None:
        self.file(f"{PAGES}/nr_hugepages", f"{count}\n")
        self.file(f"{PAGES}/free_hugepages", f"{count - self.used}\n")

    def write(self, path: Path, text: str) -> None:
        if path.name == "nr_hugepages":
            self.reserved(min(int(text), self.room))
        elif path.name == "shmem_enabled":
            words = SHMEM_ENABLED.replace("[", "").replace("]", "")
            path.write_text(words.replace(f"{text} ", f"[{text}] "))
        else:
            return super().write(path, text)
        self.written.append((path.name, text))
        return None

    def run(self, argv: Sequence[str]) -> str:
        mounts = self.root / "proc/self/mounts"
        if argv[0] == "mount":
            mounts.write_text(f"cprlab {argv[-1]} {argv[2]} rw 0 0\n")
        elif argv[0] == "umount":
            mounts.write_text("")
        else:
            return super().run(argv)
        self.ran.append(" ".join(argv))
        return ""


@pytest.fixture
def host(tmp_path: Path) -> RoomyHost:
    return RoomyHost(tmp_path / "host")


@pytest.fixture
def agent(host: RoomyHost, tmp_path: Path) -> Iterator[HostAgent]:
    session = HostAgent(Wire(io.BytesIO()), tmp_path / "state", host.sysfs)
    yield session
    session.end()


def read(host: RoomyHost, path: str) -> str:
    return (host.root / path).read_text()


def test_everything_is_given_back(host: RoomyHost, agent: HostAgent) -> None:
    calls = agent.calls()
    calls["hugepages_reserve"](2048, 128)
    assert calls["shmem_thp_set"]("never") == "always"
    folder = calls["memory_mount"]("tmpfs", "guest", "size=272M,huge=never")
    assert read(host, f"{PAGES}/nr_hugepages") == "128\n"
    assert read(host, hostmem.SHMEM_THP) == "always within_size advise [never] deny force\n"
    assert folder in read(host, "proc/self/mounts") and Path(folder).is_dir()
    assert agent.end() == []
    assert read(host, f"{PAGES}/nr_hugepages") == "0\n"
    assert read(host, hostmem.SHMEM_THP) == SHMEM_ENABLED
    assert read(host, "proc/self/mounts") == "" and not Path(folder).exists()


def test_the_next_agent_gives_back_what_a_killed_one_left(host: RoomyHost, tmp_path: Path) -> None:
    killed = HostAgent(Wire(io.BytesIO()), tmp_path / "state", host.sysfs)
    killed.calls()["hugepages_reserve"](2048, 128)
    killed.calls()["memory_mount"]("hugetlbfs", "guest", "pagesize=2M")
    killed._journal.close()  # as the kernel does for a dead process
    following = HostAgent(Wire(io.BytesIO()), tmp_path / "state", host.sysfs)
    assert [entry["kind"] for entry in following.hello()["restored"]] == [hostmem.MOUNT, hostmem.SETTING]
    assert read(host, f"{PAGES}/nr_hugepages") == "0\n" and read(host, "proc/self/mounts") == ""
    assert following.end() == []


class Killed(BaseException):
    """The agent is killed."""


def killed_after(host: RoomyHost, steps: int) -> None:
    """Die before the step after so many that were taken; steps of the memory's own, in their order."""
    left = steps

    def step(act: Callable[..., Any]) -> Callable[..., Any]:
        def taken(*args: Any) -> Any:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return act(*args)

        return taken

    for name in ("write", "run"):
        object.__setattr__(host.sysfs, name, step(getattr(host, name)))


@pytest.mark.parametrize("undoing", [False, True], ids=["while it is changed", "while it is undone"])
@pytest.mark.parametrize("steps", range(4))
def test_a_crash_at_any_step_is_undone_by_the_next_agent(
    host: RoomyHost, tmp_path: Path, steps: int, undoing: bool
) -> None:
    """Pages, a setting, a mount; killed before, between and after them."""
    killed = HostAgent(Wire(io.BytesIO()), tmp_path / "state", host.sysfs)
    calls = killed.calls()
    if not undoing:
        killed_after(host, steps)
    with suppress(Killed):
        calls["hugepages_reserve"](2048, 128)
        calls["shmem_thp_set"]("never")
        calls["memory_mount"]("tmpfs", "guest", "size=1M")
    if undoing:
        killed_after(host, steps)
        with suppress(Killed):
            killed._journal.undo_all()
    killed._journal.close()
    for name in ("write", "run"):
        object.__setattr__(host.sysfs, name, getattr(host, name))
    following = HostAgent(Wire(io.BytesIO()), tmp_path / "state", host.sysfs)
    assert not any("error" in one for one in following.hello()["restored"])
    assert read(host, f"{PAGES}/nr_hugepages") == "0\n" and read(host, hostmem.SHMEM_THP) == SHMEM_ENABLED
    assert read(host, "proc/self/mounts") == "" and not list((host.root / hostmem.MOUNTS).glob("*"))
    assert following.end() == [] and following._journal.undo_all() == []


def test_pages_that_are_free_already_are_enough(host: RoomyHost, agent: HostAgent) -> None:
    host.used = 10
    host.reserved(150)
    assert agent.calls()["hugepages_reserve"](2048, 128) == {"page_kb": 2048, "reserved": 150, "free": 140}
    assert agent.calls()["hugepages_reserve"](2048, 200) == {"page_kb": 2048, "reserved": 210, "free": 200}
    agent.end()
    assert read(host, f"{PAGES}/nr_hugepages") == "150\n"


def test_what_the_host_has_not_it_refuses(host: RoomyHost, agent: HostAgent) -> None:
    calls = agent.calls()
    with pytest.raises(AgentError, match=r"gave 400 of 500 huge pages of 2048 kB: memory is too full"):
        calls["hugepages_reserve"](2048, 500)
    assert read(host, f"{PAGES}/nr_hugepages") == "0\n", "and keeps none of them"
    with pytest.raises(AgentError, match=r"no huge pages of 64 kB; it has \[2048, 1048576\]"):
        calls["hugepages_reserve"](64, 1)
    with pytest.raises(AgentError, match="does not take 'often'; it takes"):
        calls["shmem_thp_set"]("often")
    with pytest.raises(AgentError, match=r"'\.\./etc' is no name"):
        calls["memory_mount"]("tmpfs", "../etc", "")
    host.file("proc/filesystems", "nodev\tsysfs\n")
    with pytest.raises(AgentError, match="this host has no tmpfs; it has neither"):
        calls["memory_mount"]("tmpfs", "guest", "")


def test_a_mount_that_fails_leaves_nothing(host: RoomyHost, agent: HostAgent) -> None:
    object.__setattr__(host.sysfs, "run", FakeHost.run.__get__(host))
    with pytest.raises(AgentError, match="there is no program 'mount'"):
        agent.calls()["memory_mount"]("tmpfs", "guest", "size=1M")
    assert not (host.root / hostmem.MOUNTS / "guest").exists()


def test_a_folder_that_is_there_is_left_alone(host: RoomyHost, agent: HostAgent) -> None:
    host.file(f"{hostmem.MOUNTS}/guest/file", "somebody's")
    with pytest.raises(AgentError, match="which someone may be using"):
        agent.calls()["memory_mount"]("tmpfs", "guest", "")
    agent.end()
    assert read(host, f"{hostmem.MOUNTS}/guest/file") == "somebody's"


def test_capabilities(host: RoomyHost, tmp_path: Path) -> None:
    found = capabilities(host.sysfs)
    assert found["hugepages_kb"] == [2048, 1048576]
    assert found["shmem_thp"] == ["always", "within_size", "advise", "never", "deny", "force"]
    assert (found["memory_files"], found["kpageflags"]) == (["tmpfs", "hugetlbfs"], True)
    without = capabilities(FakeHost(tmp_path / "other").sysfs)
    assert [without[name] for name in ("hugepages_kb", "shmem_thp", "memory_files")] == [[], [], []]
    assert without["kpageflags"] is False


ALL = ["page-flags", "hugepages:1048576", "shmem-thp:never", "memory-files:tmpfs"]


def test_needs_of_every_kind() -> None:
    assert needs(Memory()) == ()
    assert needs(Memory(page="2m")) == ("page-flags", "hugepages:2048")
    assert needs(Memory(page="thp")) == ("page-flags", "shmem-thp:always")
    assert needs(Memory("file", "2m")) == ("page-flags", "hugepages:2048", "memory-files:hugetlbfs")
    assert needs(Memory("file", "thp")) == ("page-flags", "memory-files:tmpfs")
    assert needs(Memory("ram", "4k")) == ("page-flags", "shmem-thp:never")


def test_a_host_without_says_so(host: RoomyHost, tmp_path: Path) -> None:
    assert missing(ALL, {"host": capabilities(host.sysfs)}) == []
    told = missing(ALL, {"host": capabilities(FakeHost(tmp_path / "other").sysfs)})
    assert len(told) == len(ALL)
    assert "it has no huge pages of 1048576 kB" in told[1] and "its kernel has no tmpfs" in told[3]


SMAPS = """\
7f0000000000-7f0010000000 rw-s 00000000 00:0f 1028 /memfd:memory-backend-memfd (deleted)
Size:             262144 kB
KernelPageSize:     2048 kB
VmFlags: rd wr sh mr mw me ms
7f0020000000-7f0020001000 rw-p 00000000 00:00 0
KernelPageSize:        4 kB
"""


def test_the_page_size_of_a_mapping() -> None:
    assert backing.kernel_page_kb(SMAPS, 1028) == 2048
    assert backing.kernel_page_kb(SMAPS, 7) == 0


HEAD, TAIL, HUGE = 1 << 15, 1 << 16, 1 << 17


@pytest.mark.parametrize(
    ("flags", "at", "kb"),
    [
        ([0] * 512, 7, 4),
        ([HEAD, *[TAIL] * 511], 256, 2048),
        ([0, 0, 0, 0, HEAD, TAIL, TAIL, TAIL, HEAD, *[TAIL] * 7, *[0] * 496], 6, 16),
        ([0, 0, 0, 0, HEAD, TAIL, TAIL, TAIL, HEAD, *[TAIL] * 7, *[0] * 496], 8, 32),
        ([HUGE | HEAD, *[HUGE | TAIL] * 511], 3, 1048576),
    ],
    ids=["single", "2 MiB", "16 kB before another", "32 kB after another", "hugetlb"],
)
def test_the_folio_of_a_page(flags: list[int], at: int, kb: int) -> None:
    def read(pfn: int, count: int) -> tuple[int, ...]:
        assert (pfn, count) == (4096, 512)
        return tuple(flags)

    assert backing.folio_kb(4096 + at, 1048576, read) == kb


def test_samples_are_spread() -> None:
    offsets = backing.spread(256 << 20)
    assert len(offsets) == 128 and offsets[0] == 1 << 20 and offsets[-1] == 255 << 20
    assert backing.spread(1 << 30)[-1] < 1 << 30 and len(set(backing.spread(1 << 30))) == 128
    assert backing.spread(1 << 20) == [1 << 20]


def test_this_process_has_small_pages() -> None:
    with os.fdopen(os.memfd_create("cprlab-backing"), "r+b", buffering=0) as file:
        file.truncate(4 << 20)
        os.pwrite(file.fileno(), b"x" * (4 << 20), 0)
        if os.geteuid() != 0 or not os.access(backing.KPAGEFLAGS, os.R_OK):
            with pytest.raises(AgentError):
                backing.backing(os.getpid(), "cprlab-backing")
            return
        seen = backing.backing(os.getpid(), "cprlab-backing")
    assert seen["bytes"] == seen["allocated_bytes"] == 4 << 20
    assert sum(seen["pages"].values()) + seen["holes"] == 2
