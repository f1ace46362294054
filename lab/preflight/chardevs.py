"""Chardevs that an update loses, and what they wrote. No chardev is handed over by QEMU 11.1.3."""

from collections.abc import Iterator

from lab.preflight.command import Option
from lab.preflight.facts import Facts
from lab.preflight.rule import Says, note, refuse, rule, warn

LEGACY = ("serial", "parallel", "monitor", "qmp", "qmp-pretty", "debugcon", "virtioconsole")
"""Options that make a chardev of their own by `backend:...` (QEMU chardev/char.c, qemu_chr_parse_compat)."""


@rule(
    "pty-path",
    source='QEMU 11.1.3: "Failed to create PTY symlink: File exists"; test_preflight.py',
    remedy="leave path= out and ask for the new name after each update, or use a socket",
)
def pty_path(facts: Facts) -> Says:
    """Old QEMU's symbolic link is there when new QEMU wants to make it."""
    after = "ends, the guest is lost" if facts.execs else "ends, the old one goes on"
    for one in facts.after.chardevs:
        if one["backend"] == "pty" and one["path"]:
            yield refuse(
                f"chardev {one.id} is a pty with path={one['path']}: new QEMU cannot make it anew and {after}"
            )


@rule(
    "pty-renumbered",
    source="QEMU 11.1.3, seen with cpr-exec",
    remedy="use a socket, or ask query-chardev for the new name after each update",
)
def pty_renumbered(facts: Facts) -> Says:
    """New QEMU opens another /dev/pts/N."""
    names = [one.id for one in facts.after.chardevs if one["backend"] == "pty" and not one["path"]]
    names += [str(one) for one in _legacy(facts) if one.value == "pty"]
    if names:
        yield warn(f"{', '.join(names)}: a new pty at each update, who has the old one open hears no more")


@rule(
    "file-truncated",
    source="QEMU 11.1.3, chardev/char-file.c: O_TRUNC without append=on; test_preflight.py",
    remedy="append=on for -chardev file, logappend=on beside logfile; -chardev in place of -serial file:",
)
def file_truncated(facts: Facts) -> Says:
    """New QEMU opens the file again, and empties it."""
    for one in facts.after.chardevs:
        path = one["path"]
        if one["backend"] == "file" and not one.on("append") and not path.startswith(("/dev/", "/proc/")):
            yield refuse(f"chardev {one.id} is file {path} without append=on: what it holds is lost")
        if one["logfile"] and not one.on("logappend"):
            yield refuse(
                f"chardev {one.id} has logfile={one['logfile']} without logappend=on: what it holds is lost"
            )
    for one in _legacy(facts):
        if one.value.startswith("file:"):
            yield refuse(f"{one} has no append: what the file holds is lost")


@rule(
    "socket-reconnects",
    source="row nic, chardev_grade: grade C on a path, A on an inherited descriptor (11.1.3)",
    remedy="let QEMU inherit a connected socket (-chardev socket,fd=N), or let the client connect again",
)
def socket_reconnects(facts: Facts) -> Says:
    """Who is connected gets an end of file, and what was on its way is lost."""
    names = [
        one.id
        for one in facts.after.chardevs
        if one["backend"] == "socket" and "fd" not in one.properties and one.id not in _monitors(facts)
    ]
    if names:
        yield note(f"{', '.join(names)}: connections end at each update, what is on its way is lost")


@rule(
    "add-fd",
    source='reproductions/add-fd (11.1.3: "fd is not valid or already in use")',
    remedy="name the files themselves, or use options with fd= of their own",
)
def add_fd(facts: Facts) -> Says:
    """The descriptor is in use in new QEMU by what CPR handed over."""
    if not facts.execs:
        return
    for one in facts.after.all("add-fd"):
        yield refuse(f"-add-fd {one.value}: new QEMU ends on it, the guest is lost")


@rule(
    "gdb-early",
    source="reproductions/gdb-resuming (11.1.3: gdb_continue() in gdbstub/system.c asks for no runstate)",
    remedy="leave -gdb and -s out, or connect again only when query-status says running",
)
def gdb_early(facts: Facts) -> Says:
    """A debugger that continues before the state is loaded starts the guest without it."""
    for one in facts.after.all("gdb", "s"):
        yield warn(f"{one}: a debugger that connects before the guest is loaded and continues it, loses it")


def _legacy(facts: Facts) -> Iterator[Option]:
    return (one for one in facts.after.all(*LEGACY) if not one.value.startswith("chardev:"))


def _monitors(facts: Facts) -> set[str]:
    """Chardevs of monitors: who speaks QMP knows that it must connect again."""
    return {one["chardev"] for one in facts.after.all("mon")}


RULES = (pty_path, pty_renumbered, file_truncated, socket_reconnects, add_fd, gdb_early)
