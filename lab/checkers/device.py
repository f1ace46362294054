"""The assigned device is not reset while QEMU is replaced.

Source: PCI Local Bus 3.0, 6.2.2: a reset clears the command register and the BARs; Linux
drivers/pci/pci.c and drivers/pci/pcie/aer.c for what the kernel says of a reset or an error.
"""

import re
import struct

from lab.checkers.findings import Findings
from lab.checkers.pfns import before_and_after
from lab.checkers.updates import Update, alive_until, awake, completed, seeing
from lab.timeline import Event, Timeline
from lab.verdict import Verdict

RESET = re.compile(
    r"\bresetting\b|\breset done\b|\breset (failed|recovery)|\bFLR\b|not ready \d+ ?ms after"
    r"|\bAER: .*(error|recovery)|PCIe Bus Error|slot reset|bus reset",
    re.IGNORECASE,
)
_MEMORY, _BUS_MASTER = 2, 4
REGISTERS = ("msi_control", "msix_control", "pcie_device_control")
"""What a reset of any kind puts back to its default, beside the command register and the BARs."""
_BAR_AT, _BARS = 0x10, 6


def device_not_reset(timeline: Timeline) -> Verdict:
    """Driver, command register, BARs and MSI-X are the same after, and no reset was logged.

    Reads: host.device {bdf, driver, config, command, msix_enabled, cleared_by_reset,
        reset_count_hint}; log {where: host}; cpr.*.
    """
    found = Findings("device_not_reset")
    done = completed(found, timeline)
    seeing(found, timeline, "device")
    awake(found, timeline, "kmsg-host")
    for update in done:
        bdfs = sorted({str(e.data["bdf"]) for e in timeline.of("host.device")})
        if not bdfs:
            found.gap(f"no host.device was recorded around {update.name}", *update.events)
        for bdf in bdfs:
            pair = before_and_after(found, timeline, "host.device", update, bdf=bdf)
            if pair is not None:
                _compare(found, update, bdf, *pair)
        _log(found, timeline, update)
    return found.verdict()


def _compare(found: Findings, update: Update, bdf: str, before: Event, after: Event) -> None:
    if not int(before.data["command"]) & _BUS_MASTER:
        found.gap(f"{bdf} could not do DMA before {update.name}: bus mastering was off", before)
    for name, old, new in _registers(before, after):
        if old != new:
            found.defect(f"{bdf}: {name} was {old} and is {new} since {update.name}", before, after)
    found.fact(f"{bdf} kept driver, command, BARs and MSI or MSI-X over {update.name}", before, after)


def _registers(before: Event, after: Event) -> list[tuple[str, object, object]]:
    old, new = before.data, after.data
    bits = _MEMORY | _BUS_MASTER
    rows: list[tuple[str, object, object]] = [
        ("driver", old["driver"], new["driver"]),
        ("command (memory, bus master)", hex(int(old["command"]) & bits), hex(int(new["command"]) & bits)),
        ("BARs", _bars(old["config"]), _bars(new["config"])),
        ("MSI-X enable", old.get("msix_enabled"), new.get("msix_enabled")),
    ]
    cleared, kept = old.get("cleared_by_reset", {}), new.get("cleared_by_reset", {})
    rows += [(n, cleared[n], kept.get(n)) for n in REGISTERS if n in cleared]
    resets, resets_now = old.get("reset_count_hint"), new.get("reset_count_hint")
    # the log buffer may forget a reset, never invent one
    if resets is not None and resets_now is not None and resets_now > resets:
        rows.append(("number of resets in the kernel's log", resets, resets_now))
    return rows


def _bars(config: str) -> str:
    return " ".join(f"{bar:x}" for bar in struct.unpack_from(f"<{_BARS}I", bytes.fromhex(config), _BAR_AT))


def _log(found: Findings, timeline: Timeline, update: Update) -> None:
    end = alive_until(timeline, update)
    # messages come late, never early: what is logged until the load settled again belongs to the update
    said = [
        e
        for e in timeline.events[update.invoke.index : end.index]
        if e.kind == "log" and e.data.get("where") == "host" and RESET.search(str(e.data.get("text", "")))
    ]
    if said:
        found.defect(f"the host's kernel says at {update.name}: {said[0].data['text']}", *said[:5])
