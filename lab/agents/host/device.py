"""An assigned function on the host's side: configuration space, interrupts, resets in the kernel's log.

Source: PCI Local Bus 3.0, 6.2 and 6.8 (MSI, MSI-X); Linux drivers/vfio/pci: "vfio-msix[3](0000:01:00.0)".
"""

import os
import re
import struct
from pathlib import Path
from typing import Any

from ..rpc import AgentError
from .sysfs import Sysfs

CONFIG_BYTES = 256
_MSI, _MSIX, _PCIE = 0x05, 0x11, 0x10
_KMSG_RECORD_BYTES = 8192


def device(sysfs: Sysfs, bdf: str) -> dict[str, Any]:
    """{bdf, driver, config (hex), command, msix_enabled, msix_masked, cleared_by_reset, reset_count_hint, …}.

    cleared_by_reset: registers that any reset of the function puts back to their defaults
    reset_count_hint: resets of it that the kernel's log buffer still knows; None if it cannot be read

    Raises:
        AgentError: if there is no such function, or only its first 64 bytes may be read.
    """
    config = _config(sysfs, bdf)
    (command,) = struct.unpack_from("<H", config, 4)
    msix = _capability_word(config, _MSIX, 2)
    return {
        "bdf": bdf,
        "driver": sysfs.driver(bdf),
        "config": config.hex(),
        "command": command,
        "msix_enabled": None if msix is None else bool(msix & 0x8000),
        "msix_masked": None if msix is None else bool(msix & 0x4000),
        "cleared_by_reset": {
            "command": command,
            "bars": list(struct.unpack_from("<6I", config, 0x10)),
            "msi_control": _capability_word(config, _MSI, 2),
            "msix_control": msix,
            "pcie_device_control": _capability_word(config, _PCIE, 8),
        },
        "link_speed": sysfs.attribute(bdf, "current_link_speed"),
        "power_state": sysfs.attribute(bdf, "power_state"),
        "reset_count_hint": _resets(bdf),
    }


def _config(sysfs: Sysfs, bdf: str) -> bytes:
    path = sysfs.device(bdf) / "config"
    with path.open("rb") as file:
        config = file.read(CONFIG_BYTES)
    if len(config) < CONFIG_BYTES:
        raise AgentError(f"{path} gives only {len(config)} bytes: run the host agent as root")
    return config


def _capability_word(config: bytes, wanted: int, offset: int) -> int | None:
    """A 16-bit register of a capability; None without that capability."""
    at, seen = config[0x34] & 0xFC, 0
    while at >= 0x40 and seen < 48:
        if config[at] == wanted:
            return int(struct.unpack_from("<H", config, at + offset)[0])
        at, seen = config[at + 1] & 0xFC, seen + 1
    return None


def _resets(bdf: str) -> int | None:
    """How often the log says "BDF: resetting", as drivers/pci/pci.c prints it."""
    try:
        fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    count, wanted = 0, f"{bdf}: resetting".encode()
    try:
        while True:
            try:
                count += wanted in os.read(fd, _KMSG_RECORD_BYTES)
            except BlockingIOError:
                return count
            except BrokenPipeError:
                continue  # overrun while reading: goes on at the oldest record
    finally:
        os.close(fd)


def interrupts(bdf: str) -> dict[str, int]:
    """Interrupts taken so far by each vector of an assigned function: {"vfio-msix[0](BDF)": count}."""
    return vectors(Path("/proc/interrupts").read_text(), bdf)


def vectors(text: str, bdf: str) -> dict[str, int]:
    """The VFIO lines of /proc/interrupts that name a function, summed over CPUs."""
    found = {}
    for line in text.splitlines():
        if match := re.search(rf"\bvfio-(?:msix|msi|intx)(?:\[\d+\])?\({re.escape(bdf)}\)", line):
            counts = line.split(":", 1)[1].split()
            found[match[0]] = sum(int(c) for c in _leading_numbers(counts))
    return found


def _leading_numbers(words: list[str]) -> list[str]:
    numbers = []
    for word in words:
        if not word.isdigit():
            break
        numbers.append(word)
    return numbers
