"""Tables and transcripts of the report, as HTML and as text."""

import base64
import html
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.report.case_folder import Measured
from lab.streams import GUEST
from lab.verdict import Outcome, Verdict

STYLE = """<style>
body { font: 14px/1.45 system-ui, "DejaVu Sans", sans-serif; margin: 12px; color: #1b1b1b; background: #fff; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 5px 10px; border-bottom: 1px solid #ddd; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
</style>"""

# allure forbids line breaks in the tables of a description, and cuts them off at the right
WRAP = 'style="white-space: normal; overflow-wrap: break-word"'
STANDSTILL = "<p>The guest's clock stands still while the guest is paused: no time by it holds the pause.</p>"
TYPES = {".html": "text/html", ".json": "application/json", ".png": "image/png", ".svg": "image/svg+xml"}
COLOUR = {Outcome.PASS: "#00704f", Outcome.FAIL: "#b34700", Outcome.UNKNOWN: "#805600"}


def page(body: str) -> str:
    """An HTML document for an attachment."""
    return f"<!doctype html><html><head><meta charset='utf-8'>{STYLE}</head><body>{body}</body></html>"


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts, the bad ones first; for a page, or a description where only inline style counts."""
    ordered = sorted(verdicts, key=lambda verdict: -verdict.outcome.badness)
    rows = [
        (
            f'<b style="color: {COLOUR[v.outcome]}">{v.outcome}</b>',
            html.escape(v.checker),
            html.escape(v.summary),
            html.escape(_events(v)),
        )
        for v in ordered
    ]
    return _table(("verdict", "checker", "what was seen", "events"), rows)


def verdict_text(verdicts: Sequence[Verdict]) -> str:
    """The verdicts, one a line, the bad ones first."""
    return "".join(f"{v}\n" for v in sorted(verdicts, key=lambda verdict: -verdict.outcome.badness))


def measurement_table(measurements: Iterable[Measured]) -> str:
    """Numbers, each with the clock it was taken by: numbers of different clocks do not compare."""
    told = list(measurements)
    rows = [(html.escape(m.name), number(m.value), html.escape(m.unit), html.escape(m.clock)) for m in told]
    still = any(m.unit == "s" and m.clock == GUEST for m in told)
    return _table(("measured", "value", "unit", "by the clock of"), rows) + (STANDSTILL if still else "")


def number(value: float) -> str:
    """Counts in full, anything else with four digits."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def facts_table(facts: Mapping[str, Any]) -> str:
    """Names and values."""
    return _table(("", ""), [(html.escape(k), html.escape(str(v))) for k, v in facts.items()])


def transcript(lines: Iterable[Mapping[str, Any]]) -> str:
    """The QMP transcript for people: seconds, side, direction, message."""
    text = []
    zero: int | None = None
    for line in lines:
        zero = int(line.get("t_ns", 0)) if zero is None else zero
        seconds = (int(line.get("t_ns", 0)) - zero) / 1e9
        body = {k: v for k, v in line.items() if k not in ("t_ns", "side", "update")}
        for what, message in body.items():
            arrow = "→" if what == "execute" else "←"
            told = f"{seconds:9.3f} {line.get('side', '?'):>3} {arrow} {what:8} {json.dumps(message)}"
            text.append(told + "\n")
    return "".join(text)


def inline_png(path: Path) -> str:
    """A picture as part of the page: the report is one file."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    source = f"data:image/png;base64,{data}"
    return f'<p><img alt="{html.escape(path.stem)}" style="max-width: 100%" src="{source}"></p>'


def attach(results: Path, name: str, path: Path) -> dict[str, str]:
    """Copy a file into allure-results, and return what names it as an attachment of the result `name`."""
    source = f"{name}-{path.stem}-attachment{path.suffix}"
    shutil.copyfile(path, results / source)
    return {"name": path.name, "source": source, "type": TYPES[path.suffix]}


def _events(verdict: Verdict) -> str:
    shown = ", ".join(map(str, verdict.evidence[:6]))
    return shown + (f" and {len(verdict.evidence) - 6} more" if len(verdict.evidence) > 6 else "")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = "".join(f"<th>{name}</th>" for name in head) if any(head) else ""
    body = "".join("<tr>" + "".join(f"<td {WRAP}>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{f'<thead><tr>{cells}</tr></thead>' if cells else ''}<tbody>{body}</tbody></table>"
