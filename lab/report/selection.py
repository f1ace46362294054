"""Which of the collected cases a run is of, and which of them this piece of it tries."""

import time

import pytest

from lab.run_record import RunRecord
from lab.suites import SUITES


class Selection:
    """Leaves out what is not of the suite, what has a result, and what would begin too late.

    suite:   a name of lab/suites.py; None for all that was collected
    minutes: no case begins later; None for any time
    """

    def __init__(self, record: RunRecord, suite: str | None, minutes: float | None) -> None:
        self._record, self._suite = record, suite
        self._until_s = None if minutes is None else time.monotonic() + 60 * minutes

    @pytest.hookimpl(trylast=True)  # after -k and -m
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        wanted = SUITES[self._suite].holds if self._suite else lambda nodeid: True
        planned = [item for item in items if wanted(item.nodeid)]
        self._record.note(planned=[item.nodeid for item in planned])
        keep = [item for item in planned if item.nodeid not in self._record.done]
        kept = set(map(id, keep))
        config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept])
        items[:] = keep

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """A case that is not begun leaves no trace: it is still planned."""
        late = self._until_s is not None and time.monotonic() > self._until_s
        return True if late else None
