"""What stops a build of an image is said in one line that names the cause and the cure."""

import re
import sys
from pathlib import Path

import pytest

from lab.errors import BenchError
from lab.images import base_root, kernel, preflight, root
from lab.images.recipe import RECIPE_DIR
from lab.images.run import run

MIRROR = "http://mirror.example/debian"

OUTPUTS = {
    "no resolver": (
        "Err:1 http://mirror.example/debian trixie InRelease\n"
        "  Temporary failure resolving 'mirror.example'\n"
        "E: apt-get update --error-on=any failed",
        r"could not reach the Debian mirror http://mirror.example/debian; the first build needs it",
    ),
    "nobody listens": (
        "  Could not connect to 127.0.0.1:9 (127.0.0.1). - connect (111: Connection refused)",
        r"could not reach the Debian mirror .* CPRLAB_DEBIAN_MIRROR",
    ),
    "disk full": (
        "dpkg: error processing archive: cannot copy data: No space left on device\nE: Sub-process failed",
        r"the disk is full \(free now: .* GiB in .*\); make room",
    ),
    "compiler error": (
        "  CC      kernel/fork.o\nkernel/fork.c:1:1: error: expected ';'\n"
        "make[1]: Leaving directory '/build/linux'\n  CC      mm/mmap.o\n",
        r"it failed: kernel/fork.c:1:1: error: expected ';'; see .*build.log",
    ),
    "silence": ("", r"it failed: it printed nothing; see .*build.log"),
}


@pytest.mark.parametrize(("output", "says"), OUTPUTS.values(), ids=OUTPUTS.keys())
def test_a_failed_command_is_explained_in_one_line(tmp_path: Path, output: str, says: str) -> None:
    line = preflight.why_failed("it", output, tmp_path / "build.log", MIRROR)
    assert re.search(says, line), line
    assert "\n" not in line


def test_a_command_that_fails_leaves_its_output_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    with pytest.raises(BenchError, match=r"trying failed: E: it broke; see .*build\.log"):
        run([sys.executable, "-c", "print('E: it broke'); exit(1)"], what="trying", log=log)
    assert "E: it broke" in log.read_text()


def test_too_little_space_is_refused_before_the_build(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"needs 6\.0 GiB in .*, only 1\.5 GiB are free; make room"):
        preflight.require_space(tmp_path, 6 << 30, "root, kernel", free=lambda _: 3 << 29)


def test_enough_space_is_enough(tmp_path: Path) -> None:
    preflight.require_space(tmp_path, 6 << 30, "root", free=lambda _: 6 << 30)


def test_missing_tools_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda tool, path: None)
    with pytest.raises(
        BenchError, match=r"mmdebstrap, mke2fs not found .*apt-get install e2fsprogs mmdebstrap$"
    ):
        preflight.require_tools(["mmdebstrap", "mke2fs"])


CONFIG = "CONFIG_SMP=y\nCONFIG_NR_CPUS=8\n# CONFIG_SQUASHFS is not set\n"

FRAGMENTS = {
    "all kept": ("# reason\nCONFIG_SMP=y\n", []),
    "switched off": ("CONFIG_SMP=y\nCONFIG_SQUASHFS=y\n", ["CONFIG_SQUASHFS=y"]),
    "renamed": ("CONFIG_GONE=y\n", ["CONFIG_GONE=y"]),
    "another value": ("CONFIG_NR_CPUS=16\n", ["CONFIG_NR_CPUS=16"]),
    "only a prefix of an option": ("CONFIG_SM=y\n", ["CONFIG_SM=y"]),
}


@pytest.mark.parametrize(("fragment", "lost"), FRAGMENTS.values(), ids=FRAGMENTS.keys())
def test_a_lost_kernel_option_names_itself(fragment: str, lost: list[str]) -> None:
    assert kernel.lost_options(fragment, CONFIG) == lost


@pytest.mark.parametrize("version", ["1:11.1.3+ds-1~bpo13+1", "1:11.2.0-1", "12.0.0"])
def test_a_qemu_new_enough_is_taken(version: str) -> None:
    base_root.require_qemu(version)


@pytest.mark.parametrize("version", ["1:10.0.13+ds-0+deb13u1", "1:11.1.2-1", "unknown"])
def test_an_older_qemu_is_refused_by_name(version: str) -> None:
    with pytest.raises(BenchError, match=r"asked for 11\.1\.3 or newer; see images/backports\.pref"):
        base_root.require_qemu(version)


def test_the_bench_root_carries_no_secrets_and_leaves_its_hard_links_alone(tmp_path: Path) -> None:
    for name in ("etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_ed25519_key.pub", "etc/ssh/sshd_config"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text("debian")
    (tmp_path / "root/usr/sbin").mkdir(parents=True)
    other = tmp_path / "sshd_config of base-root"
    other.hardlink_to(tmp_path / "root/etc/ssh/sshd_config")
    root.furnish(tmp_path / "root", RECIPE_DIR)
    assert [path.name for path in (tmp_path / "root/etc/ssh").iterdir()] == ["sshd_config"]
    assert "PermitRootLogin" in (tmp_path / "root/etc/ssh/sshd_config").read_text()
    assert other.read_text() == "debian"
