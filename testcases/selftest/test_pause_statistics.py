"""Statistics of a sweep against closed forms, its points by name, and its numbers made again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import LabUsageError
from lab.pause import record
from lab.pause.analysis import analyse
from lab.pause.plan import TIMED, WITNESSES, Point, Sweep
from lab.pause.questions import QUESTIONS, answered
from lab.pause.record import FILE, analysed, differences, measured, write
from lab.pause.samples import Sample
from lab.pause.statistics import Series, paired, ratio, slope, theil_sen
from lab.report.pause_page import add_page
from lab.run_record import read_run

MODES = ("cpr-exec", "cpr-transfer")


def test_median_and_quartiles() -> None:
    series = Series((4.0, 1.0, 3.0, 2.0, 5.0))
    assert (series.n, series.median, series.quartiles) == (5, 3.0, (2.0, 4.0))


@given(st.floats(-100, 100), st.floats(-100, 100))
def test_the_slope_of_a_line_is_its_slope(a: float, b: float) -> None:
    x = [0.25, 0.5, 1.0, 2.0]
    assert theil_sen(x, [a * value + b for value in x]) == pytest.approx(a, abs=1e-9)


def test_the_slope_heeds_no_outlier() -> None:
    assert theil_sen([1, 2, 3, 4, 5], [1, 2, 3, 4, 500]) == pytest.approx(1.0)


def test_values_of_one_size_have_no_slope() -> None:
    assert theil_sen([1, 1], [2, 3]) is None
    assert slope([(1.0, [2.0, 3.0, 4.0])]) is None and slope([]) is None


def test_the_interval_of_a_slope_holds_it_and_tells_noise_from_growth() -> None:
    random = np.random.default_rng(7)
    noisy = [(x, list(100 + 30 * x + random.normal(0, 1, 20))) for x in (0.5, 1.0, 2.0)]
    grown, flat = slope(noisy), slope([(x, list(random.normal(5, 1, 20))) for x in (0.5, 1.0, 2.0)])
    assert grown is not None and grown.low < 30 < grown.high and grown.seen and grown.n == 60
    assert flat is not None and not flat.seen
    assert slope(noisy) == grown, "the same numbers give the same interval"


def test_the_ratio_of_medians() -> None:
    assert ratio([2.0] * 3, [1.0] * 3) == (2.0, 2.0, 2.0)


def test_pairs_leave_out_what_both_have_in_common() -> None:
    slow = [1.0, 3.0, 1.0, 3.0, 1.0]
    told = paired([(1.1 * of, of) for of in slow])
    assert told is not None and told == pytest.approx((1.1, 1.1, 1.1))
    assert paired([(1.0, 1.0)] * 2) is None


def test_too_few_values_give_no_interval() -> None:
    assert ratio([2.0, 2.0], [1.0] * 9) is None and ratio([], [1.0]) is None
    assert slope([(1.0, [2.0, 3.0]), (2.0, [2.0, 3.0])]) is None


def test_points_are_known_by_their_names() -> None:
    for point in Sweep(product=True).points():
        assert Point.parse(str(point)) == point
    with pytest.raises(LabUsageError, match="no point"):
        Point.parse("512m")


def test_a_sweep_varies_one_thing_at_a_time() -> None:
    points = Sweep().points()
    base = Point(512)
    assert base in points and len(points) == len(set(points))
    for point in (p for p in points if not p.cost and p.prealloc != "both"):
        assert sum(getattr(point, name) != getattr(base, name) for name in vars(base)) <= 1
    assert [p for p in points if p.cost] == [replace(base, devices=0, cost=True)]


def sample(point: Point, mode: str, pause_s: float, **more: bool) -> Sample:
    teardown = 0.0 if point.async_teardown else 0.02
    phases = {"stop": 0.01, "exec": 0.03, "exec: address space": teardown, "load": pause_s - 0.04}
    clocks = {"host": pause_s, "qmp": pause_s - 0.01, "running": pause_s + 0.1, "guest": 0.1}
    clocks |= {"load": pause_s + 0.02} if point.load else {}
    seen = frozenset(WITNESSES)
    return Sample(
        point, 1, mode, more.get("first", False), seen, 0, clocks, {"host": 0.004}, phases, pause_s - 0.1, 0.1
    )


def swept() -> list[Sample]:
    found = [sample(Point(512), "cpr-exec", 9.0, first=True)]
    for point in Sweep().points():
        for number in range(4):
            for mode in MODES[: 1 if point.cost else 2]:
                growth = 0.4 * point.memory_mib / 1024 * (mode == "cpr-exec")
                found.append(sample(point, mode, 0.5 + growth + number / 1000))
            if point.cost:
                seen = replace(found[-1], turn=number)
                found[-1:] = [
                    seen,
                    *(
                        replace(seen, witnesses=frozenset(who), clocks={**seen.clocks, "qmp": cost})
                        for who, cost in ((TIMED, 0.51), (("pins",), 0.6), ((), 0.5))
                    ),
                ]
    return found


def rebooted() -> list[Sample]:
    """The base by cpr-reboot: 1 s without a vCPU, 5 s away."""
    phases = {"suspend": 3.0, "stop": 0.02, "save": 0.3, "quit": 0.2, "start": 0.3, "load": 0.1, "wake": 1.08}
    slept = sample(Point(512), "cpr-reboot", 1.0)
    return [replace(slept, phases=phases)] * 3


def test_growth_is_told_by_mode_and_the_first_update_is_left_out() -> None:
    told = analyse(swept())
    row = told.row(Point(512), "cpr-exec")
    assert row is not None and row.pause.n == 4 and row.pause.median < 1
    grown = {(g.mode, g.of): g.slope.per_unit for g in told.growths if g.point.prealloc == "off"}
    assert grown["cpr-exec", "pause"] == pytest.approx(0.4, abs=0.01)
    assert grown["cpr-transfer", "pause"] == pytest.approx(0.0, abs=0.01)


def lines_of(samples: list[Sample]) -> list[str]:
    return [line for answer in answered(analyse(samples)) for line in answer.says]


def test_every_question_is_answered_with_a_figure_and_its_n() -> None:
    told = answered(analyse([*swept(), *rebooted()]))
    assert len(told) == len(QUESTIONS) and all(answer.says and answer.hardware for answer in told)
    lines = [line for answer in told for line in answer.says]
    for words in (
        "times as long",
        "ms per GiB",
        "2 MiB",
        "prealloc=on",
        "2 assigned",
        "async-teardown",
        "own gap",
        "With DMA load",
        "The far end of the wire",
        "QEMU in a container",
        "suspend 3000, stop 20",
        f"Over {len([p for p in Sweep().points() if not (p.cost or p.async_teardown)])} kinds of guest",
        "the witness pins alone the pause is 600 ms",
        "+2.0% by pairs",
        "below the goal of 5%",
    ):
        assert any(words in line for line in lines), words
    assert all("n=" in line for line in lines if not line.startswith("Over "))
    assert not any(answer.says for answer in answered(analyse([]))), "what was not measured is not told"


def test_guests_of_a_bench_that_was_slower_are_not_compared() -> None:
    slowed = [
        replace(s, yardstick_s=0.12) if s.point.async_teardown or s.point.page == "2m" else s for s in swept()
    ]
    lines = lines_of(slowed)
    for words in ("With 2 MiB pages", "With async-teardown=on"):
        found = [line for line in lines if line.startswith(words) and "cpr-exec" in line]
        assert found
        for line in found:
            assert "cannot be told: the bench host's own speed differed 1.20 times" in line
    assert any(line.startswith("With DMA load") and "times as long" in line for line in lines)
    unseen = [replace(s, yardstick_s=None) for s in swept()]
    assert any("nobody looked" in line for line in lines_of(unseen))


def test_growth_over_guests_of_a_bench_that_was_slower_is_not_told() -> None:
    slowed = [replace(s, yardstick_s=0.15) if s.point.memory_mib == 1024 else s for s in swept()]
    lines = [line for line in lines_of(slowed) if "by what cannot be told" in line]
    assert lines and all("1.50 times between memory sizes" in line for line in lines)


def test_a_run_gives_its_numbers_again(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"cases": [], "bench": {"acceleration": "tcg"}}))
    assert differences(tmp_path) == []
    written = write(tmp_path, analysed(tmp_path))
    assert "emulated" in json.loads(written.read_text())["limits"]
    assert differences(tmp_path) == []
    changed = json.loads(written.read_text()) | {"rows": [1]}
    (tmp_path / FILE).write_text(json.dumps(changed))
    assert differences(tmp_path) == [f"{FILE}: rows differs"]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two runs side by side: the first was interrupted in its second guest, the other went on from there."""
    base, large = Point(512), Point(1024)
    told = {
        "a": [sample(point, mode, 1.0) for mode in MODES for point in [base] * 4 + [large] * 2],
        "b": [sample(point, mode, 2.0) for mode in MODES for point in [large] * 4 + [base] * 1],
    }
    for name in told:
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps({"cases": []}))
    monkeypatch.setattr(record, "of_run", lambda run: told[run.name] if read_run(run) else [])
    return [tmp_path / name for name in told]


def test_a_sweep_goes_on_where_it_was_interrupted(runs: list[Path]) -> None:
    assert measured(runs[0], MODES, 4) == [Point(512)]
    assert measured(runs[0], MODES, 2) == [Point(512), Point(1024)]
    assert measured(runs[0], [*MODES, "cpr-reboot"], 4) == []


def test_of_several_runs_the_one_with_most_of_a_point_counts(runs: list[Path]) -> None:
    first, second = runs
    write(second, analysed(second, [first]), [first])
    told = analysed(second, [first])
    pauses = {row.point.memory_mib: (row.pause.median, row.pause.n) for row in told.rows}
    assert pauses == {512: (1.0, 4), 1024: (2.0, 4)}
    assert differences(second) == [], "the numbers are made again of both"
    (first / "run.json").unlink()
    first.rmdir()
    (difference,) = differences(second)
    assert str(first) in difference


def test_the_reports_page_has_the_plots_and_the_answers(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"cases": []}))
    told = analyse(swept())
    add_page(tmp_path, write(tmp_path, told), told)
    plots = {path.name for path in (tmp_path / "pause").iterdir()}
    assert {"pause-by-memory.png", "phases.svg", "teardown.png"} <= plots
    (page,) = (tmp_path / "allure-results").glob("*-result.json")
    said = json.loads(page.read_text())
    assert "ms per GiB" in said["descriptionHtml"] and len(said["attachments"]) == len(plots) + 1
