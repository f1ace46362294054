"""The chardev matrix of a run: read from its record, drawn, tabled, and a page of the report."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from lab.checkers import chardev_grade
from lab.record.case import write_verdicts
from lab.record.chardev_matrix import Matrix, matrix
from lab.report.chardev_page import COLOURS, add_page, colour, legend, losses, page_html, remark
from lab.timeline import Timeline
from lab.verdict import judge

from .story import Story
from .test_checker_chardevs import ID, ended, gone, told
from .timelines import healthy

BACKEND, FRONTEND = ID.replace("x", "pty").split(".")


def case(run: Path, name: str, expected: str, *spoil: object, mode: str = "cpr-exec") -> dict[str, str]:
    """A case of one connection, judged; `spoil` is told of its story."""
    story: Story = healthy(1)
    story.change("cpr.invoke", {}, mode=mode)
    connection = {"chardev": ID, "backend": BACKEND, "frontend": FRONTEND, "ways": ["from_guest"]}
    story.add(100, "chardev.connection", **connection)
    for one in spoil:
        one(story)  # type: ignore[operator]
    folder = run / name
    made = story.timeline(folder / "columns")
    lines = "".join(json.dumps(asdict(event)) + "\n" for event in made.events)
    (folder / "timeline.jsonl").write_text(lines)
    checkers = [chardev_grade(ID, expected, ways=("from_guest",))]
    timeline = Timeline.load(folder / "timeline.jsonl")
    write_verdicts(folder, timeline, checkers, judge(timeline, checkers))
    return {"nodeid": f"t::{name}", "folder": name}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    cases = [
        case(tmp_path, "kept", "C", told(lost=2, eofs=1, connections=2), ended),
        case(tmp_path, "better", "C", told(), mode="cpr-transfer"),
        {"nodeid": "t::of-another-kind", "folder": "none"},
    ]
    (tmp_path / "run.json").write_text(json.dumps({"cases": cases}))
    return tmp_path


def test_a_cell_has_its_grade_its_losses_and_what_is_wrong(run: Path) -> None:
    found = matrix(run)
    kept, better = found.cells
    assert found.rows == ["pty"]
    assert found.columns == [("virtio-serial", "cpr-exec"), ("virtio-serial", "cpr-transfer")]
    assert (kept.grade, kept.lost, losses(kept), remark(kept)) == ("C", {"from_guest": 2}, "from 2", "")
    assert (better.grade, better.outcome, remark(better)) == ("A", "FAIL", "FAIL: the table says C")
    assert found.at("pty", ("virtio-serial", "cpr-exec")) == kept
    assert found.at("udp", ("virtio-serial", "cpr-exec")) is None


def test_the_page_says_all_without_colour(run: Path) -> None:
    words = page_html(matrix(run), [])
    assert "<b>C</b><br>from 2" in words and "FAIL: the table says C" in words
    assert "A: the same connection, nothing lost" in words and "cut:" not in words


def test_a_grade_that_is_not_believed_has_no_colour(tmp_path: Path) -> None:
    cases = [case(tmp_path, "slept", "A", told(longest_idle_ms=11_000))]
    (tmp_path / "run.json").write_text(json.dumps({"cases": cases}))
    (cell,) = matrix(tmp_path).cells
    assert (cell.grade, remark(cell), colour(cell)) == ("A", "UNKNOWN", COLOURS["?"])


def test_the_page_is_in_the_results_once(run: Path) -> None:
    for _ in range(2):
        add_page(run)
    (result,) = (run / "allure-results").glob("*-result.json")
    page = json.loads(result.read_text())
    assert "data:image/png" in page["descriptionHtml"]
    assert {part["name"] for part in page["attachments"]} == {"matrix.png", "matrix.svg", "matrix.json"}
    assert "the table says C" in (run / "chardevs" / "matrix.svg").read_text()
    assert json.loads((run / "chardevs" / "matrix.json").read_text())["cells"][0]["grade"] == "C"


def test_what_a_fault_was_planted_in_is_no_cell(tmp_path: Path) -> None:
    def planted(story: Story) -> None:
        story.add(99, "calibration.fault", name="x", refutes=[], spares=True)

    cases = [case(tmp_path, "planted", "C", told(), planted)]
    (tmp_path / "run.json").write_text(json.dumps({"cases": cases}))
    assert matrix(tmp_path).cells == ()


def test_a_lost_guest_is_a_cell(tmp_path: Path) -> None:
    cases = [case(tmp_path, "lost", "guest lost", gone)]
    (tmp_path / "run.json").write_text(json.dumps({"cases": cases}))
    (cell,) = matrix(tmp_path).cells
    assert (cell.grade, losses(cell), remark(cell)) == ("guest lost", "all", "")


def test_a_run_without_the_matrix_has_no_page(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"cases": [{"nodeid": "x", "folder": "x"}]}))
    add_page(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "run.json"]
    add_page(tmp_path / "nowhere")
    assert legend(Matrix(())) == ["below: lines lost to and from the guest, or answers; a dash was not tried"]
