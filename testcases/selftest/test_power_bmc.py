"""Power by Redfish and IPMI: what is ordered is done, what is wrong is one line, no password is told.

The services are real (sushy-tools; pyghmi, spoken to by ipmitool); the machine behind them is a variable.
"""

import logging
import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from labgrid import Target, target_factory

from lab.drivers.credentials import Credentials, credentials
from lab.drivers.ipmitool import Ipmitool
from lab.drivers.labgrid_bmc import Bmc, IpmiBmc, RedfishBmc, bmc_of
from lab.drivers.labgrid_console import SerialConsole
from lab.drivers.redfish import Redfish
from lab.drivers.serial_lines import SolLine
from lab.emulation import certificate
from lab.emulation.host import REDFISH, USER
from lab.errors import BenchError, LabError, LabUsageError
from lab.waiting import wait_until
from testcases.selftest.bmc_bench import BmcBench, bmc_bench

WRONG = "a-wrong-one"
KINDS = ["redfish", "ipmi"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BmcBench]:
    with bmc_bench(tmp_path_factory.mktemp("bmc")) as made:
        yield made


def resource(bench: BmcBench, kind: str, **other: Any) -> Any:
    arguments = {**getattr(bench, kind), **other}
    return {"redfish": RedfishBmc, "ipmi": IpmiBmc}[kind](target=None, name=None, **arguments)


def said(ask: Callable[[], object]) -> str:
    with pytest.raises(LabError) as error:
        ask()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(params=KINDS)
def bmc(request: pytest.FixtureRequest, bench: BmcBench) -> Bmc:
    bench.toy.off()
    bench.toy.told.clear()
    return bmc_of(resource(bench, request.param))


def test_what_is_ordered_is_done(bench: BmcBench, bmc: Bmc) -> None:
    assert not bmc.is_on()
    bmc.order("on")
    wait_until(bmc.is_on, 5, "power")
    bmc.order("reset")
    wait_until(lambda: bench.toy.told == ["reset"], 5, "the reset")
    bmc.order("off")
    wait_until(lambda: not bmc.is_on(), 5, "the end of power")


def test_a_wrong_password_is_told_as_such(bench: BmcBench) -> None:
    known = Credentials(USER, WRONG)
    for bmc in (
        Redfish(bench.redfish["url"], known, certificate=bench.folder / "bmc.pem"),
        Ipmitool(bench.ipmi["host"], bench.ipmi["port"], known),
    ):
        assert f"it refused the login of {USER!r}" in said(bmc.is_on)


def test_nobody_there_is_told_as_such(bench: BmcBench) -> None:
    known = credentials(resource(bench, "redfish"))
    silent = replace(Ipmitool(bench.address, 1, known), tries=1)
    assert "it does not answer" in said(silent.is_on)
    assert "it does not answer: connection refused" in said(
        Redfish(f"https://{bench.address}:1", known).is_on
    )


def test_a_system_that_is_not_there_is_told_with_those_that_are(bench: BmcBench) -> None:
    bmc = bmc_of(resource(bench, "redfish", system="SYS2"))
    assert "has no system 'SYS2'; there: SYS1" in said(bmc.is_on)


def test_a_certificate_nobody_vouches_for_is_refused(bench: BmcBench) -> None:
    assert "pin it by `certificate`" in said(bmc_of(resource(bench, "redfish", certificate=None)).is_on)


def test_another_certificate_than_the_pinned_one_is_refused(bench: BmcBench, tmp_path: Path) -> None:
    certificate.make(tmp_path / "other.pem", tmp_path / "other.key", bench.address)
    bmc = bmc_of(resource(bench, "redfish", certificate=str(tmp_path / "other.pem")))
    assert "another certificate than the pinned one" in said(bmc.is_on)


def test_the_pinned_certificate_may_be_for_another_name(bench: BmcBench) -> None:
    """A BMC signs one for itself, with a name of its own."""
    url = f"https://localhost:{REDFISH}".replace("localhost", _other_name(bench.address))
    assert bmc_of(resource(bench, "redfish", url=url)).is_on() in (True, False)


def _other_name(address: str) -> str:
    """The same address, written so that no certificate names it."""
    parts = [int(part) for part in address.split(".")]
    return str((parts[0] << 24) + (parts[1] << 16) + (parts[2] << 8) + parts[3])


def test_a_certificate_that_cannot_be_read_is_named(bench: BmcBench) -> None:
    bmc = bmc_of(resource(bench, "redfish", certificate="/nowhere.pem"))
    assert "certificate /nowhere.pem cannot be read" in said(bmc.is_on)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_tells_the_password(
    kind: str, bench: BmcBench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the log at its most talkative, no message, no traceback, no representation."""
    monkeypatch.setenv("CPRLAB_TEST_BMC", WRONG)
    with caplog.at_level(logging.DEBUG):
        right, wrong = (
            bmc_of(resource(bench, kind, **other))
            for other in ({}, {"password_file": None, "password_env": "CPRLAB_TEST_BMC"})
        )
        right.is_on()
        right.order("on")
        try:
            wrong.is_on()
        except BenchError as error:
            trace = "".join(traceback.format_exception(error))
    text = caplog.text + trace + repr(right) + repr(wrong) + repr(vars(right)) + repr(vars(wrong))
    assert "refused the login" in trace
    assert bench.password not in text and WRONG not in text


def test_no_password_is_seen_in_the_list_of_processes(bench: BmcBench) -> None:
    bmc = Ipmitool(bench.address, 1, credentials(resource(bench, "ipmi")))
    assert bench.password not in " ".join(bmc.argv("chassis", "power", "status"))


def test_serial_over_lan_goes_into_the_consoles_log(bench: BmcBench, tmp_path: Path) -> None:
    """Also when somebody left a session behind: BMCs have but one."""
    target = Target("host")
    target_factory.make_resource(target, "IpmiBmc", "bmc", bench.ipmi)
    target_factory.make_driver(target, "SerialConsole", "sol", {})
    console = target.get_driver(SerialConsole, activate=False)
    SolLine(Ipmitool(bench.address, bench.ipmi["port"], credentials(resource(bench, "ipmi"))))
    console.log_dir = tmp_path
    target.activate(console)
    try:
        log = console.console_log
        wait_until(lambda: b"SOL Session operational" in log.read_bytes(), 10, "the session")

        def heard() -> bool:
            with (bench.folder / "serial.log").open("ab") as file:
                file.write(b"cprlab: ready\r\n")
            return b"cprlab: ready" in log.read_bytes()

        wait_until(heard, 10, "what the host said", period_s=0.2)
        assert bench.password not in log.read_text(errors="replace")
    finally:
        target.deactivate(console)


def test_a_console_whose_password_is_nowhere_says_that_it_is_blind(bench: BmcBench, tmp_path: Path) -> None:
    target = Target("host")
    nowhere = {**bench.ipmi, "password_file": str(tmp_path / "nowhere")}
    target_factory.make_resource(target, "IpmiBmc", "bmc", nowhere)
    target_factory.make_driver(target, "SerialConsole", "sol", {})
    console = target.get_driver(SerialConsole, activate=False)
    console.log_dir = tmp_path
    target.activate(console)
    try:
        wait_until(
            lambda: b"blind from here: the BMC's password" in console.console_log.read_bytes(), 5, "why"
        )
    finally:
        target.deactivate(console)


def test_a_password_in_a_librarys_message_is_hidden() -> None:
    known = Credentials("u", "pa55")
    with pytest.raises(ValueError, match=re.escape("bad (hidden)!")), known.kept_secret():
        raise ValueError("bad pa55!")


def test_a_password_file_that_others_may_read_is_refused(bench: BmcBench, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("x\n")
    path.chmod(0o640)
    words = said(lambda: credentials(resource(bench, "ipmi", password_file=str(path))))
    assert "has mode 0640" in words and f"chmod 600 {path}" in words


@pytest.mark.parametrize(
    "other, words",
    [
        ({"password_file": "/nowhere"}, "file /nowhere cannot be read: No such file"),
        ({"password_file": None, "password_env": "CPRLAB_NOT_SET"}, "$CPRLAB_NOT_SET, which is not set"),
    ],
)
def test_a_password_that_is_nowhere_is_told(bench: BmcBench, other: dict[str, Any], words: str) -> None:
    assert words in said(lambda: credentials(resource(bench, "ipmi", **other)))


def test_an_empty_password_file_is_told(bench: BmcBench, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.touch(mode=0o600)
    with pytest.raises(LabUsageError, match="is empty"):
        credentials(resource(bench, "ipmi", password_file=str(path)))
