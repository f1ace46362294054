"""The table of rows holds together, and so do the faults that are planted in its rows."""

from contextlib import suppress

import pytest

from lab.drivers.capabilities import missing
from lab.errors import LabUsageError
from lab.faults.catalogue import FAULTS
from lab.rows import EXEC, REBOOT, TRANSFER, VDPA, VFIO, VHOST, Case
from lab.rows.table import ROWS, cases, row

NOTHING = {
    "host": {},
    "qemu": {"modes": [], "devices": [], "netdevs": [], "objects": [], "blockdevs": []},
    "functions": {},
    "wires": [],
    "screens": [],
}
"""A bench that has nothing."""
CASES = [*cases(), *cases(TRANSFER), *cases(REBOOT)]


def named(case: Case) -> str:
    return f"{case.name}-{case.backend}-{case.mode}"


def test_names_are_unique() -> None:
    assert len({row.name for row in ROWS}) == len({row.title for row in ROWS}) == len(ROWS)
    assert len({named(case) for case in CASES}) == len(CASES)


def test_every_device_and_back_end_of_the_mission_has_a_row() -> None:
    assert {case.backend for case in CASES} == {*VFIO, *VDPA, *VHOST}
    by_vfio = {case.name for case in CASES if case.backend == "iommufd"}
    assert by_vfio >= {"nic", "vf", "nvme", "gpu", "edu", "two-nics", "together", "msi", "intx", "viommu"}
    others = {case.name for case in CASES if case.backend not in VFIO}
    assert others >= {"vdpa-net", "vdpa-blk", "vduse-blk", "tap", "tap-vhost", "vsock"}


@pytest.mark.parametrize("case", CASES, ids=named)
def test_what_a_case_needs_is_known_and_a_bench_without_it_is_told(case: Case) -> None:
    """An unknown need would raise; a bench that has nothing lacks something of every case."""
    assert missing(case.needs, NOTHING)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_case_that_is_refused_or_lost_says_how(case: Case) -> None:
    assert set(case.fate.refused) <= set(case.row.backends)
    assert not (case.refused and case.fate.lost)
    assert case.row.holds.startswith("/dev/")


def test_an_unknown_row_is_told_with_those_there_are() -> None:
    with pytest.raises(LabUsageError, match=r"there is no row 'floppy'; there are nic, vf, nvme, "):
        row("floppy")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_planted_where_there_is_a_case(fault: str) -> None:
    planted = FAULTS[fault]
    with suppress(StopIteration):
        case = next(c for c in cases(EXEC) if (c.name, c.backend) == (planted.row, planted.iommu))
        assert case.refused is None and not case.fate.lost
        return
    pytest.fail(f"{fault} is planted in {planted.row} by {planted.iommu}, which is no case")


def test_every_kind_of_load_has_a_fault() -> None:
    assert {f.row for f in FAULTS.values()} >= {"nic", "nvme", "gpu", "edu", "vdpa-net", "vdpa-blk", "tap"}
