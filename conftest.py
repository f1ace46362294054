"""Options and plug-ins; the fixtures are in fixtures/, one file a rung."""

import pytest

pytest_plugins = [
    "lab.drivers.labgrid_pytest",
    "lab.report.pytest_run",
    "lab.places.pytest_permit",
    "fixtures.qemu",
    "fixtures.bench",
    "fixtures.shelf",
    "fixtures.host",
    "fixtures.evidence",
    "fixtures.row",
    "fixtures.memory",
    "fixtures.container",
    "fixtures.chardevs",
    "fixtures.guest",
    "fixtures.load",
    "fixtures.preflight",
    "fixtures.update",
    "fixtures.kexec",
    "fixtures.pause",
    "fixtures.failure",
    "fixtures.planting",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cprlab")
    for side, what in (("old", "start the guest in"), ("new", "update to")):
        group.addoption(
            f"--qemu-{side}",
            metavar="QEMU",
            help=f"{what} this QEMU: a file or folder here, deb:VERSION, or host:PATH on the bench host",
        )
    group.addoption("--updates", type=int, default=3, metavar="N", help="updates in a row (default: 3)")
    group.addoption("--force", action="store_true", help="update whatever preflight has against it")
    group.addoption("--pause-points", metavar="NAMES", default="", help="of `cprlab pause`, apart by commas")
    modes = "cpr-exec,cpr-transfer"
    group.addoption("--pause-modes", metavar="NAMES", default=modes, help=f"in turns (default: {modes})")
    group.addoption("--pause-repeats", type=int, default=4, metavar="N", help="of each mode (default: 4)")
    group.addoption("--faults", metavar="NAMES", default="", help="to plant, apart by commas (default: all)")
    group.addoption("--risky", action="store_true", help="also faults that may harm a real bench")
    group.addoption("--clean-runs", type=int, default=5, metavar="N", help="of a calibration (default: 5)")
    group.addoption(
        "--seed", type=int, default=1, metavar="N", help="seed of the load's content (default: 1)"
    )
