"""The chardev matrix: what an update makes of every kind of connection, held strictly both ways.

Claim under test, from the proposal "Live update: cpr-exec" (2024-06-30): "there is no loss of connectivity to
the guest, because chardev descriptors remain open and connected". What QEMU really keeps is data, by version
and mode: lab/rows/chardevs.py. Numbered lines run both ways before, during and after the update.
"""

from dataclasses import replace

import pytest

from lab.checkers import same_guest, update_completed, update_refused
from lab.rows import Case, Row
from lab.rows.chardevs import MATRIX
from lab.rows.guest_config import guest_config as config_of

pytestmark = pytest.mark.forced  # preflight would refuse what loses lines, or the guest
IN_CI = ("several", "cpr-exec")
"""Several back-ends at once; the others are left to nightly runs."""


def params(*, lost=False, no=False):
    """Guest and mode of each case: those whose guest is lost, whose update is refused, or all others."""
    return [
        pytest.param(one, mode, id=f"{one.name}-{mode}", marks=[] if (one.name, mode) == IN_CI else NIGHTLY)
        for one in MATRIX
        if (bool(one.lost), bool(one.no)) == (lost, no)
        for mode in one.modes
    ]


NIGHTLY = pytest.mark.nightly


@pytest.fixture
def connections(request):
    """What the guest of this case carries."""
    return request.param


@pytest.fixture
def row():
    """No device."""
    return Case(Row("no-device", "no device", ()), "type1")


@pytest.fixture
def guest_config(bench, row, attached, memory, guest_kernel, guest_initramfs, machine, connections, mode):
    """A guest with these connections."""
    config = config_of(bench, row, attached, guest_kernel, guest_initramfs, memory=memory)
    return replace(config, machine=machine, chardevs=connections.chardevs(mode))


@pytest.fixture
def grades(connections, mode, probed, qemu_new):
    """The claims of this case, by the version of new QEMU."""
    return connections.claims(probed(qemu_new)["version"], mode)


@pytest.mark.parametrize("connections, mode", params(), indirect=True)
def test_connections(update, flowing, verdict, grades):
    """Each connection gets the grade that is known of this QEMU: no worse, and no better."""
    flowing()
    with update():
        flowing()

    verdict(update_completed(), same_guest(), *grades)


@pytest.mark.parametrize("connections, mode", params(no=True), indirect=True)
def test_the_update_is_refused(connections, update, flowing, verdict, grades):
    """Where both QEMUs want what only one can have, the guest and its connections go on in old QEMU."""
    flowing()
    with update():
        flowing()

    verdict(update_refused(connections.no), same_guest("fail"), *grades)


@pytest.mark.parametrize("connections, mode", params(lost=True), indirect=True)
def test_the_guest_is_lost(connections, update, flowing, verdict, grades, qemu_said):
    """QEMU accepts the update, and new QEMU ends over this back-end; one that keeps the guest is red."""
    flowing()
    with update():
        pass

    qemu_said(connections.lost)
    verdict(*grades)
