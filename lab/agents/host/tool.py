"""The host's own tools, `ip` and `vdpa`, which speak netlink for us."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence

from ..rpc import AgentError

TOOL_S = 60.0
"""`vdpa dev del` was seen to take half a minute, when the daemon behind the device was gone (Linux 7.3.4)."""

_SBIN = ":/usr/sbin:/sbin"


def run_tool(argv: Sequence[str]) -> str:
    """Run a tool that must succeed, and return its stdout.

    Raises:
        AgentError: there is no such program, or it fails; the text says what it printed, in one line.
    """
    program = shutil.which(argv[0], path=os.environ.get("PATH", os.defpath) + _SBIN)
    if program is None:
        raise AgentError(f"there is no program {argv[0]!r} on this host")
    try:
        done = subprocess.run(
            [program, *argv[1:]], capture_output=True, text=True, timeout=TOOL_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AgentError(f"{shlex.join(argv)!r} did not end: {error}") from None
    if done.returncode != 0:
        said = "; ".join((done.stderr or done.stdout).split("\n")).strip("; ") or "it printed nothing"
        raise AgentError(f"{shlex.join(argv)!r} failed: {said}")
    return done.stdout
