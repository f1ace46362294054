"""A case that preflight refuses: test_preflight_command.py runs it by `cprlab run`, with --force and without.

Its name keeps pytest from collecting it by itself.
"""

from lab.checkers import file_kept, same_guest, unpromised, update_completed
from testcases.test_preflight import log_sized, with_other

__all__ = ["log_sized"]


def test_the_log_is_cut(load, update, log_sized, verdict):
    """New QEMU's console log has no logappend=on: the guest lives, what the log held does not."""
    with load() as running:
        running.settle()
        log_sized("before")
        with update(rewrite=with_other("logappend=on", "logappend=off")):
            running.settle()
        log_sized("after")

    verdict(update_completed(), same_guest(), unpromised(file_kept()))
