"""Which QEMU is meant, and what it is made of: what suites have, what ldd says, what an executable is."""

import struct
from pathlib import Path

import pytest

from lab.errors import LabUsageError
from lab.images import elf
from lab.images.debian_mirror import sources, version_in
from lab.images.portable_qemu import PLACE, Parts, PortableQemu, listed
from lab.images.qemu_choice import FromDebian, OnBench, Own, parsed
from lab.images.qemu_debian import DebianQemu, chosen
from lab.images.qemu_own import found
from lab.qemu.machine import newest_common

# of deb.debian.org, November 2026
BUILDS = [
    DebianQemu("10.0.13+ds-0+deb13u1", "trixie"),
    DebianQemu("11.1.3+ds-1~bpo13+1", "trixie-backports"),
    DebianQemu("11.1.2+ds-3", "forky"),
    DebianQemu("11.1.3+ds-1", "sid"),
]
INDEX = """Package: qemu-system-s390x
Version: 1:9.9.9+ds-1

Package: qemu-system-x86
Source: qemu
Version: 1:11.1.2+ds-3
Installed-Size: 49151

Package: qemu-system-x86-xen
Version: 1:8.8.8+ds-1
"""
LDD = """\tlinux-vdso.so.1 (0x00007fca41db4000)
\tlibcapstone.so.5 => /opt/lib/libcapstone.so.5 (0x00007fca3f400000)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007fca3de0a000)
\t/lib64/ld-linux-x86-64.so.2 => /root/lib64/ld-linux-x86-64.so.2 (0x00007fca41db6000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f9473952000)
"""
LACKING = """/opt/q: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by /opt/q)
\tlibslirp.so.0 => not found
\tlibfdt.so.1 => not found
\tlibslirp.so.0 => not found
"""


@pytest.mark.parametrize(
    ("asked", "suite"),
    {
        "10.0": "trixie",
        "10": "trixie",
        "11.1": "trixie-backports",
        "11.1.2": "forky",
        "11.1.3+ds-1": "trixie-backports",  # the start of its version too, and the more settled one
        "sid": "sid",
        "forky": "forky",
    }.items(),
)
def test_a_version_its_start_and_a_suite_mean_a_build(asked: str, suite: str) -> None:
    build = chosen(asked, BUILDS)
    assert build is not None and build.suite == suite


@pytest.mark.parametrize("asked", ["1", "10.0.1", "11.10", "9", "tri", "11.1.3+ds-1~bpo13+12", "11.1.3+d"])
def test_what_nobody_has_means_none(asked: str) -> None:
    assert chosen(asked, BUILDS) is None


def test_a_version_is_read_from_an_index() -> None:
    assert version_in("qemu-system-x86", INDEX.splitlines(keepends=True)) == "1:11.1.2+ds-3"
    assert version_in("qemu-system-arm", INDEX.splitlines(keepends=True)) is None


def test_sources_name_the_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPRLAB_DEBIAN_MIRROR", "http://mirror/debian")
    assert sources("sid") == "deb [check-valid-until=no] http://mirror/debian sid main\n"
    assert "trixie-backports" in sources()


def test_what_ldd_says() -> None:
    assert listed(LDD) == (
        {
            "libcapstone.so.5": Path("/opt/lib/libcapstone.so.5"),
            "libc.so.6": Path("/lib/x86_64-linux-gnu/libc.so.6"),
        },
        [],
    )


def test_what_ldd_misses() -> None:
    assert listed(LACKING) == ({}, ["GLIBC_2.38 of libc.so.6", "libslirp.so.0", "libfdt.so.1"])


def test_a_choice_is_read_and_written() -> None:
    assert parsed("host:/opt/q") == OnBench("/opt/q")
    assert parsed("deb:11.1.3+ds-1~bpo13+1") == FromDebian("11.1.3+ds-1~bpo13+1")
    assert parsed("/opt/q") == Own(Path("/opt/q"))
    assert parsed("build/q") == Own(Path.cwd() / "build/q")  # pytest runs in another folder
    for text in ("host:/opt/q", "deb:sid", "/opt/q"):
        assert str(parsed(text)) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("host:qemu", "by its full path, host:/"),
        ("host:", "by its full path"),
        ("deb:", "deb:VERSION or deb:SUITE"),
        ("deb:../x", "deb:VERSION or deb:SUITE"),
        ("", "no QEMU is named"),
    ],
)
def test_what_is_no_choice_is_refused(text: str, says: str) -> None:
    with pytest.raises(LabUsageError, match=says):
        parsed(text)


@pytest.mark.parametrize(
    ("names", "binary", "prefix", "root"),
    [
        (["bin/qemu-system-x86_64"], "bin/qemu-system-x86_64", ".", False),
        (["usr/bin/qemu-system-x86_64"], "usr/bin/qemu-system-x86_64", "usr", False),
        (["qemu-system-x86_64"], "qemu-system-x86_64", ".", False),
        (["build/qemu-system-x86_64"], "build/qemu-system-x86_64", "build", False),
        (
            ["usr/bin/qemu-system-x86_64", "lib64/ld-linux-x86-64.so.2"],
            "usr/bin/qemu-system-x86_64",
            "usr",
            True,
        ),
    ],
    ids=["prefix", "staged", "build folder", "source folder", "root"],
)
def test_a_build_is_found_in_its_folder(
    tmp_path: Path, names: list[str], binary: str, prefix: str, root: bool
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    build = found(tmp_path)
    assert (build.binary, build.prefix) == (tmp_path / binary, tmp_path / prefix)
    assert build.root == (tmp_path if root else None)
    assert found(tmp_path / binary).binary == tmp_path / binary


def test_a_folder_without_a_qemu_and_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(LabUsageError, match="no qemu-system-x86_64 in"):
        found(tmp_path)
    with pytest.raises(LabUsageError, match="a QEMU on the bench host is named host:/"):
        found(tmp_path / "absent")


def test_an_executable_names_its_loader() -> None:
    assert elf.read(Path("/bin/sh")).interpreter == "/lib64/ld-linux-x86-64.so.2"


def changed(at: int, data: bytes) -> bytes:
    """The head of an executable with some bytes exchanged."""
    head = Path("/bin/sh").read_bytes()[:4096]
    return head[:at] + data + head[at + len(data) :]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"#!/bin/sh\n", "is not an ELF executable"),
        (b"", "is not an ELF executable"),
        (b"\x7fELF\x02\x01", "is a damaged ELF file: it has 6 bytes"),
        (changed(18, struct.pack("<H", 183)), "is for aarch64, the bench host is x86-64"),
        (changed(18, struct.pack("<H", 99)), "is for machine 99"),
        (changed(4, b"\x01"), "is for machine 62"),
        (changed(16, struct.pack("<H", 1)), "is no executable"),
        (changed(54, struct.pack("<H", 7)), "is a damaged ELF file"),
    ],
    ids=["script", "empty", "cut", "arm", "unknown", "32 bits", "object", "table"],
)
def test_what_is_no_executable_of_ours_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "qemu"
    path.write_bytes(content)
    with pytest.raises(LabUsageError, match=says):
        elf.read(path)


def test_parts_have_their_places(tmp_path: Path) -> None:
    parts = Parts(
        tmp_path / "q",
        tmp_path / "ld",
        {"libc.so.6": tmp_path / "c"},
        {"lib/qemu/block-blkio.so": tmp_path / "m"},
        {"bios-256k.bin": tmp_path / "b"},
    )
    assert list(parts.files()) == [
        "usr/bin/qemu-system-x86_64",
        "lib/ld-linux-x86-64.so.2",
        "lib/libc.so.6",
    ]
    bundle = "usr/bin/qemu-bundle/usr/local"
    assert list(parts.bundled("/usr/local/share/qemu")) == [
        f"{bundle}/share/qemu/bios-256k.bin",
        f"{bundle}/lib/qemu/block-blkio.so",
    ]


def test_a_build_is_named_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "q"
    file.write_bytes(b"one")
    first = Parts(file, None).digest()
    assert Parts(file, None).digest() == first
    assert Parts(file, None, firmware={"bios": file}).digest() != first
    file.write_bytes(b"two")
    assert Parts(file, None).digest() != first
    assert PortableQemu(tmp_path / "ab.tar", "ab").path == f"{PLACE}/ab/usr/bin/qemu-system-x86_64"


@pytest.mark.parametrize(
    ("old", "new", "machine"),
    [
        (["pc-q35-9.2", "pc-q35-10.0"], ["pc-q35-10.0", "pc-q35-11.1"], "pc-q35-10.0"),
        (["pc-q35-11.1", "pc-q35-9.0"], ["pc-q35-9.0", "pc-q35-10.0", "pc-q35-11.1"], "pc-q35-11.1"),
        (
            ["q35", "pc-q35-9.2", "pc-q35-10.0", "pc-i440fx-11.1"],
            ["q35", "pc-q35-9.2", "pc-i440fx-11.1"],
            "pc-q35-9.2",
        ),
    ],
    ids=["to newer", "same", "another family"],
)
def test_the_machine_is_the_newest_that_both_know(old: list[str], new: list[str], machine: str) -> None:
    assert newest_common(old, new) == newest_common(new, old) == machine


def test_no_machine_in_common_is_refused() -> None:
    with pytest.raises(LabUsageError, match="no pc-q35 machine in common"):
        newest_common(["q35", "pc-q35-2.6"], ["q35", "pc-q35-11.1"])
