"""A host is believed only by a key that somebody compared; what is asked wrongly is one line with what to do.

Claim: issue 7, `cprlab discover HOST` over ssh with a pinned key.
"""

import base64
import hashlib
import hmac
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.drivers import known_hosts
from lab.errors import BenchError, LabUsageError
from lab.host_reach import attached, endpoint
from testcases.selftest.test_bench_ssh import FakeHost

ED = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJSExuxtVKA4TlAEyqoOFNWLAVp2rEfYSv4jZL3ZJDKO"
FINGERPRINT = "SHA256:m235rsLJb16jPIuihqBL3PiGjtpTIDGvCbOZIsVABAE"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[FakeHost]:
    made = FakeHost(tmp_path)
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's known_hosts."""
    path = tmp_path / "known_hosts"
    monkeypatch.setattr(known_hosts, "KNOWN_HOSTS", (path,))
    return path


def hashed(name: str) -> str:
    """As OpenSSH writes a name with HashKnownHosts."""
    salt = b"0123456789abcdef0123"
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return "|1|" + "|".join(base64.b64encode(part).decode() for part in (salt, digest))


@pytest.mark.parametrize("line", ["bench-a,192.0.2.1 {key}", "{hash} {key} a comment"])
def test_a_key_that_ssh_has_accepted_is_pinned(file: Path, line: str) -> None:
    file.write_text("bench-b " + ED[:-4] + "AAAA\n" + line.format(key=ED, hash=hashed("bench-a")) + "\n")
    assert known_hosts.accepted("bench-a", 22) == ED
    assert known_hosts.accepted("bench-a", 2222) is None
    assert known_hosts.accepted("bench-c", 22) is None


def test_a_port_of_its_own_has_a_key_of_its_own(file: Path, tmp_path: Path) -> None:
    file.write_text(f"[bench-a]:2222 {ED}\n")
    (tmp_path / "id").touch()
    where = endpoint("lab@bench-a", 2222, "", tmp_path / "id")
    assert (where.username, where.host, where.port, where.host_key) == ("lab", "bench-a", 2222, ED)
    assert endpoint("bench-a", 2222, "", tmp_path / "id").username == "root"


def test_an_unknown_host_shows_its_key_and_is_not_believed(file: Path, host: FakeHost) -> None:
    at = host.endpoint
    with pytest.raises(LabUsageError) as refused:
        endpoint(f"root@{at.host}", at.port, "", at.key_file)
    line = str(refused.value)
    assert f"It shows '{host.host_key.public}'" in line and "give it by --host-key" in line
    assert known_hosts.fingerprint(host.host_key.public) in line and "\n" not in line
    assert endpoint(f"root@{at.host}", at.port, host.host_key.public, at.key_file) == at


def test_a_fingerprint_is_the_one_of_ssh_keygen() -> None:
    assert known_hosts.fingerprint(ED) == FINGERPRINT


def test_a_host_that_is_silent_is_one_line(file: Path, tmp_path: Path) -> None:
    (tmp_path / "id").touch()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(BenchError, match=rf"no ssh answers at 127\.0\.0\.1, port {port}: .*refused"):
        endpoint("root@127.0.0.1", port, "", tmp_path / "id")


WRONG = {
    "no address": ("root@", ED, "id", "a host was expected, as root@bench-a.example.org, not 'root@'"),
    "no user": ("@bench-a", ED, "id", "a host was expected"),
    "no key file": ("root@bench-a", ED, "none", "there is no ssh key file .*: make one"),
    "half a key": ("root@bench-a", "ssh-ed25519", "id", "a public key was expected by --host-key"),
    "a key that is none": (
        "root@bench-a",
        "ssh-ed25519 AAAA",
        "id",
        "a public key was expected by --host-key",
    ),
}


@pytest.mark.parametrize(("name", "key", "key_file", "line"), WRONG.values(), ids=WRONG)
def test_what_is_asked_wrongly(tmp_path: Path, name: str, key: str, key_file: str, line: str) -> None:
    (tmp_path / "id").touch()
    with pytest.raises(LabUsageError, match=line):
        endpoint(name, 22, key, tmp_path / key_file)


def test_a_virtual_bench_that_is_not_up_has_nothing_to_put_back(tmp_path: Path) -> None:
    path = tmp_path / "not-up.yaml"
    path.write_text((Path(__file__).resolve().parents[2] / "targets/virtual.yaml").read_text())
    with (
        pytest.raises(LabUsageError, match="virtual bench not-up is not up: nothing is to be put back"),
        attached(path),
    ):
        pass
