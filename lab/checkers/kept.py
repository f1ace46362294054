"""Guest RAM that is not saved but stays: in its file, and over a kexec of the host.

Source: QEMU qapi/migration.json, x-ignore-shared; docs/devel/migration/CPR.rst, cpr-reboot; Linux
Documentation/userspace-api/liveupdate.rst.
"""

from dataclasses import dataclass

from lab.checkers.findings import Findings
from lab.checkers.updates import Update, completed
from lab.timeline import Event, Timeline
from lab.verdict import Verdict

_MIB = 1 << 20


@dataclass(frozen=True)
class RamNotSaved:
    """What a guest was saved to holds its devices and not its RAM.

    Reads: guest.saved {update, bytes}; case {parameters {memory_mib}}; cpr.*.
    limit_mib: what devices may take; those of QEMU 11.1.3 take less than one
    """

    limit_mib: int = 4

    @property
    def __name__(self) -> str:
        return "ram_not_saved"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        for update in completed(found, timeline):
            saved = timeline.of("guest.saved", update=update.number)
            if not saved:
                found.gap(f"nobody looked at what {update.name} saved", *update.events)
                continue
            kib = int(saved[-1].data["bytes"]) / 1024
            text = f"{kib:.0f} KiB were saved in {update.name}"
            if not kib:
                found.gap(f"nothing was saved in {update.name}", saved[-1])
            elif kib < self.limit_mib * 1024:
                found.fact(text, saved[-1])
            else:
                found.defect(f"{text}: the guest's RAM too", saved[-1])
        return found.verdict()


@dataclass(frozen=True)
class RamOutlivesKexec:
    """The host booted anew in the update, and each piece of the guest's RAM is in the next kernel as it was.

    Reads: host.kept {when, update, boot_id, bytes, piece_bytes, pieces [CRC-32]};
        host.booted {boot_id, before}; cpr.*.
    """

    @property
    def __name__(self) -> str:
        return "ram_outlives_kexec"

    def __call__(self, timeline: Timeline) -> Verdict:
        found = Findings(self.__name__)
        for update in completed(found, timeline):
            during = timeline.events[update.invoke.index : update.done.index]
            booted = [e for e in during if e.kind == "host.booted"]
            kept = {e.data["when"]: e for e in during if e.kind == "host.kept"}
            if not booted:
                found.defect(f"the host did not boot in {update.name}", *update.events)
            elif missing := {"before", "after"} - kept.keys():
                found.gap(
                    f"nobody looked at the RAM {sorted(missing)[0]} the kexec of {update.name}", booted[0]
                )
            else:
                _compare(found, update, kept["before"], booted[0], kept["after"])
        return found.verdict()


def _compare(found: Findings, update: Update, before: Event, booted: Event, after: Event) -> None:
    seen = (before, booted, after)
    boots = [str(e.data["boot_id"]) for e in (before, after)]
    if boots != [booted.data["before"], booted.data["boot_id"]] or boots[0] == boots[1]:
        found.defect(f"the RAM was seen in boot {boots[0]} and in boot {boots[1]} in {update.name}", *seen)
    old, new = before.data["pieces"], after.data["pieces"]
    if before.data["bytes"] != after.data["bytes"] or len(old) != len(new):
        found.defect(f"{before.data['bytes']} bytes were kept, {after.data['bytes']} are there", *seen)
        return
    if other := [number for number, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]]:
        where = other[0] * int(before.data["piece_bytes"]) // _MIB
        text = f"{len(other)} of {len(old)} pieces of the guest's RAM changed in the kexec of {update.name}"
        found.defect(f"{text}, the first at {where} MiB", *seen)
    if len(set(old)) < 2:
        found.gap(f"all of the guest's RAM was alike before {update.name}: nothing to be kept", before)
    found.fact(
        f"{int(before.data['bytes']) // _MIB} MiB of RAM are as they were in {len(old)} pieces, "
        f"{len(set(old))} of them different, after the kexec of {update.name}",
        *seen,
    )
