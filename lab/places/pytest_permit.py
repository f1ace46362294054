"""pytest plug-in: ends the session when the lease of its place is over. Listed in conftest.py."""

import os
import signal
import threading

import pytest

from lab.places.permit import GONE, obey


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("cprlab").addoption(
        "--cprlab-permit-fd", type=int, metavar="N", help="descriptor that says how long the run may go on"
    )


def pytest_configure(config: pytest.Config) -> None:
    if (fd := config.getoption("--cprlab-permit-fd")) is None:
        return

    def stop(why: str) -> None:
        if run := config.pluginmanager.get_plugin("cprlab-run"):
            run.why_interrupted = why
        if why != GONE or config.getoption("--cprlab-progress-fd") is None:
            # tears down, so that the host is given back; the second one would cut that short, and
            # lab.report.pytest_run sends one when whoever reads our progress is gone
            os.kill(os.getpid(), signal.SIGINT)

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=obey, args=(fd, stop, kill), name="permit", daemon=True).start()
