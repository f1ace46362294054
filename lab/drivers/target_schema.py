"""What a target file may say: the sections cprlab reads, and cprlab's own labgrid classes."""

import re
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationInfo,
    model_validator,
)

from lab.drivers.virtual_argv import IOMMUS
from lab.drivers.virtual_devices import MODELS


def _form(pattern: str, expected: str) -> AfterValidator:
    """A check whose message is for people, not the pattern."""

    def checked(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{expected} was expected")
        return text

    return AfterValidator(checked)


Bdf = Annotated[
    StrictStr,
    _form(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", "a full BDF in lower case, such as 0000:3b:00.0,"),
]
HostKey = Annotated[
    StrictStr, _form(r"(ssh|ecdsa)-\S+ [A-Za-z0-9+/]+=*( .*)?", 'a public key, "ssh-ed25519 AAAA...",')
]
# a name becomes part of file names and QEMU ids
Name = Annotated[
    StrictStr, _form(r"[a-z][a-z0-9-]{0,15}", "a name of at most 16 lower-case letters and digits")
]
Seconds = Annotated[StrictFloat | StrictInt, Field(gt=0)]
Port = Annotated[StrictInt, Field(gt=0, lt=65536)]


class Section(BaseModel):
    """No unknown keys, no conversions, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Guest(Section):
    """The guest every case starts.

    tick_ms: period of its heart's ticks, between which it cannot tell a gap
    """

    memory_mib: Annotated[StrictInt, Field(ge=64)] = 256
    cpus: Annotated[StrictInt, Field(ge=1)] = 1
    tick_ms: Annotated[StrictFloat | StrictInt, Field(gt=0, le=100)] = 1.0


class Load(Section):
    """What the paths of this bench carry.

    capacity_hz: blocks per second that a guest here checks and sends, in each direction
    """

    capacity_hz: Annotated[StrictFloat | StrictInt, Field(gt=0)] = 2000.0


class Limits(Section):
    """Bounds that depend on the bench.

    guest_pause_s:    longest pause of the guest that passes
    reboot_pause_s:   the same by cpr-reboot: the guest sleeps, and its devices are closed and opened
    update_timeout_s: longest time until an update counts as hung
    calibration_days: how old a calibration may be for a run to stand on it
    bench_attempts:   how often a case is tried whose bench fails before an update begins; a result never is
    """

    guest_pause_s: Seconds = 1.0
    reboot_pause_s: Seconds = 30.0
    update_timeout_s: Seconds = 60.0
    calibration_days: Annotated[StrictInt, Field(ge=1)] = 30
    bench_attempts: Annotated[StrictInt, Field(ge=1, le=5)] = 1


class Options(Section):
    """The section `options`; coordinator_address is labgrid's."""

    guest: Guest = Guest()
    load: Load = Load()
    limits: Limits = Limits()
    coordinator_address: StrictStr | None = None


class Tools(Section):
    """The section `tools`: QEMU binaries on the bench host."""

    qemu_old: StrictStr = Field(default="/usr/bin/qemu-system-x86_64", alias="qemu-old")
    qemu_new: StrictStr = Field(default="/usr/bin/qemu-system-x86_64", alias="qemu-new")


class Target(Section):
    """One labgrid target."""

    resources: list[dict[str, Any]] | dict[str, Any] = []
    drivers: list[dict[str, Any]] | dict[str, Any] = []
    features: list[StrictStr] = []
    options: dict[str, Any] = {}


class Document(Section):
    """The whole file."""

    imports: list[StrictStr] = []
    features: list[StrictStr] = []
    targets: dict[str, Target]
    tools: Tools = Field(default_factory=lambda: Tools.model_validate({}))
    options: Options = Options()
    images: dict[str, StrictStr] = {}
    paths: dict[str, StrictStr] = {}


def _of_a_disk(iops: int, entry: ValidationInfo) -> int:
    """Only a device with a disk has requests to hold back."""
    if entry.data.get("model") in MODELS and not MODELS[entry.data["model"]].disk_bytes:
        disks = ", ".join(name for name, model in MODELS.items() if model.disk_bytes)
        raise ValueError(f"a device with a disk ({disks}) was expected for it")
    return iops


class VirtualDevice(Section):
    """An entry of VirtualBench.devices."""

    name: Name
    model: Annotated[StrictStr, _form("|".join(MODELS), f"one of {', '.join(MODELS)}")]
    wire: StrictBool = False
    shares_group: StrictBool = False
    iops: Annotated[StrictInt, Field(ge=1), AfterValidator(_of_a_disk)] | None = None


class VirtualBench(Section):
    """Arguments of the resource of that name, as for the classes below."""

    cpus: Annotated[StrictInt, Field(ge=1, le=64)] = 2
    memory_mib: Annotated[StrictInt, Field(ge=512)] = 3072
    devices: list[VirtualDevice] = []
    iommu: Annotated[StrictStr, _form("|".join(IOMMUS), f"one of {', '.join(IOMMUS)}")] = "intel"
    boot_timeout_s: Seconds = 60.0


Ids = Annotated[StrictStr, _form(r"[0-9a-f]{4}:[0-9a-f]{4}", '"vendor:device" as lspci -n prints it,')]


class AssignableFunction(Section):
    name: Name
    bdf: Bdf
    wire: StrictStr | None = None
    ids: Ids | None = None
    disk_model: StrictStr | None = None
    disk_serial: StrictStr | None = None
    disk_bytes: Annotated[StrictInt, Field(gt=0)] | None = None
    without_reset: StrictBool = False
    about: StrictStr = ""
    driver: StrictStr = ""
    group: StrictStr = ""
    numa_node: StrictInt = -1
    sriov_vfs: StrictInt = 0
    resets: StrictStr = ""


class PinnedKey(Section):
    name: StrictStr | None = None
    host_key: HostKey
    key_file: StrictStr


class FarPort(Section):
    name: Name
    address: StrictStr
    interface: StrictStr
    host_key: HostKey
    key_file: StrictStr
    username: StrictStr = "root"
    port: Port = 22


class NetworkService(Section):
    """labgrid's, without its password."""

    name: StrictStr | None = None
    address: StrictStr
    username: StrictStr
    port: Port = 22


class BenchHost(Section):
    name: StrictStr | None = None
    bindings: dict[str, StrictStr] = {}
    connect_timeout_s: Seconds = 30.0


class Bmc(Section):
    """What every BMC's entry says; the password itself stands elsewhere."""

    name: StrictStr | None = None
    username: StrictStr
    password_env: StrictStr | None = None
    password_file: StrictStr | None = None

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if bool(self.password_env) == bool(self.password_file):
            raise ValueError("either password_env or password_file was expected")
        return self


class RedfishBmc(Bmc):
    url: Annotated[StrictStr, _form(r"https://[^/@\s]+", "https://ADDRESS or https://ADDRESS:PORT")]
    system: StrictStr | None = None
    certificate: StrictStr | None = None


class IpmiBmc(Bmc):
    host: StrictStr
    port: Port = 623


class BmcPowerDriver(Section):
    name: StrictStr | None = None
    bindings: dict[str, StrictStr] = {}
    switch_timeout_s: Seconds = 60.0


class BenchStrategy(Section):
    name: StrictStr | None = None
    bindings: dict[str, StrictStr] = {}
    boot_timeout_s: Seconds = 600.0


class NoArguments(Section):
    name: StrictStr | None = None
    bindings: dict[str, StrictStr] = {}


CLASSES: dict[str, type[Section]] = {
    "VirtualBench": VirtualBench,
    "AssignableFunction": AssignableFunction,
    "PinnedKey": PinnedKey,
    "FarPort": FarPort,
    "NetworkService": NetworkService,
    "RedfishBmc": RedfishBmc,
    "IpmiBmc": IpmiBmc,
    "BmcPowerDriver": BmcPowerDriver,
    "SerialConsole": NoArguments,
    "BenchHost": BenchHost,
    "VirtualBenchDriver": NoArguments,
    "BenchStrategy": BenchStrategy,
}
"""labgrid classes whose arguments are checked here; of others only the names are."""
