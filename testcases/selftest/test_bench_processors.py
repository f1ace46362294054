"""Two emulated benches are kept on two processors, as long as there are two."""

import os
from contextlib import ExitStack
from pathlib import Path

from lab.drivers.processors import one_processor


def test_each_bench_gets_its_own_while_there_are_any(tmp_path: Path) -> None:
    processors = os.sched_getaffinity(0)
    with ExitStack() as benches:
        taken = [benches.enter_context(one_processor(tmp_path)) for _ in processors]
        assert set(taken) == processors
        assert benches.enter_context(one_processor(tmp_path)) in processors  # one too many shares


def test_one_that_is_off_gives_its_processor_back(tmp_path: Path) -> None:
    with one_processor(tmp_path) as first:
        pass
    with one_processor(tmp_path) as second:
        assert first == second
