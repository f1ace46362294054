"""What checkers say of the rows of their truth tables, word for word, as somebody has read it.

`recorded/verdicts/` has a file for each file of tests: the test, a TAB, the verdict with the kinds of the
events it rests on. After a change `CPRLAB_REVIEW=1 pytest testcases/selftest/test_x.py` writes it anew; the
difference is what there is to review. A row's own expression says what matters, these lines hold the rest.
"""

import atexit
import os
from collections import defaultdict
from functools import cache
from pathlib import Path

from lab.timeline import Timeline
from lab.verdict import Verdict

FOLDER = Path(__file__).parent / "recorded" / "verdicts"
_said: dict[Path, set[str]] = defaultdict(set)


def hold_to_review(verdict: Verdict, timeline: Timeline, folder: Path) -> None:
    """Hold a verdict against the lines that were reviewed of the test that runs."""
    test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
    path, _, name = test.partition("::")
    kinds = ", ".join(timeline.events[index].kind for index in verdict.evidence)
    words = f"{verdict.outcome} {verdict.checker}: {verdict.summary}".replace(str(folder), "…")
    line = f"{name}\t{words} [{kinds}]"
    file = FOLDER / Path(path).with_suffix(".txt").name
    if os.environ.get("CPRLAB_REVIEW"):
        assert "PYTEST_XDIST_WORKER" not in os.environ, "one process must write the whole file: without -n"
        if not _said:
            atexit.register(_write)
        _said[file].add(line)
        return
    known = [one for one in _reviewed(file) if one.startswith(f"{name}\t")]
    assert line in known, f"not reviewed (see {Path(__file__).name}): {line}\nreviewed: {known}"


@cache
def _reviewed(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def _write() -> None:
    FOLDER.mkdir(exist_ok=True)
    for file, lines in _said.items():
        file.write_text("".join(f"{line}\n" for line in sorted(lines)), encoding="utf-8")
