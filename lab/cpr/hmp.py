"""The words of the human monitor, sent by QMP: as people type them, and as the proposal shows them.

Source: QEMU hmp-commands.hx, migrate_set_parameter and migrate; QMP human-monitor-command. HMP splits
cpr-exec-command into words by the rules of a shell (migration/migration-hmp-cmds.c, 10.2).
"""

import shlex
from collections.abc import Sequence

from lab.errors import Refused
from lab.qemu.monitor import Monitor


def cpr_exec(monitor: Monitor, command: Sequence[str], state_file: str) -> None:
    """Begin a cpr-exec.

    Raises:
        Refused: with what the monitor printed; it is silent when all is well.
    """
    say(monitor, "migrate_set_parameter mode cpr-exec")
    say(monitor, f"migrate_set_parameter cpr-exec-command {shlex.join(command)}")
    say(monitor, f"migrate -d file:{state_file}")


def say(monitor: Monitor, line: str) -> None:
    """Have the human monitor do one line.

    Raises:
        Refused: it printed something.
    """
    if printed := str(monitor.execute("human-monitor-command", {"command-line": line})).strip():
        raise Refused(f"{line.split()[0]}: {printed}")
