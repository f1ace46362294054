"""Writes what a QEMU maintainer needs to see the same thing: QEMU's command and what QMP was told."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

Command = Mapping[str, Any]

_DESCRIPTOR = re.compile(r"(?<![a-z])fd=(\d+|\{fd:[^}]+\})")

HEAD = """\
#!/bin/sh
# {title}
# Run as root on a bench host, with the assigned functions bound to vfio-pci. Needs socat.
set -eu
{notes}
say() {{  # one QMP session; a QMP socket serves one client at a time
    {{ printf '%s\\n' '{{"execute": "qmp_capabilities"}}' "$@"; sleep 1; }} | socat - UNIX-CONNECT:{qmp}
}}
"""

WAIT = """\
until [ -S {qmp} ]; do sleep 0.1; done
sleep "${{GUEST_BOOT_S:-30}}"  # let the guest boot, and start its load by hand
"""

END = """\
say '{"execute": "query-status"}' '{"execute": "query-migrate"}'
echo "QEMU runs on as process $qemu; end it by: kill $qemu"
"""


def script(
    title: str,
    old_argv: Sequence[str],
    commands: Sequence[Command],
    environment: Mapping[str, str] | None = None,
) -> str:
    """A shell script that starts old QEMU and sends it the recorded commands in order.

    commands:    QMP commands as sent: {"execute": ..., "arguments": ...}; queries are left out
    environment: what the recording knows of the bench, name to value, for comments

    A chardev on an inherited descriptor becomes an end of a socket that leads nowhere: the
    descriptor number of the recording means nothing to another shell.
    """
    qmp = qmp_path(old_argv)
    facts = {"": "what was recorded:", **(environment or {})}
    notes = "".join(_comment(f"{name}: {value}" if name else value) for name, value in facts.items())
    parts = [HEAD.format(title=_one_line(title), notes=notes, qmp=shlex.quote(qmp))]
    argv, extra = _without_descriptors(old_argv)
    runner = "" if not extra else "# descriptors of the recording are replaced by null chardevs\n"
    parts.append(f"{runner}{command_line(argv)} &\nqemu=$!\n")
    parts.append(WAIT.format(qmp=shlex.quote(qmp)))
    told = [command for command in commands if not str(command["execute"]).startswith(("query-", "qmp_"))]
    for session in _sessions(told):
        lines = [shlex.quote(json.dumps(_command(c))) for c in session]
        parts.append("say \\\n    " + " \\\n    ".join(lines) + '\nsleep "${UPDATE_S:-10}"\n')
    parts.append(END)
    return "".join(parts)


def qmp_path(argv: Sequence[str]) -> str:
    """The path QEMU's QMP monitor listens on, by its arguments; a guess if there is none."""
    for option, value in pairwise(argv):
        if option == "-qmp" and value.startswith("unix:"):
            return value.removeprefix("unix:").split(",")[0]
    return "/tmp/qmp.sock"


def _command(command: Command) -> dict[str, Any]:
    """A command as another shell can send it: new QEMU inherits no descriptors either."""
    arguments = dict(command.get("arguments") or {})
    if "cpr-exec-command" in arguments:
        arguments["cpr-exec-command"] = _without_descriptors(arguments["cpr-exec-command"])[0]
    return {"execute": command["execute"], **({"arguments": arguments} if arguments else {})}


def _sessions(commands: Sequence[Command]) -> list[list[Command]]:
    """Commands by update: each `migrate` ends a session, because QEMU's exec ends the connection."""
    sessions: list[list[Command]] = [[]]
    for command in commands:
        sessions[-1].append(command)
        if command["execute"] == "migrate":
            sessions.append([])
    return [session for session in sessions if session]


def _without_descriptors(argv: Sequence[str]) -> tuple[list[str], bool]:
    """Arguments whose socket chardevs on inherited descriptors are null chardevs."""
    changed = [
        re.sub(r"^socket,", "null,", _DESCRIPTOR.sub("", word)).replace(",,", ",").rstrip(",")
        if word.startswith("socket,") and _DESCRIPTOR.search(word)
        else word
        for word in argv
    ]
    return changed, list(argv) != changed


def command_line(argv: Sequence[str]) -> str:
    """One option a line."""
    lines: list[list[str]] = [[]]
    for word in argv:
        if word.startswith("-"):
            lines.append([])
        lines[-1].append(shlex.quote(word))
    return " \\\n    ".join(" ".join(line) for line in lines)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _comment(text: str) -> str:
    return f"# {_one_line(text)}\n"
