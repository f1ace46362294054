"""What QEMU, what it is started through, and its host must have for an update."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from lab.preflight.facts import Facts, release
from lab.preflight.modes import SINCE
from lab.preflight.rule import Says, note, refuse, rule, untold, warn

KEEPS = ("nice", "ionice", "taskset", "numactl", "chrt", "prlimit", "setpriv", "stdbuf", "nohup", "setarch")
"""Programs that exec what they are given in the environment they have, unless an option says otherwise."""
STATE = "QEMU_CPR_EXEC_STATE"
"""In it old QEMU tells new QEMU where its descriptors are (QEMU migration/cpr-exec.c)."""
CLEARS = {
    "env": ("-i", "-", "--ignore-environment"),
    "setpriv": ("--reset-env",),
    "su": ("-", "-l", "--login"),
    "runuser": ("-", "-l", "--login"),
}
CLOSES = ("sudo", "doas", "systemd-run", "ssh", "docker", "podman", "crun", "runc", "machinectl")
"""They start it without old QEMU's environment, and without its descriptors."""


@rule(
    "environment-dropped",
    source=f"QEMU migration/cpr-exec.c: {STATE}; test_preflight.py (11.1.3: RAM zeroed, guest lost)",
    remedy=f"start new QEMU through nothing that changes its environment or closes descriptors; keep {STATE}",
)
def environment_dropped(facts: Facts) -> Says:
    """New QEMU that does not get the variable starts with memory of its own, and loads the device state."""
    if not facts.execs or facts.new is None or not facts.new.through:
        return
    words = facts.new.through
    if why := _cleared(words):
        yield refuse(f"{' '.join(words)}: {why}, so new QEMU does not find the guest's memory")
    elif not all(_transparent(word) for word in words if not word.startswith("-")):
        yield untold(f"whether {' '.join(words)} keeps environment and descriptors for new QEMU")


def _cleared(words: Sequence[str]) -> str:
    for position, word in enumerate(words):
        program, options = PurePosixPath(word).name, words[position + 1 :]
        if any(option in CLEARS.get(program, ()) for option in options):
            return f"{program} clears the environment"
        if program == "env" and _unset(options):
            return f"env removes {STATE}"
        if program in CLOSES:
            return f"{program} starts it with another environment and without old QEMU's descriptors"
    return ""


def _unset(options: Sequence[str]) -> bool:
    joined = [f"{one} {two}" for one, two in zip(options, [*options[1:], ""], strict=True)]
    return any(text.split()[:2] == ["-u", STATE] for text in joined) or f"--unset={STATE}" in options


def _transparent(word: str) -> bool:
    """A wrapper that is known, or one of its values: `A=b`, a number, a list of processors."""
    return PurePosixPath(word).name in (*KEEPS, "env") or "=" in word or word[:1].isdigit()


@rule(
    "memlock-low",
    source="test_cpr_exec_container.py (Linux 7.3.4: the new process is charged before the old is not)",
    remedy="raise RLIMIT_MEMLOCK (LimitMEMLOCK=), by iommufd to twice the guest's RAM; or give CAP_IPC_LOCK",
)
def memlock_low(facts: Facts) -> Says:
    """All guest RAM is pinned for VFIO; by iommufd twice for a moment. CAP_IPC_LOCK is not limited."""
    host, command = facts.host, facts.after
    if not command.vfio or host.ipc_lock or host.memlock_bytes == float("inf"):
        return
    ram, times = command.ram_bytes, 2 if command.by_iommufd else 1
    if host.ipc_lock is None or host.memlock_bytes is None or ram is None:
        need = f"{times * ram >> 20} MiB" if ram is not None else "the guest's RAM"
        yield untold(f"whether QEMU may lock {need} of memory (RLIMIT_MEMLOCK, CAP_IPC_LOCK)")
    elif host.memlock_bytes < times * ram:
        why = "twice the guest's RAM, for a moment" if times == 2 else "the guest's RAM"
        yield refuse(
            f"QEMU may lock {int(host.memlock_bytes) >> 20} MiB, the update needs {times * ram >> 20} MiB"
            f" ({why}): the guest is lost"
        )


@rule(
    "kernel-type1",
    source='QEMU hw/vfio/cpr-legacy.c: "VFIO container does not support VFIO_UPDATE_VADDR"; Linux 5.12',
    remedy="Linux 5.12 or newer on the host, with CONFIG_VFIO_IOMMU_TYPE1, not iommufd's own container",
)
def kernel_type1(facts: Facts) -> Says:
    """VFIO_UPDATE_VADDR: pinned memory finds its new addresses."""
    if facts.after.by_type1 and facts.host.update_vaddr is None:
        yield untold(
            "whether the host's kernel has VFIO_UPDATE_VADDR (Linux 5.12), without which QEMU refuses"
        )
    elif facts.after.by_type1 and not facts.host.update_vaddr:
        yield refuse("the host's kernel has no VFIO_UPDATE_VADDR: QEMU refuses to update a type1 device")


@rule(
    "kernel-iommufd",
    source='QEMU hw/vfio/cpr-iommufd.c: "does not support IOMMU_IOAS_CHANGE_PROCESS"; Linux 6.13',
    remedy="a host kernel of Linux 6.13 or newer",
)
def kernel_iommufd(facts: Facts) -> Says:
    """IOMMU_IOAS_CHANGE_PROCESS: pinned memory gets its new owner."""
    if facts.after.by_iommufd and facts.host.change_process is None:
        yield untold(
            "whether the host's kernel has IOMMU_IOAS_CHANGE_PROCESS (Linux 6.13), without which QEMU refuses"
        )
    elif facts.after.by_iommufd and not facts.host.change_process:
        yield refuse("the host's kernel has no IOMMU_IOAS_CHANGE_PROCESS: QEMU refuses to update by iommufd")


@rule(
    "sandbox-denies-exec",
    source='QEMU 11.1.3: "execvp ... failed: Operation not permitted"; reproductions/vfio-failed-exec',
    remedy="-sandbox on,spawn=allow, or update by cpr-transfer",
)
def sandbox_denies_exec(facts: Facts) -> Says:
    """seccomp forbids execve; with a VFIO device QEMU 11.1.3 does not survive an exec that fails."""
    option = facts.old.last("sandbox")
    if not facts.execs or option is None or option["enable"] != "on" or option["spawn"] != "deny":
        return
    after = "with a VFIO device that ends old QEMU" if facts.old.vfio else "the guest goes on in old QEMU"
    yield refuse(f"-sandbox {option.value} forbids the exec: {after}")


@rule(
    "mode-missing",
    source="QEMU qapi/migration.json, MigMode: cpr-transfer 10.0 (with VFIO 10.1), cpr-exec 10.2",
    remedy="old and new QEMU of 10.2 or newer; or a mode that both have",
)
def mode_missing(facts: Facts) -> Says:
    """Both QEMUs must know the mode."""
    sides = (("old", facts.version, facts.state.modes), ("new", facts.new_version, facts.new_modes))
    for side, version, modes in sides:
        known, since = release(version), SINCE.get(facts.mode, (0, 0))
        if modes is not None and facts.mode not in modes:
            has = ", ".join(sorted(modes - {"normal"})) or "no CPR mode at all"
            yield refuse(
                f"{side} QEMU {version} does not know {facts.mode}, it has: {has}".replace("  ", " ")
            )
        elif modes is None and known and known < since:
            yield refuse(
                f"{side} QEMU {version} does not know {facts.mode}, which came with {since[0]}.{since[1]}"
            )
        elif known and known < (10, 1) and facts.after.vfio and not facts.execs:
            yield refuse(f"{side} QEMU {version} has cpr-transfer without VFIO, which came with 10.1")


@rule("blocked", source="QMP query-migrate, blocked-reasons", remedy="as QEMU says")
def blocked(facts: Facts) -> Says:
    """What QEMU itself says against it."""
    for reason in facts.state.blocked or ():
        yield refuse(f"QEMU refuses: {reason}")


@rule(
    "async-teardown",
    source="reproductions/async-teardown (11.1.3: the helper waits for a parent that only execs)",
    remedy="leave -run-with async-teardown=on out",
)
def async_teardown(facts: Facts) -> Says:
    """A process with the old address space stays behind at each update."""
    if facts.execs and any(one.on("async-teardown") for one in facts.old.all("run-with")):
        yield warn(
            "-run-with async-teardown=on: each update leaves a process with the old address space behind"
        )


@rule(
    "pins-not-charged",
    source="reproductions/vfio-vmpin (Linux 7.3.4)",
    remedy="do not account by VmPin after an update; without CAP_IPC_LOCK it is right",
)
def pins_not_charged(facts: Facts) -> Says:
    """The pages stay pinned, and nobody is charged for them."""
    if facts.after.by_iommufd and facts.host.ipc_lock:
        yield note(
            "by iommufd and with CAP_IPC_LOCK, VmPin is 0 after the update although the pages stay pinned"
        )


@rule(
    "more-arguments",
    source="QEMU qemu-options.hx, -readconfig",
    remedy="put all arguments into the command line",
)
def more_arguments(facts: Facts) -> Says:
    """Arguments that are in a file nobody read here."""
    for one in _elsewhere(facts):
        yield untold(f"what {one} adds to the command line")


def _elsewhere(facts: Facts) -> Iterator[str]:
    found = (str(one) for command in facts.both for one in command.all("readconfig"))
    return iter(dict.fromkeys(found))


RULES = (
    environment_dropped,
    memlock_low,
    kernel_type1,
    kernel_iommufd,
    sandbox_denies_exec,
    mode_missing,
    blocked,
    async_teardown,
    pins_not_charged,
    more_arguments,
)
