"""The process is still charged for the pages that are pinned for its devices.

Source: type1 charges VmLck (drivers/vfio/vfio_iommu_type1.c), iommufd charges VmPin
(drivers/iommu/iommufd/pages.c); both move to new QEMU with the mappings. Accounting is not
pinning: a charge that is lost unpins nothing (see `pages_stayed_pinned`), but limits no longer hold.
"""

from lab.checkers.findings import Findings
from lab.checkers.pfns import before_and_after
from lab.checkers.updates import completed
from lab.timeline import Timeline
from lab.verdict import Verdict

CHARGES = {"vmlck_kb": "VmLck", "vmpin_kb": "VmPin"}


def accounting_kept(timeline: Timeline) -> Verdict:
    """VmLck and VmPin of QEMU are after every update what they were before it, and one of them is charged.

    Reads: host.process {vmlck_kb, vmpin_kb}; cpr.*.
    """
    found = Findings("accounting_kept")
    for update in completed(found, timeline):
        pair = before_and_after(found, timeline, "host.process", update)
        if pair is None:
            continue
        before, after = pair
        if not any(before.data[name] for name in CHARGES):
            found.gap(f"nothing was charged before {update.name}", before)
        for name, word in CHARGES.items():
            if before.data[name] != after.data[name]:
                text = f"{word} was {before.data[name]} kB and is {after.data[name]} kB since {update.name}"
                found.defect(text, before, after)
        charged = ", ".join(f"{word} {after.data[name]} kB" for name, word in CHARGES.items())
        found.fact(f"{charged} as before {update.name}", before, after)
    return found.verdict()
