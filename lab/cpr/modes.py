"""All modes by name, made for one guest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from lab.cpr import Mode, hmp
from lab.cpr.cpr_exec import CprExec
from lab.cpr.cpr_reboot import CprReboot
from lab.cpr.cpr_transfer import CprTransfer, incoming
from lab.cpr.restart import Restart
from lab.guest import Guest


@dataclass(frozen=True)
class Wanted:
    """One update that is asked for.

    qemu:    path of new QEMU on the bench host
    wrapper: the command it is started through
    rewrite: what is done to the command line of a cpr-exec, to spoil it
    between: by cpr-reboot, what is done when old QEMU has ended and new QEMU is not there yet
    state_file: by cpr-reboot, where the guest is saved to; "" for its own place in a tmpfs
    """

    guest: Guest
    qemu: str
    wrapper: Sequence[str] = ()
    timeout_s: float = 60.0
    rewrite: Callable[[list[str]], list[str]] = list
    between: Callable[[], None] = lambda: None
    state_file: str = ""


BY_HMP = "cpr-exec by HMP"
"""The same mode, asked for by the human monitor."""
AWAKE = "cpr-reboot of an awake guest"
"""The same mode, without the suspend to RAM that VFIO asks for."""


def new_command(wanted: Wanted, mode: str) -> list[str]:
    """The command line of new QEMU; descriptors that only its start will give stay as `{fd:NAME}`."""
    guest = wanted.guest
    if mode == CprTransfer.mode:
        config = guest.qemus.next_config()
        return [*wanted.wrapper, *config.argv(wanted.qemu, new=True), *incoming(config.run_dir)]
    return [*wanted.wrapper, *wanted.rewrite(guest.command(wanted.qemu))]


def _exec(wanted: Wanted) -> CprExec:
    guest = wanted.guest
    command = new_command(wanted, CprExec.mode)
    return CprExec(guest.monitor, command, guest.config.state_file, wanted.timeout_s)


def _exec_by_hmp(wanted: Wanted) -> Mode:
    return replace(_exec(wanted), begin=hmp.cpr_exec)


def _transfer(wanted: Wanted) -> Mode:
    return CprTransfer(wanted.guest, wanted.qemu, wanted.wrapper, wanted.timeout_s)


def _reboot(wanted: Wanted) -> CprReboot:
    config = wanted.guest.config
    by_vfio = any(device.by_vfio for device in config.devices)
    # RAM in a memfd goes with the process: it is saved to the file
    kept = config.memory.kind == "file" and config.memory.named and config.memory.share
    return CprReboot(
        wanted.guest,
        wanted.qemu,
        by_vfio,
        kept,
        wanted.wrapper,
        wanted.timeout_s,
        wanted.between,
        wanted.state_file,
    )


def _reboot_awake(wanted: Wanted) -> Mode:
    return replace(_reboot(wanted), suspend=False)


def _restart(wanted: Wanted) -> Mode:
    return Restart(wanted.guest, wanted.qemu, wanted.wrapper, wanted.timeout_s)


MODES: Mapping[str, Callable[[Wanted], Mode]] = {
    "cpr-exec": _exec,
    BY_HMP: _exec_by_hmp,
    "cpr-transfer": _transfer,
    "cpr-reboot": _reboot,
    AWAKE: _reboot_awake,
    "restart": _restart,
}
