"""pytest plugin: checks the file of --lg-env before labgrid reads it. Listed in conftest's pytest_plugins."""

from pathlib import Path

import pytest

from lab.calibration.certificate import header
from lab.drivers import target_file
from lab.errors import LabUsageError


def pytest_report_header(config: pytest.Config) -> list[str]:
    """On which calibration of its bench a run stands, or why on none."""
    path = config.getoption("lg_env", None)
    return [f"calibration: {header(Path(path))}"] if path else []


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """One line and exit status 4, pytest's for usage errors."""
    if path := config.getoption("lg_env", None):
        try:
            limits = target_file.load(Path(path)).options.limits
        except LabUsageError as error:
            raise pytest.UsageError(str(error)) from error
        if getattr(config.option, "bench_attempts", 1) is None:
            config.option.bench_attempts = limits.bench_attempts
