"""Two emulated benches are kept on two processors, as long as there are two."""

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.drivers.processors import PROCESSORS, one_processor


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As sysfs has them, but nobody else's."""
    for number in os.sched_getaffinity(0):
        (tmp_path / f"cpu{number}").mkdir()
    return tmp_path


def test_each_bench_gets_its_own_while_there_are_any(folder: Path) -> None:
    processors = os.sched_getaffinity(0)
    with ExitStack() as benches:
        taken = [benches.enter_context(one_processor(folder)) for _ in processors]
        assert set(taken) == processors
        assert benches.enter_context(one_processor(folder)) in processors  # one too many shares


def test_one_that_is_off_gives_its_processor_back(folder: Path) -> None:
    with one_processor(folder) as first:
        pass
    with one_processor(folder) as second:
        assert first == second


def test_the_machine_s_own_processors_can_be_locked() -> None:
    with one_processor() as number:
        assert (PROCESSORS / f"cpu{number}").is_dir()
