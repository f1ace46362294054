"""Power of one machine by its BMC's Redfish service.

Source: sushy 5.14; DMTF DSP2046, ComputerSystem (PowerState, Reset); DSP0266 (Redfish).
"""

import hashlib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sushy
from requests.adapters import HTTPAdapter
from sushy import connector, exceptions
from sushy.auth import BasicAuth

from lab.drivers.credentials import Credentials
from lab.errors import BenchError, LabUsageError

_CONNECT_S, _ANSWER_S = 10, 60
_ORDERS = {
    "on": sushy.RESET_ON,
    "off": sushy.RESET_FORCE_OFF,
    "reset": sushy.RESET_FORCE_RESTART,
}


class Redfish:
    """The system behind a BMC.

    url:         https://ADDRESS[:PORT]
    system:      its id, as /redfish/v1/Systems lists it; None: the only one there
    certificate: the BMC's own certificate (PEM), which then is the only one it may show; None: it must be
                 one that this controller trusts

    Raises:
        LabUsageError: the certificate cannot be read, or there is no such system.
        BenchError: the BMC does not answer, shows another certificate, refuses the login or the order.
    """

    def __init__(
        self, url: str, known: Credentials, *, system: str | None = None, certificate: Path | None = None
    ) -> None:
        self._url, self._known, self._system, self._certificate = url, known, system, certificate

    def __str__(self) -> str:
        return f"BMC {self._url}"

    def is_on(self) -> bool:
        """Whether the machine has power; one that is being switched still has what it had."""
        with self._reached() as system:
            # PoweringOn and PoweringOff are on the way: DSP2046 has no other states
            return system.power_state in (sushy.POWER_STATE_ON, sushy.POWER_STATE_POWERING_OFF)

    def order(self, what: str) -> None:
        """on, off or reset; the BMC takes the order and does it afterwards."""
        with self._reached() as system:
            system.reset_system(_ORDERS[what])

    @contextmanager
    def _reached(self) -> Iterator[Any]:
        """A connection for one order: BMCs end idle ones, and have few sessions to give."""
        wire = connector.Connector(
            self._url, verify=True, default_request_timeout=_ANSWER_S, connect_timeout=_CONNECT_S
        )
        try:
            if self._certificate is not None:
                # the connector has no way to pin a certificate; sushy 5.14
                wire._session.mount("https://", _Pinned(fingerprint(self._certificate)))
                wire._verify = False  # instead of a trusted signer: its fingerprint
            known = BasicAuth(self._known.username, self._known.password)
            with self._known.kept_secret():
                root = sushy.Sushy(self._url, auth=known, connector=wire, server_side_retries=0)
                yield self._only_system(root)
        except exceptions.SushyError as error:
            raise BenchError(f"{self}: {self._known.hidden(_reason(error, self._known.username))}") from None
        finally:
            wire.close()

    def _only_system(self, root: Any) -> Any:
        ids = [
            path.rstrip("/").rpartition("/")[2] for path in root.get_system_collection().members_identities
        ]
        asked = self._system or (ids[0] if len(ids) == 1 else None)
        if asked not in ids:
            there = ", ".join(ids) or "none"
            raise LabUsageError(f"{self} has no system {self._system!r}; there: {there}; see `system`")
        return root.get_system(f"/redfish/v1/Systems/{asked}")


class _Pinned(HTTPAdapter):
    """Trusts one certificate, whatever name and signer it has."""

    def __init__(self, sha256: str) -> None:
        self._sha256 = sha256
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, assert_fingerprint=self._sha256, assert_hostname=False, **kwargs)


def fingerprint(certificate: Path) -> str:
    """sha256 of a certificate, in hex.

    Raises:
        LabUsageError: it cannot be read.
    """
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.expanduser().read_text())).hexdigest()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LabUsageError(f"the BMC's certificate {certificate} cannot be read: {reason}") from None


def _reason(error: Exception, username: str) -> str:
    """One line of what a person would do about it."""
    text = " ".join(str(error).split())
    if isinstance(error, exceptions.AccessError):
        return f"it refused the login of {username!r}; look at the user and the password file"
    if "Fingerprints did not match" in text:
        return "it shows another certificate than the pinned one; if it was renewed, fetch it anew"
    if "CERTIFICATE_VERIFY_FAILED" in text or "doesn't match" in text:
        return "its certificate is not trusted; pin it by `certificate`: openssl s_client -connect HOST:443"
    if isinstance(error, exceptions.ConnectionError):
        for sign, words in (
            ("refused", "connection refused"),
            ("timed out", "no reply"),
            ("NameRes", "no such name"),
        ):
            if sign in text:
                return f"it does not answer: {words}"
    return text
