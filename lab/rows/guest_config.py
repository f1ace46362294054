"""The guest of a case as data."""

import secrets
from collections.abc import Iterable
from pathlib import Path

from lab.bench import Bench
from lab.qemu.argv import GuestConfig
from lab.qemu.memory import MEMFD, Memory
from lab.rows import Attached, Case


def guest_config(
    bench: Bench,
    case: Case,
    attached: Iterable[Attached],
    kernel: Path,
    initrd: Path,
    *,
    memory_mib: int | None = None,
    memory: Memory = MEMFD,
) -> GuestConfig:
    """A guest with the case's devices, of the size that the target file says.

    kernel, initrd: on the controller; they are brought to the bench host unless they are there
    memory_mib:     at least so much
    memory:         what it is made of
    """
    size = bench.target_file.options.guest
    return GuestConfig(
        kernel=bench.connection.put_blob(kernel),
        initrd=bench.connection.put_blob(initrd),
        # short: the path of a unix socket ends at 107 bytes
        run_dir=f"/run/cprlab/{secrets.token_hex(4)}",
        iommu="iommufd" if case.backend == "iommufd" else "type1",
        devices=tuple(made.device for made in attached),
        kernel_args=" ".join(word for word in (case.row.kernel_args, memory.kernel_args) if word),
        viommu=case.row.viommu,
        memory=memory,
        memory_mib=memory.fitting_mib(max(size.memory_mib, memory_mib or 0)),
        cpus=size.cpus,
    )
