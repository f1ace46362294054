"""Decides whether the bench host runs under KVM or under TCG, by booting its kernel under KVM.

/dev/kvm alone proves nothing: kvm_pvm answers KVM_GET_API_VERSION, and a stock kernel dies in its
decompressor under it (virtual-bench, 2026-11-23).
"""

import json
import logging
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from lab.waiting import wait_until

log = logging.getLogger(__name__)

_PROBE_S = 8.0
_FIRST_LINE = b"Linux version"
_FAILED = b"KVM internal error"
_NESTED = ("/sys/module/kvm_intel/parameters/nested", "/sys/module/kvm_amd/parameters/nested")


@dataclass(frozen=True)
class Acceleration:
    """name: "kvm" or "tcg", as QEMU's -accel; reason: why, for people"""

    name: str
    reason: str


def acceleration(program: Sequence[str], env: Mapping[str, str], kernel: Path, cache: Path) -> Acceleration:
    """KVM if the bench kernel really boots under it here, else TCG; asked once per boot of the controller.

    cache: file that remembers the answer
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Acceleration("tcg", "no /dev/kvm that this user may open")
    if not _nesting():
        return Acceleration("tcg", "KVM here gives its guests no KVM (parameter nested is off)")
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    key = f"{boot_id} {platform.release()} {kernel} {program[-1]}"
    known = _remembered(cache)
    if key not in known:
        log.info("probing whether the bench kernel boots under KVM here (at most %g s)", _PROBE_S)
        known = {key: _probe(program, env, kernel)}
        _remember(cache, known)
    return Acceleration("kvm" if not known[key] else "tcg", known[key] or "the bench kernel boots under KVM")


def _nesting() -> bool:
    """Whether a guest may use KVM itself: the bench host must."""
    settings = [Path(path).read_text().strip() for path in _NESTED if Path(path).exists()]
    return not settings or any(setting in ("1", "Y") for setting in settings)


def _probe(program: Sequence[str], env: Mapping[str, str], kernel: Path) -> str:
    """Why the kernel does not boot under KVM; empty if it does."""
    # fmt: off
    argv = [
        "setpriv", "--pdeathsig", "KILL", *program,
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-accel", "kvm", "-cpu", "host", "-machine", "q35,kernel-irqchip=split", "-m", "256M",
        "-kernel", str(kernel), "-append", "console=ttyS0 earlyprintk=serial panic=-1", "-serial", "stdio",
    ]
    # fmt: on
    with TemporaryFile() as said:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env={**os.environ, **env}
        )
        try:
            wait_until(lambda: _judged(process, said) is not None, _PROBE_S, "a verdict", error=TimeoutError)
            return _judged(process, said) or ""
        except TimeoutError:
            return f"the bench kernel prints nothing under KVM here within {_PROBE_S:g} s"
        finally:
            process.kill()
            process.wait()


def _judged(process: "subprocess.Popen[bytes]", said: IO[bytes]) -> str | None:
    """Why it does not boot, empty if it does, None while nothing can be said."""
    ended = process.poll() is not None
    text = os.pread(said.fileno(), 1 << 20, 0)
    if _FIRST_LINE in text:
        return ""
    if _FAILED in text or ended:
        first = text.decode(errors="replace").strip().splitlines()[:1]
        return f"the bench kernel does not boot under KVM here: {''.join(first) or 'QEMU ended'}"
    return None


def _remembered(cache: Path) -> dict[str, str]:
    try:
        known = json.loads(cache.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(cache: Path, known: Mapping[str, str]) -> None:
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(known))
        partial.replace(cache)
    except OSError as error:
        log.warning("the answer cannot be remembered in %s: %s", cache, error)
