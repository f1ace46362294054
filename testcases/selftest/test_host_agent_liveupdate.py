"""Memory that outlives the host's kernel: what can be known of it without a kernel that keeps any.

Claims: contract of lab/agents/host/liveupdate.py; a change that was never made can be undone.
"""

import os
import struct
import zlib
from pathlib import Path

import pytest

from lab.agents.host import liveupdate
from lab.agents.host.journal import Entry, Journal
from lab.agents.rpc import AgentError


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    kinds = {liveupdate.LINK: liveupdate.undo_link, liveupdate.KEXEC: lambda entry: None}
    return Journal(tmp_path / "journal.jsonl", kinds)


def test_a_host_without_luo_says_what_it_needs(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveupdate, "_DEVICE", str(tmp_path / "liveupdate"))
    lacks = r"No such file.*CONFIG_LIVEUPDATE, and kho=on liveupdate=on"
    with pytest.raises(AgentError, match=lacks):
        liveupdate.KeptMemory(journal).keep("ram0", 4096)
    with pytest.raises(AgentError, match=lacks):
        take(journal)


def take(journal: Journal) -> str:
    return liveupdate.KeptMemory(journal).take("ram0")


def test_a_device_that_is_none_is_refused_and_closed(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "liveupdate").touch()
    monkeypatch.setattr(liveupdate, "_DEVICE", str(tmp_path / "liveupdate"))
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(AgentError, match="no session 'ram0'"):
        take(journal)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_each_piece_has_its_checksum_and_a_name(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveupdate, "FOLDER", tmp_path / "kept")
    kept = liveupdate.KeptMemory(journal)
    memory = os.memfd_create("ram0")
    os.ftruncate(memory, 2 * liveupdate.PIECE_BYTES + 100)
    os.pwrite(memory, b"x", liveupdate.PIECE_BYTES)
    kept._files["ram0"] = (memory,)
    link = Path(kept._named("ram0")) / "ram0"
    with link.open("rb") as again:
        content = again.read()
    empty = bytes(liveupdate.PIECE_BYTES)
    pieces = [zlib.crc32(part) for part in (empty, b"x" + empty[1:], bytes(100))]
    assert kept.look("ram0") == {"bytes": len(content), "piece_bytes": len(empty), "pieces": pieces}
    kept.close()
    assert not any("error" in undone for undone in journal.undo_all())
    assert not link.is_symlink()


def test_a_name_that_was_never_made_is_undone() -> None:
    liveupdate.undo_link(Entry(1, liveupdate.LINK, "/nonexistent/ram0", {}, {}))


def test_a_kernel_that_is_not_there_is_said_so(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="there is no kernel to load"):
        liveupdate.kexec_load(journal, str(tmp_path / "bzImage"), "quiet")


@pytest.mark.parametrize(
    ("form", "bytes_"), [(liveupdate._SESSION, 72), (liveupdate._FILE, 16), (liveupdate._END, 8)]
)
def test_arguments_have_the_kernels_sizes(form: struct.Struct, bytes_: int) -> None:
    assert form.size == bytes_
