"""What shows that each finding of preflight is true: the test or reproduction in which the loss is seen.

A test is named as pytest names it; in brackets a part of its parameters, so that other cases do not count.
That all of them exist is held by testcases/selftest/test_preflight_rules.py.
"""

from collections.abc import Iterator

DEFECTS = "testcases/test_known_defects.py"
REFUSALS = "testcases/test_cpr_transfer.py::test_update_is_refused"
HERE = "testcases/test_preflight.py::test_what_is_refused_is_lost"

PROOFS: dict[str, tuple[str, ...]] = {
    "ram-private": ("testcases/reproductions/private-ram.sh",),
    "aux-ram-private": ("testcases/reproductions/aux-ram.sh",),
    "ram-file-nameless": ("testcases/reproductions/nameless-file.sh",),
    "ram-file-leaks": (f"{DEFECTS}::test_no_descriptor_of_a_memory_file_is_left_behind",),
    "prealloc-kept": ("testcases/test_preflight.py::test_prealloc_is_done_again",),
    "incoming-missing": (f"{HERE}[incoming-missing]",),
    "machine-differs": (f"{HERE}[machine-differs]",),
    "memory-differs": (f"{HERE}[memory-differs]",),
    "processors-differ": (f"{HERE}[processors-differ]",),
    "devices-differ": (f"{HERE}[devices-differ]",),
    "backend-missing": (f"{HERE}[backend-missing]",),
    "plugged-missing": (f"{HERE}[plugged-missing]",),
    "tap-by-name": (
        "testcases/reproductions/tap-by-name.sh",
        f"{DEFECTS}::test_an_accepted_update_keeps_the_guest[tap-name]",
    ),
    "tap-frames": (f"{DEFECTS}::test_no_frame_that_waits_is_lost[exec-tap-vhost]",),
    "vhost-net-leak": ("testcases/reproductions/vhost-net-leak.sh",),
    "vhost-vsock": (
        "testcases/reproductions/vhost-vsock.sh",
        f"{DEFECTS}::test_an_accepted_update_keeps_the_guest[vsock]",
    ),
    "vdpa-busy": (f"{REFUSALS}[vdpa-net]",),
    "not-migratable": (
        "testcases/test_qemu_blocked.py::test_a_device_that_cannot_be_migrated_is_named",
        f"{REFUSALS}[vdpa-blk-pci]",
    ),
    "vfio-mdev-type1": (f"{REFUSALS}[mdev-type1]",),
    "vfio-tcg": ("testcases/reproductions/vfio-tcg.sh",),
    "vfio-no-flr": (
        "testcases/reproductions/no-flr-reset.sh",
        f"{DEFECTS}::test_an_accepted_update_keeps_the_guest[no-flr]",
    ),
    "pty-path": (f"{HERE}[pty-path]",),
    "pty-renumbered": ("testcases/test_chardevs.py::test_connections[asked-for-cpr-exec]",),
    "file-truncated": ("testcases/test_preflight.py::test_a_log_without_append_is_lost",),
    "socket-reconnects": ("testcases/test_cpr_exec_nic.py::test_dma_survives[type1]",),
    "add-fd": ("testcases/reproductions/add-fd.sh",),
    "gdb-early": ("testcases/reproductions/gdb-resuming.sh",),
    "environment-dropped": (f"{HERE}[environment-dropped]",),
    "memlock-low": (
        "testcases/test_cpr_exec_container.py::test_what_was_enough_to_start_is_enough_to_update",
    ),
    "kernel-type1": ("testcases/test_preflight.py::test_a_kernel_without_update_vaddr_is_refused",),
    "sandbox-denies-exec": (f"{HERE}[sandbox-denies-exec]",),
    "mode-missing": ("testcases/test_qemu_versions.py::test_a_mode_that_old_qemu_lacks_is_refused[type1]",),
    "blocked": (f"{REFUSALS}[mdev-type1]",),
    "async-teardown": ("testcases/reproductions/async-teardown.sh",),
    "pins-not-charged": ("testcases/reproductions/vfio-vmpin.sh",),
}

NOT_SHOWN: dict[str, str] = {
    "ram-epc": "QEMU's documentation says so; Debian's QEMU is built without SGX",
    "ram-encrypted": "read in QEMU's binary; the bench has no processor that encrypts guests",
    "kernel-iommufd": "QEMU refuses by itself and nothing is lost; no bench kernel without CHANGE_PROCESS: "
    "Debian's 6.12 would need modules and an initramfs of its own on the bench host",
    "tap-by-helper": "a warning; not tried on a bench yet",
}
"""Findings that no bench here has shown: with the reason why not."""

NO_LOSS: dict[str, str] = {
    "more-arguments": "says that a part of the command line was not looked at, and nothing is lost by that",
}
"""Rules that only say what they cannot tell."""


def nodes(finding: str) -> Iterator[tuple[str, str]]:
    """What proves a finding, as cases of pytest: node id without parameters, and a part of these."""
    for proof in PROOFS.get(finding, ()):
        path, _, test = proof.partition("::")
        if path.endswith(".sh"):
            name = path.rpartition("/")[2].removesuffix(".sh")
            yield "testcases/test_reproductions.py::test_the_defect_is_there", f"[{name}]"
        else:
            name, _, part = test.partition("[")
            yield f"{path}::{name}", part.removesuffix("]")
