"""Passwords of BMCs: never in a target file, never in a message.

A target file names an environment variable or a file; what stands there is read when it is needed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.errors import LabUsageError

_OTHERS = 0o077
HIDDEN = "(hidden)"


@dataclass(frozen=True)
class Credentials:
    """A user and the password, which nothing prints."""

    username: str
    password: str = field(repr=False)

    def hidden(self, text: str) -> str:
        """The text without the password."""
        return text.replace(self.password, HIDDEN) if self.password else text

    @contextmanager
    def kept_secret(self) -> Iterator[None]:
        """What a library raises in here comes out without the password, and without its locals."""
        try:
            yield
        except Exception as error:
            error.args = tuple(self.hidden(a) if isinstance(a, str) else a for a in error.args)
            raise


def credentials(bmc: Any) -> Credentials:
    """Of a resource that has `username`, and either `password_env` or `password_file`.

    Raises:
        LabUsageError: there is no such variable or file, others may read it, or it is empty.
    """
    if bmc.password_env:
        password = os.environ.get(bmc.password_env, "")
        if not password:
            raise LabUsageError(f"the BMC's password was asked from ${bmc.password_env}, which is not set")
        return Credentials(bmc.username, password)
    return Credentials(bmc.username, _first_line(Path(bmc.password_file).expanduser()))


def _first_line(path: Path) -> str:
    try:
        if (mode := path.stat().st_mode & 0o777) & _OTHERS:
            raise LabUsageError(
                f"the BMC's password file {path} has mode {mode:04o}, so others may read it; chmod 600 {path}"
            )
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise LabUsageError(f"the BMC's password file {path} cannot be read: {error.strerror}") from error
    if not lines or not lines[0]:
        raise LabUsageError(f"the BMC's password file {path} is empty; its first line is the password")
    return lines[0]
