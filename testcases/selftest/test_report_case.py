"""The texts of the report: labels, tables, transcript, reproducer, Allure's settings."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.errors import BenchError
from lab.report import allure_config, allure_tool, tables
from lab.report.case_folder import CaseFolder, Measurement
from lab.report.html import without_analytics
from lab.report.labels import labels, severity, titled
from lab.report.reproduce import script
from lab.timeline import Event, Timeline
from lab.verdict import Outcome, Verdict
from testcases.selftest.report_handmade import recording

OLD = [
    "/opt/qemu's/qemu-system-x86_64",
    *("-append", "console=ttyS0 quiet"),
    *("-qmp", "unix:/run/g 1/qmp.sock,server=on,wait=off"),
    *("-chardev", "socket,id=stream-fd,fd=7"),
    *("-chardev", "socket,id=agent,path=/run/agent.sock,server=on,wait=off"),
    *("-object", "memory-backend-memfd,id=ram0,size=256M,share=on"),
]
COMMANDS = [
    {"execute": "query-status", "arguments": {}},
    {"execute": "migrate-set-parameters", "arguments": {"mode": "cpr-exec", "cpr-exec-command": OLD}},
    {"execute": "migrate", "arguments": {"uri": "file:/run/it's"}},
]


def test_reproducer_is_a_shell_script_that_quotes_everything(tmp_path: Path) -> None:
    """sh accepts it, and gets the arguments of the recording."""
    text = script("a case\nof two lines", OLD, COMMANDS, {"qemu_old": "11.1.3"})
    path = tmp_path / "reproduce.sh"
    path.write_text(text)
    assert subprocess.run(["sh", "-n", str(path)], check=False).returncode == 0
    assert "# a case of two lines" in text and "# qemu_old: 11.1.3" in text
    assert 'query-status", "arguments' not in text


def test_reproducer_starts_qemu_and_speaks_qmp(tmp_path: Path) -> None:
    """Run with programs that only write down what they get."""
    fakes = tmp_path / "bin"
    fakes.mkdir()
    qemu = f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/qemu.argv\n'
    for name, text in (
        ("qemu", qemu),
        ("socat", f"#!/bin/sh\ncat >> {tmp_path}/qmp\n"),
        ("sleep", "#!/bin/sh\n"),
    ):
        (fakes / name).write_text(text)
        (fakes / name).chmod(0o755)
    socket_path = str(tmp_path / "q.sock")
    argv = [str(fakes / "qemu"), "-qmp", f"unix:{socket_path},server=on", "-append", "a  b", *OLD[5:7]]
    text = script("case", argv, COMMANDS).replace("-S ", "! -e ")
    subprocess.run(
        ["sh", "-c", text], env={"PATH": f"{fakes}:/usr/bin:/bin"}, check=True, capture_output=True
    )

    assert (tmp_path / "qemu.argv").read_text().splitlines() == [*argv[1:5], "-chardev", "null,id=stream-fd"]
    sent = [json.loads(line) for line in (tmp_path / "qmp").read_text().splitlines()]
    migrate = [one for one in sent if one["execute"] == "migrate"]
    assert migrate == [COMMANDS[2]]
    told = next(one for one in sent if one["execute"] == "migrate-set-parameters")["arguments"]
    assert "null,id=stream-fd" in told["cpr-exec-command"]


def test_labels_follow_the_conventions(tmp_path: Path) -> None:
    """epic = mode, feature = back-end, story = claim, parentSuite = bench; versions are labels."""
    found = labels(recording(tmp_path, tables=False))
    assert found["epic"] == "cpr-exec" and found["feature"] == "type1"
    assert found["story"] == "DMA goes on" and found["parentSuite"] == "virtual"
    assert found["suite"] == "igb" and found["row"] == "nic"
    assert found["qemu_new"] == "11.1.4"


def case(**data: object) -> Timeline:
    return Timeline((Event(0, 0, "case", data),))


def test_labels_follow_whatever_the_parameters_are() -> None:
    """Each is a label; none can move the case to another place in the report."""
    told = {"row": "nvme", "backend": "iommufd", "devices": "NVMe", "depth": 32, "epic": "x"}
    found = labels(case(bench="virtual", claim="", parameters=told))
    assert (found["feature"], found["suite"], found["epic"]) == ("iommufd", "NVMe", "control")
    assert (found["row"], found["backend"], found["devices"], found["depth"]) == (
        "nvme",
        "iommufd",
        "NVMe",
        "32",
    )
    plain = labels(case(parameters=None))
    assert (plain["feature"], plain["suite"]) == ("no back-end", "no device")
    assert labels(case(parameters={"row": "vdpa"}))["suite"] == "vdpa"


@pytest.mark.parametrize(
    ("name", "parameters", "title"),
    [
        ("test_x[nvme-type1]", {"row": "nvme", "backend": "type1", "devices": "NVMe"}, "test_x[nvme-type1]"),
        (
            "test_x[all-vdpa]",
            {"row": "all", "devices": "NIC, NVMe", "mib": 256},
            "test_x[all-vdpa]: NIC, NVMe",
        ),
        ("test_x", {"row": "nic", "backend": "type1"}, "test_x: nic, type1"),
        ("test_x", {}, "test_x"),
    ],
)
def test_a_title_tells_what_the_name_does_not(name: str, parameters: dict[str, object], title: str) -> None:
    """Words only: numbers vary between benches."""
    assert titled(case(parameters=parameters), name) == title
    assert titled(Timeline(()), name) == name


@pytest.mark.parametrize(
    ("checkers", "level"),
    [
        (["logs_clean", "dma_intact_to_guest"], "blocker"),
        (["pages_stayed_pinned"], "critical"),
        (["medium_intact(nvme)"], "blocker"),
        ([], "normal"),
    ],
)
def test_severity_is_that_of_the_worst_damage(checkers: list[str], level: str) -> None:
    """Data first, guarantees next."""
    assert severity(checkers) == level


def test_tables_escape_and_put_the_bad_first() -> None:
    """What a guest printed is not HTML."""
    verdicts = [
        Verdict("a", Outcome.PASS, "fine"),
        Verdict("b", Outcome.FAIL, "<script>alert(1)</script>", tuple(range(9))),
    ]
    page = tables.verdict_table(verdicts)
    assert "<script>" not in page and page.index("FAIL") < page.index("PASS") and "and 3 more" in page
    assert tables.verdict_text(verdicts).startswith("FAIL b")


@pytest.mark.parametrize(
    ("clock", "unit", "told"), [("guest", "s", True), ("guest", "kB", False), ("far", "s", False)]
)
def test_a_time_by_the_guests_clock_says_what_it_lacks(clock: str, unit: str, told: bool) -> None:
    """It stands still while the guest is paused."""
    page = tables.measurement_table([Measurement("gap", 0.002, unit, clock)])
    assert ("stands still" in page) is told


def test_a_damaged_folder_reads_as_nothing(tmp_path: Path) -> None:
    """The report of a broken run must still be made."""
    for name in ("verdicts.json", "measurements.json", "timeline.jsonl"):
        (tmp_path / name).write_text('{"half')
    (tmp_path / "qmp.jsonl").write_text('{"t_ns": 5, "side": "old", "execute": {}}\n{"t_')
    case = CaseFolder(tmp_path)
    assert case.verdicts() == [] and case.measurements() == [] and len(case.qmp()) == 1
    assert case.timeline().events == ()
    assert tables.transcript(case.qmp()).split() == ["0.000", "old", "→", "execute", "{}"]


def test_metric_keys_do_not_vary_between_runs() -> None:
    """Of times only, of which less is better."""
    pause = Measurement("guest pause", 0.43, "s", "guest")
    counted = Measurement("blocks", 7250, "blocks", "far")
    samples, metrics = allure_config.performance([("test_x[type1]", [pause, counted])], 1, 2)
    assert [sample["key"] for sample in samples] == ["test-x-type1-guest-pause-guest"]
    assert metrics == {"test-x-type1-guest-pause-guest": ("test_x[type1]", pause)}


def test_categories_tell_owners_apart() -> None:
    """Of the lab, of the system under test, of nobody yet."""

    def category(status: str, message: str) -> str:
        for rule in allure_config.CATEGORIES:
            matcher = rule["matchers"]
            if status in matcher["statuses"] and re.search(matcher.get("message", ""), message):
                return str(rule["name"])
        return "none"

    assert category("failed", "AssertionError: FAIL x") == "Product defect"
    assert category("broken", "lab.errors.Inconclusive: UNKNOWN x") == "Inconclusive"
    assert category("broken", "lab.errors.BenchError: no ssh") == "Lab fault"
    assert category("skipped", "XFAIL QEMU 11.1.3 dies") == "Known QEMU defect"


def test_a_run_stands_once_in_the_history() -> None:
    """A report made again replaces its line; a line cut short goes too."""
    lines = ['{"name": "cprlab a"}\n', '{"name": "cprlab b"}\n', '{"na']
    assert allure_config.history_without(lines, "cprlab b") == lines[:1]


def test_properties_escape() -> None:
    """As java.util.Properties reads them."""
    assert (
        allure_config.properties({"kernel host": "7.3\n4", "a": "C:\\x"})
        == "kernel\\ host = 7.3 4\na = C:\\\\x\n"
    )


def test_a_page_that_would_call_home_is_refused() -> None:
    """allure writes analytics into its pages, and has no option against it."""
    tag = '<script async src="https://www.googletagmanager.com/gtag/js?id=G-1"></script>'
    assert without_analytics(f"<a/>{tag}\n <script>x\ny</script><b/>") == "<a/><b/>"
    with pytest.raises(BenchError, match="still calls"):
        without_analytics("<script src='https://www.googletagmanager.com/gtag/js?id=G-1'>")


def test_no_network_at_first_use_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves nothing half installed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(BenchError) as error:
        allure_tool.ensure()
    assert "allure@3.18.0" in str(error.value) and "\n" not in str(error.value)
    assert [path.name for path in (tmp_path / "cprlab").iterdir()] == ["allure-3.18.0.lock"]
    assert shutil.which("node", path=str(allure_tool.node_path().parent))
