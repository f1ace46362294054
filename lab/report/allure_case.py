"""Shows one case in Allure: labels, a step per checker, the picture, the evidence."""

# allure-pytest is typed in part: attach.file and dynamic.label are not
# mypy: disallow-untyped-calls=False

import contextlib
import html
from collections.abc import Sequence
from pathlib import Path

import allure
from allure_commons.types import AttachmentType

from lab.errors import Inconclusive
from lab.report import tables
from lab.report.case_folder import CaseFolder, Measured, last, new_argv, old_argv
from lab.report.drift import draw_drift
from lab.report.labels import labels, severity, titled
from lab.report.picture import draw
from lab.report.reproduce import command_line, script
from lab.run_record import Attempt
from lab.timeline import Timeline
from lab.verdict import Outcome, Verdict, worst

TAIL_BYTES = 2 << 20
LOGS = {
    "console-guest.log": "guest console",
    "console-host.log": "bench host console",
    "dmesg-host.log": "bench host kernel log",
    "qemu-old.log": "old QEMU stderr",
    "qemu-new.log": "new QEMU stderr",
    "timeline.jsonl": "timeline",
}


def show_verdicts(folder: Path, verdicts: Sequence[Verdict], measurements: Sequence[Measured]) -> None:
    """Put what was judged and its evidence into the running test.

    Call within the test, after verdicts.json is written and before `raise_for`. Never raises for
    what the evidence holds: a report that cannot be drawn must not change a verdict.
    """
    case = CaseFolder(folder)
    timeline = case.timeline()
    label(timeline, [verdict.checker for verdict in verdicts])
    pictures = [*_drift(case, measurements), *_pictures(case, timeline, str(worst(verdicts)))]
    claim = " ".join(str(last(timeline, "case").get("claim", "")).split())
    allure.dynamic.description_html(_description(claim, verdicts, measurements, pictures))
    for verdict in verdicts:
        step(verdict)
    _attach_pictures(pictures)
    _html("verdicts", tables.verdict_table(verdicts))
    _text("verdicts (text)", tables.verdict_text(verdicts))
    if measurements:
        _html("pauses and other numbers, by clock", tables.measurement_table(measurements))
    show_commands(folder)


def label(timeline: Timeline, checkers: Sequence[str]) -> None:
    """Set the labels of the running test from what was recorded so far."""
    for name, value in labels(timeline).items():
        allure.dynamic.label(name, value)
    allure.dynamic.severity(severity(checkers))
    if nodeid := last(timeline, "case").get("nodeid"):
        allure.dynamic.title(titled(timeline, str(nodeid).split("::")[-1]))


def step(verdict: Verdict) -> None:
    """A step that passed, failed or is broken as its verdict says; raises nothing."""
    with (
        contextlib.suppress(AssertionError, Inconclusive),
        allure.step(f"{verdict.checker}: {verdict.summary}"),
    ):
        if verdict.outcome is Outcome.FAIL:
            raise AssertionError(str(verdict))
        if verdict.outcome is Outcome.UNKNOWN:
            raise Inconclusive(str(verdict))


def show_commands(folder: Path) -> None:
    """Write reproduce.sh, and attach it with versions, the commands of both QEMUs and the QMP transcript."""
    case = CaseFolder(folder)
    timeline, qmp = case.timeline(), case.qmp()
    old, new = old_argv(case, timeline), new_argv(timeline)
    if old:
        told = [line["execute"] for line in qmp if "execute" in line]
        versions = {name: str(value) for name, value in last(timeline, "versions").items()}
        nodeid = str(last(timeline, "case").get("nodeid", folder.name))
        (folder / "reproduce.sh").write_text(script(nodeid, old, told, versions), encoding="utf-8")
        _text("reproduce.sh", case.text("reproduce.sh"))
    facts = {**last(timeline, "case"), **last(timeline, "versions")}
    if facts:
        _html("versions and parameters", tables.facts_table(facts))
    for title, argv in (("old QEMU", old), ("new QEMU", new)):
        if argv:
            _text(f"command of {title}", command_line(argv))
    if qmp:
        _text("QMP transcript, old and new QEMU", tables.transcript(qmp))


def show_logs(folder: Path) -> None:
    """Attach consoles, logs and the timeline.

    Call when nothing writes to them any more, in the tear-down of the fixture that owns the
    evidence. Of a longer file the end is shown; all of it is in the run record.
    """
    case = CaseFolder(folder)
    for file, title in LOGS.items():
        if text := case.text(file):
            whole = len(text) <= TAIL_BYTES
            _text(title if whole else f"{title} (the end; all of it is {file})", text[-TAIL_BYTES:])
    logged = [
        f"{event.data.get('where')} {event.data.get('level')}: {event.data.get('text')}"
        for event in case.timeline().of("log")
    ]
    if logged:
        _text("log lines that were judged", "\n".join(logged))


def show_attempts(attempts: Sequence[Attempt]) -> None:
    """Say in the running test that its bench failed before, which Allure shows among its retries, too."""
    allure.dynamic.tag("bench failed once before" if len(attempts) == 1 else "bench failed before")
    told = [f"{one.reason}\n  evidence: {one.folder or 'none'}, {one.seconds:.1f} s" for one in attempts]
    _text("the bench failed before, nothing was tested then", "\n".join(told))


def show_unjudged(folder: Path) -> None:
    """For a case that died before its verdict: labels, picture and commands as far as they go."""
    case = CaseFolder(folder)
    timeline = case.timeline()
    label(timeline, [])
    _attach_pictures(_pictures(case, timeline, "NOT JUDGED"))
    show_commands(folder)


def _pictures(case: CaseFolder, timeline: Timeline, verdict: str) -> list[Path]:
    name = str(last(timeline, "case").get("nodeid", case.path.name)).split("::")[-1]
    try:
        return draw(timeline, case.path / "pictures", name, verdict)
    except Exception as crash:  # damaged evidence must not take the verdict with it
        _text("the picture could not be drawn", f"{type(crash).__name__}: {crash}")
        return []


def _drift(case: CaseFolder, measurements: Sequence[Measured]) -> list[Path]:
    try:
        return draw_drift(measurements, case.path / "pictures")
    except Exception as crash:  # as above
        _text("the drift could not be drawn", f"{type(crash).__name__}: {crash}")
        return []


def _attach_pictures(pictures: Sequence[Path]) -> None:
    for picture in pictures:
        allure.attach.file(str(picture), f"picture: {picture.stem}", AttachmentType.PNG)
        svg = picture.with_suffix(".svg")
        allure.attach.file(str(svg), f"picture: {picture.stem} (SVG)", AttachmentType.SVG)


def _description(
    claim: str, verdicts: Sequence[Verdict], measurements: Sequence[Measured], pictures: Sequence[Path]
) -> str:
    """What is read first: the claim, the verdicts, the pauses, the picture of the first update, the rest."""
    told = f'<p style="font-size: 1.2em"><b>Claim: {html.escape(claim)}</b></p>' if claim else ""
    judged = f"<p>What the checkers saw; the worst of it is <b>{worst(verdicts)}</b>:</p>"
    many = any(picture.stem == "drift" for picture in pictures)
    pauses = [one for one in measurements if one.unit == "s"]
    others = [one for one in measurements if one.unit != "s"]
    parts = [told, judged, tables.verdict_table(verdicts)]
    parts += [tables.measurement_table(pauses)] if pauses else []
    parts += map(tables.inline_png, pictures[: 2 if many else 1])
    parts += [tables.measurement_table(others)] if others else []
    return "".join(parts)


def _html(name: str, body: str) -> None:
    allure.attach(tables.page(body), name, AttachmentType.HTML)


def _text(name: str, text: str) -> None:
    allure.attach(text, name, AttachmentType.TEXT)
