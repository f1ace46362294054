"""What Allure is told about a run beside the results: configuration, environment, metrics. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.report.case_folder import Measurement

CATEGORIES: list[dict[str, Any]] = [
    {"name": "Product defect", "matchers": {"statuses": ["failed"]}, "groupBy": ["severity"]},
    {
        "name": "Inconclusive",
        "matchers": {"statuses": ["broken"], "message": "(?:UNKNOWN|Inconclusive|not judged|never judged)"},
    },
    {"name": "Lab fault", "matchers": {"statuses": ["broken"]}},
    {"name": "Known QEMU defect", "matchers": {"statuses": ["skipped"], "message": "(?:xfail|XFAIL)"}},
    {"name": "Not run", "matchers": {"statuses": ["skipped", "unknown"]}},
]
"""The first that matches counts; a message is matched as a regular expression."""

Metrics = dict[str, tuple[str, Measurement]]

CONFIG = """\
// written by cprlab; one report, no network
const settings = {settings};
for (const rule of settings.categories.rules)
  if (rule.matchers.message) rule.matchers.message = new RegExp(rule.matchers.message);
settings.environments = {{
  bench: {{
    name: {bench},
    matcher: () => true,
  }},
}};
export default settings;
"""


def config(name: str, bench: str, output: Path, history: Path, metrics: Metrics) -> str:
    """The text of allurerc.mjs.

    history: file that collects runs
    metrics: for each metric key its case and a measurement, for title and unit
    """
    settings: dict[str, Any] = {
        "name": name,
        "output": str(output),
        "historyPath": str(history),
        "appendHistory": True,
        "categories": {"rules": CATEGORIES},
        "hideLabels": ["framework", "language", "thread", "package", "bench"],
        "performance": {
            "groups": {slug(case): {"title": case} for case, _ in metrics.values()},
            "metrics": {
                key: {
                    "title": f"{m.name} (clock of {m.clock})",
                    "unit": m.unit,
                    "better": "lower",
                    "group": slug(case),
                }
                for key, (case, m) in metrics.items()
            },
        },
        "plugins": {
            "awesome": {
                "options": {
                    "singleFile": True,
                    "reportName": name,
                    "groupBy": ["parentSuite", "epic", "feature"],
                    "theme": "auto",
                    "reportLanguage": "en",
                }
            }
        },
    }
    return CONFIG.format(settings=json.dumps(settings, indent=2), bench=json.dumps(bench))


def history_without(lines: Iterable[str], name: str) -> list[str]:
    """The lines of a history file but those of one run: made again, a report must not count it twice."""
    kept = []
    for line in lines:
        try:
            mine = json.loads(line).get("name") == name
        except (ValueError, AttributeError):
            mine = True  # a line cut short would stop allure
        if not mine:
            kept.append(line)
    return kept


def properties(values: Mapping[str, Any]) -> str:
    """The text of environment.properties, for what holds of the whole run."""
    lines = []
    for name, value in values.items():
        key = name.replace("\\", "\\\\").replace(" ", "\\ ").replace("=", "\\=").replace(":", "\\:")
        text = " ".join(str(value).split()).replace("\\", "\\\\")
        lines.append(f"{key} = {text}\n")
    return "".join(lines)


def executor(run_id: str) -> dict[str, Any]:
    """executor.json: who ran this."""
    return {"name": "cprlab", "type": "cprlab", "buildName": run_id, "reportName": f"cprlab {run_id}"}


def metric_key(case: str, measurement: Measurement) -> str:
    """A key that is the same in every run, by which Allure draws the trend."""
    return slug(f"{case} {measurement.name} {measurement.clock}")


def slug(words: str) -> str:
    """Lower case, letters and digits, joined by dashes."""
    return "-".join("".join(c if c.isalnum() else " " for c in words.lower()).split())


def performance(
    cases: Iterable[tuple[str, Sequence[Measurement]]], start_ms: int, stop_ms: int
) -> tuple[list[dict[str, Any]], Metrics]:
    """The samples of cprlab-perf.json, and a measurement by key for the configuration.

    Only times are shown as metrics: of them, lower is better.
    """
    samples: list[dict[str, Any]] = []
    metrics: Metrics = {}
    for case, measurements in cases:
        for number, one in enumerate(m for m in measurements if m.unit in ("s", "ms", "us", "ns")):
            key = metric_key(case, one)
            metrics[key] = case, one
            samples.append(
                {"id": f"{key}-{number}", "key": key, "value": one.value, "start": start_ms, "stop": stop_ms}
            )
    return samples, metrics
