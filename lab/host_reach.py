"""A host to look at or to put back, without switching its power: by its address, or by its target file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import bench_state
from lab.bench import prepared
from lab.drivers import known_hosts
from lab.drivers.endpoint import Endpoint
from lab.drivers.ssh import HostConnection
from lab.errors import LabUsageError


def endpoint(host: str, port: int, host_key: str, key_file: Path) -> Endpoint:
    """Where `user@address` is, and how to know it.

    host_key: "ssh-ed25519 AAAA..."; "" for what stands in OpenSSH's known_hosts

    Raises:
        LabUsageError: no key is known of it; the text has the one it shows, for somebody to compare.
        BenchError: no ssh answers there.
    """
    username, mark, address = host.rpartition("@")
    address = address.strip("[]")
    if not address or (mark and not username):
        raise LabUsageError(f"a host was expected, as root@bench-a.example.org, not {host!r}")
    if not key_file.expanduser().is_file():
        raise LabUsageError(
            f"there is no ssh key file {key_file}: make one (ssh-keygen), or name it by --key-file"
        )
    known = host_key or known_hosts.accepted(address, port)
    if not known:
        came = known_hosts.shown(address, port)
        raise LabUsageError(
            f"no key is known of {address}, and what nobody compared is not believed. It shows '{came}', "
            f"fingerprint {known_hosts.fingerprint(came)}: compare it on its console (ssh-keygen -lf "
            "/etc/ssh/ssh_host_ed25519_key.pub), then give it by --host-key"
        )
    if not known_hosts.is_key(known):
        raise LabUsageError(f"a public key was expected by --host-key, 'ssh-ed25519 AAAA...', not {known!r}")
    return Endpoint(address, port, username or "root", key_file.expanduser(), known)


@contextmanager
def attached(target: Path) -> Iterator[HostConnection]:
    """The host of a target file as it is now: nothing is powered on for it.

    Raises:
        LabUsageError: the target file is wrong, or a virtual bench that is not up.
        BenchError: the host does not answer.
    """
    if (up := bench_state.find(target.stem)) is not None:
        with HostConnection(up.endpoint) as host:
            yield host
        return
    bench = prepared(target)
    if bench.virtual is not None:
        raise LabUsageError(
            f"virtual bench {bench.name} is not up: nothing is to be put back, as each power-on begins anew"
        )
    try:
        bench.target.activate(bench.host)
        yield bench.connection
    finally:
        bench.environment.cleanup()
