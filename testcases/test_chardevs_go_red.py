"""The table of chardevs is held both ways on a bench: a QEMU that keeps more is as red as one losing more.

The claim under test is the lab's own. New QEMU is started with the words of two file back-ends exchanged: it
keeps what the table says is lost, and loses what the table says is kept.
"""

import pytest

from lab.calibration.matrix import PLANTED, Row
from lab.checkers import same_guest, update_completed
from lab.rows.chardevs import MATRIX
from testcases.test_chardevs import connections, grades, guest_config, row

__all__ = ["connections", "grades", "guest_config", "row"]

pytestmark = [pytest.mark.nightly, pytest.mark.forced]
SEVERAL = next(guest for guest in MATRIX if guest.name == "several")
DEVIANT = frozenset({"chardev_grade(file.virtio-serial)", "chardev_grade(file-append.virtio-serial)"})


def exchanged(words: list[str]) -> list[str]:
    """The file that was emptied is appended to, and the other way round."""
    appends = ",append=on"
    made = [
        word.removesuffix(appends) if word.endswith(appends) else f"{word}{appends}"
        for word in words
        if word.startswith("file,")
    ]
    assert sorted(appends in word for word in made) == [False, True]
    rest = iter(made)
    return [next(rest) if word.startswith("file,") else word for word in words]


@pytest.mark.parametrize("connections, mode", [(SEVERAL, "cpr-exec")], indirect=True, ids=["several"])
def test_a_deviation_either_way_is_red(update, flowing, evidence, judged, grades):
    """One connection better than the table and one worse: these two are refuted, and no other."""
    evidence.record(PLANTED, name="files-exchanged", refutes=sorted(DEVIANT), spares=True)
    flowing()
    with update(rewrite=exchanged):
        flowing()

    found = judged(update_completed(), same_guest(), *grades)
    judged_row = Row("files-exchanged", DEVIANT, frozenset(), True, found)
    assert judged_row.caught, f"missed by {sorted(judged_row.missed)}, blamed {sorted(judged_row.blamed)}"
    said = {one.checker: one.summary for one in found}
    assert "better than the table" in said["chardev_grade(file.virtio-serial)"]
    assert ", worse: " in said["chardev_grade(file-append.virtio-serial)"]
