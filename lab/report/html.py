"""Turns the run record's allure-results into an HTML report; needs no bench, and no network but once."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from lab.calibration.certificate import in_words
from lab.errors import BenchError, LabUsageError
from lab.report import allure_config, allure_tool, failure_page, matrices_page, preflight_page
from lab.report.case_folder import CaseFolder
from lab.report.chardev_page import add_page as add_chardevs
from lab.report.labels import short_version

TIMEOUT_S = 300
# plugin-awesome 3.18.0 writes Google Analytics into every page, with no option against it
_ANALYTICS = re.compile(
    r"<script async src=\"https://www\.googletagmanager\.com[^>]*></script>\s*<script>.*?</script>", re.DOTALL
)


def write_report(run: Path) -> Path:
    """Make `report/index.html` of a run, one file that opens from disk, and return its path.

    The report is a function of the run record: it can be made again at any time. The run stands
    once in `history.jsonl` beside the runs, from which trends are drawn.

    Raises:
        LabUsageError: if there are no results in the run.
        BenchError: if allure is not there, cannot be installed, or fails.
    """
    run = run.absolute()  # allure runs in it
    results = run / "allure-results"
    if not any(results.glob("*-result.json")):
        raise LabUsageError(f"{run} holds no allure results: was it a run of cprlab, and did a case start?")
    preflight_page.add_page(run)
    failure_page.add_page(run)
    allure = allure_tool.ensure()
    add_chardevs(run)
    matrices_page.add_page(run)
    config, output = _prepare(run, results), run / "report"
    partial = run / "report.partial"
    shutil.rmtree(partial, ignore_errors=True)
    argv = [*allure, "generate", "--config", str(config), str(results)]
    _run(argv, run)
    page = _page(partial)
    page.write_text(without_analytics(page.read_text(encoding="utf-8")), encoding="utf-8")
    shutil.rmtree(output, ignore_errors=True)
    partial.replace(output)
    return output / page.relative_to(partial)


def without_analytics(page: str) -> str:
    """The page without what would call another computer.

    Raises:
        BenchError: if something of it stays.
    """
    clean = _ANALYTICS.sub("", page)
    if "googletagmanager.com/gtag/js?id=" in clean:
        raise BenchError("the report still calls googletagmanager.com; see lab/report/html.py, _ANALYTICS")
    return clean


def _prepare(run: Path, results: Path) -> Path:
    record = _json(run / "run.json")
    run_id = str(record.get("run_id", run.name))
    cases = [
        (
            str(case.get("nodeid", "")).split("::")[-1],
            CaseFolder(run / str(case.get("folder", ""))).measurements(),
        )
        for case in record.get("cases", [])
    ]
    start = _milliseconds(record.get("start"))
    samples, metrics = allure_config.performance(cases, start, _milliseconds(record.get("end")) or start)
    (results / "cprlab-perf.json").write_text(json.dumps(samples), encoding="utf-8")
    (results / "executor.json").write_text(json.dumps(allure_config.executor(run_id)), encoding="utf-8")
    (results / "environment.properties").write_text(
        allure_config.properties(environment(record)), encoding="utf-8"
    )
    name, history = f"cprlab {run_id}", run.parent / "history.jsonl"
    if history.exists():
        lines = history.read_text(encoding="utf-8").splitlines(keepends=True)
        _replace(history, "".join(allure_config.history_without(lines, name)))
    config = run / "allurerc.mjs"
    config.write_text(
        allure_config.config(
            name,
            bench_name(record),
            run / "report.partial",
            history,
            metrics,
        ),
        encoding="utf-8",
    )
    return config


def bench_name(record: Mapping[str, Any]) -> str:
    """What Allure calls the environment; it refuses more than 64 characters."""
    bench = record.get("bench") or {}
    return str(bench.get("name", "bench") if isinstance(bench, Mapping) else bench)[:64]


def environment(record: Mapping[str, Any]) -> dict[str, Any]:
    """What holds of the whole run, by name."""
    facts = {name: record.get(name) for name in ("run_id", "commit", "seed", "start")}
    bench = record.get("bench")
    if isinstance(bench, Mapping):
        facts |= {"bench": bench_name(record), "acceleration": bench.get("acceleration")}
    else:
        facts["bench"] = bench
    facts["calibration"] = standing_words(record)
    versions = {name: short_version(value) for name, value in (record.get("versions") or {}).items()}
    return {name: value for name, value in {**facts, **versions}.items() if value not in (None, "")}


def standing_words(record: Mapping[str, Any]) -> str | None:
    """The calibration that a run's verdicts stand on, in words; None if no bench was used."""
    held = record.get("certificate")
    if not isinstance(held, Mapping):
        return None
    return in_words(held)


def _run(argv: list[str], run: Path) -> None:
    log = run / "report.log"
    # allure asks git and the CI for names when it sees their variables: a report has no use for them
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("CI", "GITHUB", "ALLURE"))
    }
    try:
        done = subprocess.run(
            argv,
            cwd=run,
            env=env,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"allure made no report of {run} within {TIMEOUT_S} s; see {log}") from None
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        raise BenchError(f"allure made no report of {run}: exit status {done.returncode}; see {log}")


def _page(folder: Path) -> Path:
    """index.html, or awesome/index.html, where it goes when there are several plugins."""
    for page in (folder / "index.html", folder / "awesome" / "index.html"):
        if page.is_file():
            return page
    raise BenchError(f"allure left no index.html in {folder}; see {folder.parent / 'report.log'}")


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _milliseconds(stamp: Any) -> int:
    try:
        return int(datetime.fromisoformat(str(stamp)).timestamp() * 1000)
    except ValueError:
        return 0
