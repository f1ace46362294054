"""The picture of many updates in a row: pause and what is held against the number of the update."""

from pathlib import Path

import matplotlib.image
import numpy as np

from lab.measure import measure
from lab.report.drift import HELD, PAUSED, by_update, draw_drift

from .test_checker_growth import held, more
from .timelines import healthy


def test_every_update_is_in_it(tmp_path: Path) -> None:
    """The numbers of the picture are those of the evidence."""
    story = healthy(5)
    held(story)
    more("descriptors", 2)(story)
    numbers = measure(story.timeline(tmp_path / "columns"))
    paused = by_update(numbers, PAUSED, lambda one: f" {one.clock}")
    kept = by_update(numbers, HELD, lambda one: "")
    assert all(list(values) == [1, 2, 3, 4, 5] for values in paused.values()) and len(paused) >= 4
    assert paused["QMP STOP to RESUME host"][3] == 0.4
    assert kept["descriptors"] == {1: 64, 2: 66, 3: 68, 4: 70, 5: 72}
    [path] = draw_drift(numbers, tmp_path / "pictures")
    pixels = matplotlib.image.imread(path)
    assert pixels.shape[1] > 1000 and float(np.std(pixels)) > 0.01
    assert "pause of each update" in path.with_suffix(".svg").read_text()


def test_a_few_updates_need_none(tmp_path: Path) -> None:
    assert draw_drift(measure(healthy(3).timeline(tmp_path / "columns")), tmp_path / "pictures") == []
    assert not (tmp_path / "pictures").exists()
