"""pytest plugin: checks the file of --lg-env before labgrid reads it. Listed in conftest's pytest_plugins."""

from pathlib import Path

import pytest

from lab.drivers import target_file
from lab.errors import LabUsageError


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
