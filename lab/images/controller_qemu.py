"""Runs programs of the bench host's root on the controller, whatever its own distribution is.

Through the root's own loader: no chroot, no container, no privilege.
"""

from pathlib import Path

LIBRARIES = "usr/lib/x86_64-linux-gnu"


def loader_argv(root: Path, program: str) -> list[str]:
    """argv that starts a program of `root` (a path below it) with the libraries of `root`."""
    libraries = f"{root / LIBRARIES}:{root / 'lib/x86_64-linux-gnu'}"
    return [str(root / "lib64/ld-linux-x86-64.so.2"), "--library-path", libraries, str(root / program)]


def qemu_argv(root: Path) -> list[str]:
    """The head of a QEMU command line; run it with `qemu_env`."""
    argv = loader_argv(root, "usr/bin/qemu-system-x86_64")
    for firmware in ("usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"):
        argv += ["-L", str(root / firmware)]
    return argv


def qemu_env(root: Path) -> dict[str, str]:
    """What to add to the environment: QEMU's modules, virtio-gpu-pci among them."""
    return {"QEMU_MODULE_DIR": str(root / LIBRARIES / "qemu")}


def qemu_img_argv(root: Path) -> list[str]:
    """The head of a qemu-img command line."""
    return loader_argv(root, "usr/bin/qemu-img")


def python_argv(root: Path) -> list[str]:
    """The guest's own Python: only it writes bytecode the guest can read; run it with `python_env`."""
    return [*loader_argv(root, "usr/bin/python3.13"), "-S", "-s"]


def python_env(root: Path) -> dict[str, str]:
    """What to add to the environment; the cached tree is never written to."""
    return {"PYTHONHOME": str(root / "usr"), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ""}
