"""The chardev matrix is whole: every connection has a grade, its words, and a far end that is there."""

import pytest

from lab.checkers import as_json, from_json
from lab.checkers.chardevs import GRADES
from lab.errors import LabUsageError
from lab.qemu.argv import GuestConfig
from lab.qemu.chardevs import BACKENDS, chardevs
from lab.rows import EXEC
from lab.rows.chardevs import EXPECTED, MATRIX, ChardevGuest, expected

ISSUE = {
    *("socket-server", "tcp-server", "socket-client", "inherited", "reconnecting", "pty", "pty-path"),
    *("file", "file-append", "pipe", "stdio", "udp", "mux", "ringbuf", "vnc"),
}


@pytest.mark.parametrize("guest", MATRIX, ids=lambda guest: guest.name)
def test_every_connection_of_a_guest_has_a_grade(guest: ChardevGuest) -> None:
    for mode in guest.modes:
        claims = guest.claims("11.1.3", mode)
        assert [claim.chardev for claim in claims] == [one.id for one in guest.chardevs()]
        assert all(from_json(as_json(claim) or {}) == claim for claim in claims)
        assert {claim.expected == "guest lost" for claim in claims} == {bool(guest.lost)}


@pytest.mark.parametrize("guest", MATRIX, ids=lambda guest: guest.name)
def test_a_guest_can_carry_its_connections(guest: ChardevGuest) -> None:
    ids = [one.id for one in guest.chardevs()]
    serial = [one.guest_port for one in guest.chardevs() if one.frontend == "isa-serial"]
    assert len(set(ids)) == len(ids)
    assert serial == [f"/dev/ttyS{number}" for number in range(1, len(serial) + 1)] and len(serial) <= 3
    # QEMU prints the names of its terminals to standard output
    assert not {"stdio", "pty"} <= {one.backend.name for one in guest.chardevs()}
    folder = "/run/cprlab/01234567"
    assert all(len(one.where(f"{folder}/2", folder)) < 100 for one in guest.chardevs())


def test_the_matrix_has_what_was_asked_for() -> None:
    pairs = [pair for guest in MATRIX for pair in guest.pairs]
    assert {backend for backend, _ in pairs} == set(BACKENDS) and set(BACKENDS) >= ISSUE
    assert {frontend for _, frontend in pairs} == {
        *("virtio-serial", "isa-serial", "qmp", "hmp"),
        "gdbstub",
        "vnc",
    }
    by_exec = [pair for guest in MATRIX if EXEC in guest.modes for pair in guest.pairs]
    assert len(by_exec) == len(set(by_exec))


def test_every_grade_is_one_that_is_asked_for() -> None:
    for grades in EXPECTED.values():
        for mode, expectations in grades.items():
            asked = {pair for guest in MATRIX if mode in guest.modes for pair in guest.pairs}
            assert set(expectations.values()) <= set(GRADES)
            assert asked <= set(expectations)


def test_a_newer_qemu_is_held_to_the_newest_table() -> None:
    assert expected("11.1.3") is expected("11.2.0") is expected("12.0") is EXPECTED["11.1"]
    with pytest.raises(LabUsageError, match=r"QEMU 10\.0\.13 is older than what is known"):
        expected("10.0.13")


def test_the_words_of_a_connection() -> None:
    pairs = (
        ("socket-server", "virtio-serial"),
        ("tcp-server", "qmp"),
        ("mux", "isa-serial"),
        ("stdio", "hmp"),
    )
    config = GuestConfig("/k", "/i", "/run/x", "type1", chardevs=chardevs((*pairs, ("vnc", "vnc"))))
    argv = config.argv("qemu")
    assert config.sockets == ("stream-fd", "mux.isa-serial") and config.stdio == "stdio.hmp"
    for words in (
        [
            *(
                "-chardev",
                "socket,id=socket-server.virtio-serial,path=/run/x/socket-server.virtio-serial,server=on,wait=off",
            ),
            *(
                "-device",
                "virtserialport,chardev=socket-server.virtio-serial,name=cprlab.socket-server.virtio-serial",
            ),
        ],
        [
            *("-chardev", "socket,id=tcp-server.qmp,host=127.0.0.1,port=42002,server=on,wait=off"),
            *("-mon", "chardev=tcp-server.qmp,mode=control"),
        ],
        [
            *("-chardev", "socket,id=mux.isa-serial,fd={fd:mux.isa-serial},mux=on"),
            *("-mon", "chardev=mux.isa-serial,mode=readline", "-serial", "chardev:mux.isa-serial"),
        ],
        ["-chardev", "stdio,id=stdio.hmp,signal=off", "-mon", "chardev=stdio.hmp,mode=readline"],
        ["-vnc", "unix:/run/x/vnc.vnc"],
    ):
        assert words == argv[(start := argv.index(words[1]) - 1) : start + len(words)]
    # the console stays the first serial port
    assert argv.index("chardev:console") < argv.index("chardev:mux.isa-serial")
