"""Power and serial line of one machine by its BMC's IPMI, through ipmitool.

ipmitool and not pyghmi: a program that knows the BMCs of twenty years, and whose sessions end with its
process. The password goes through its environment, where only we and root see it.
Source: ipmitool(1) 1.8.19; IPMI 2.0.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass

from lab.drivers.credentials import Credentials
from lab.errors import BenchError, LabUsageError

_ANSWER_S = 60.0
_LOGIN = "it refused the login of {user!r}; look at the user and the password file"
# what `ipmitool -v` says, and what a person would do about it
_SIGNS = {
    "HMAC is invalid": _LOGIN,
    "unauthorized name": _LOGIN,
    "Get Auth Capabilities error": "it does not answer; look at its address, and whether IPMI over LAN is on",
    "no response from RAKP": "it answers, and is silent when {user!r} logs in; look at the user",
}


@dataclass(frozen=True)
class Ipmitool:
    """The machine behind a BMC; its interface is IPMI 2.0 over LAN (lanplus).

    tries: of each question, with two seconds for an answer

    Raises:
        LabUsageError: there is no ipmitool here.
        BenchError: the BMC does not answer, or refuses the login or the order.
    """

    host: str
    port: int
    known: Credentials
    tries: int = 3

    def __str__(self) -> str:
        return f"BMC {self.host}:{self.port}"

    def is_on(self) -> bool:
        """Whether the machine has power."""
        said = self._run("chassis", "power", "status")
        if found := re.search(r"Chassis Power is (on|off)", said):
            return found[1] == "on"
        raise BenchError(f"{self}: ipmitool was asked for the power's state and said {said.strip()!r}")

    def order(self, what: str) -> None:
        """on, off or reset; the BMC takes the order and does it afterwards."""
        self._run("chassis", "power", what)

    def argv(self, *words: str) -> list[str]:
        """ipmitool's command line; run it with `env`."""
        if not (program := shutil.which("ipmitool")):
            raise LabUsageError("ipmitool not found on this controller; apt-get install ipmitool")
        at = ["-I", "lanplus", "-H", self.host, "-p", str(self.port), "-U", self.known.username]
        return [program, *at, "-E", "-N", "2", "-R", str(self.tries), *words]

    def env(self) -> dict[str, str]:
        """Its environment, with the password."""
        return {**os.environ, "IPMI_PASSWORD": self.known.password, "LC_ALL": "C.UTF-8"}

    def _run(self, *words: str) -> str:
        argv = self.argv("-v", *words)  # without -v it does not say why
        try:
            done = subprocess.run(
                argv, env=self.env(), capture_output=True, text=True, check=False, timeout=_ANSWER_S
            )
        except subprocess.TimeoutExpired:
            raise BenchError(f"{self}: {' '.join(words)!r} did not end within {_ANSWER_S:g} s") from None
        if done.returncode != 0:
            raise BenchError(f"{self}: {' '.join(words)!r} failed: {self._reason(done.stderr)}")
        return done.stdout

    def _reason(self, stderr: str) -> str:
        lines = [self.known.hidden(line.strip()) for line in stderr.splitlines() if line.strip()]
        for sign, words in _SIGNS.items():
            if any(sign in line for line in lines):
                return words.format(user=self.known.username)
        return lines[-1] if lines else "ipmitool said nothing"
