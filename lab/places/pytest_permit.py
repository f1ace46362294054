"""pytest plug-in: ends the session when the lease of its place is over. Listed in conftest.py."""

import os
import signal
import threading

import pytest

from lab.places.permit import obey


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
        os.kill(os.getpid(), signal.SIGINT)  # tears down, so that the host is given back

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=obey, args=(fd, stop, kill), name="permit", daemon=True).start()
