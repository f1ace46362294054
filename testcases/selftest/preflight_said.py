"""What the rules of memory and of differences say, of which facts."""

from dataclasses import replace

from lab.preflight.facts import Plugged, State

from .preflight_words import (
    DIMM,
    FILE,
    INCOMING,
    MACHINE,
    NIC,
    NOTHING_PLUGGED,
    RAM,
    RNG,
    TRANSFER_IN,
    Line,
    alone,
    became,
    facts,
    plugged,
    private,
    words,
)

SAID = [
    Line(
        "ram-private",
        "refuse",
        "guest RAM (memory-backend=none) is not shared: it is zero",
        facts(machine="q35,aux-ram-share=on"),
    ),
    Line(
        "ram-private",
        "refuse",
        "memory-backend=ram0) is not shared",
        facts(ram=private("memory-backend-ram")),
    ),
    Line(
        "ram-private", "refuse", "is not shared", facts(ram=private("memory-backend-file,mem-path=/m/ram0"))
    ),
    Line("ram-private", "refuse", "is not shared", facts(ram=private("memory-backend-memfd,share=off"))),
    Line(
        "ram-private",
        "refuse",
        "is not shared",
        facts(ram='{"qom-type":"memory-backend-ram","id":"ram0","size":268435456}'),
    ),
    Line(
        "ram-private",
        "refuse",
        "(memory-backend=ram1) is not shared, there is no such",
        facts(machine=MACHINE.replace("ram0", "ram1")),
    ),
    Line(
        "ram-private",
        "refuse",
        "backend more is not shared",
        facts("-object", "memory-backend-ram,id=more,size=1G"),
    ),
    Line(
        "ram-private",
        "refuse",
        "makes QEMU refuse cpr-transfer",
        facts(ram=private("memory-backend-ram"), mode="cpr-transfer"),
    ),
    Line("ram-private", "refuse", "is zero", became(ram=private("memory-backend-ram"))),
    Line("aux-ram-private", "refuse", "lacks aux-ram-share=on", facts(machine="q35,memory-backend=ram0")),
    Line(
        "aux-ram-private",
        "refuse",
        "lacks aux-ram-share=on",
        facts(machine="q35,aux-ram-share=off,memory-backend=ram0"),
    ),
    Line(
        "ram-epc",
        "refuse",
        "epc0 is memory-backend-epc",
        facts("-object", "memory-backend-epc,id=epc0,size=64M,prealloc=on"),
    ),
    Line(
        "ram-encrypted", "refuse", "support=sev0", facts(machine=f"{MACHINE},confidential-guest-support=sev0")
    ),
    Line("ram-file-nameless", "refuse", "in folder /m:", facts(ram=f"{FILE}/m")),
    Line("ram-file-nameless", "refuse", "in folder /dev/hugepages:", alone(ram=f"{FILE}/dev/hugepages")),
    Line("ram-file-nameless", "refuse", "in folder /x/:", alone(ram=f"{FILE}/x/")),
    Line("ram-file-nameless", "untold", "whether /m/ram0", alone(ram=f"{FILE}/m/ram0")),
    Line("ram-file-leaks", "note", "ram0", facts(ram=f"{FILE}/m/ram0")),
    Line("prealloc-kept", "warn", "kept for ram0", facts(ram=f"{RAM},prealloc=on")),
    Line("prealloc-kept", "warn", "-mem-prealloc", facts("-mem-prealloc")),
    Line("incoming-missing", "refuse", "boots a guest anew", facts(new=words())),
    Line(
        "incoming-missing",
        "refuse",
        "channel type cpr",
        facts(mode="cpr-transfer", new=[*words(), *INCOMING]),
    ),
    Line(
        "incoming-missing",
        "refuse",
        "main channel",
        facts(mode="cpr-transfer", new=[*words(), *TRANSFER_IN[2:]]),
    ),
    Line(
        "machine-differs",
        "refuse",
        "type: q35 in old QEMU, pc in new",
        became(machine=MACHINE.replace("q35", "pc")),
    ),
    Line("machine-differs", "refuse", "accelerator: kvm", became(accel="tcg")),
    Line("memory-differs", "refuse", "-m size", became(size="512M")),
    Line("memory-differs", "refuse", "ram0, size: 256M", became(ram=RAM.replace("256M", "512M"))),
    Line("memory-differs", "warn", "ram0, qom-type", became(ram=RAM.replace("memfd", "ram"))),
    Line("processors-differ", "refuse", "-smp cpus: not given in old QEMU, 2 in new", became("-smp", "2")),
    Line("processors-differ", "warn", "-cpu model: host", became("-cpu", "max", old=("-cpu", "host"))),
    Line(
        "devices-differ",
        "refuse",
        "rng0 is in old QEMU's command line and not in",
        replace(
            became(old=RNG), state=replace(NOTHING_PLUGGED, devices=(Plugged("virtio-rng-pci", "rng0"),))
        ),
    ),
    Line("devices-differ", "warn", "rng0 is in new QEMU's command line and not in", plugged(new=RNG)),
    Line("devices-differ", "warn", "rng0 is in new", replace(became(*RNG), state=State())),
    Line(
        "devices-differ",
        "refuse",
        "rng0, addr: 0x4 in old QEMU, 0x5",
        became(*RNG[:1], RNG[1].replace("0x4", "0x5"), old=RNG),
    ),
    Line(
        "devices-differ",
        "warn",
        "rng0, romfile",
        became(*RNG[:1], f"{RNG[1]},romfile=", old=(*RNG[:1], f"{RNG[1]},romfile=x")),
    ),
    Line(
        "devices-differ",
        "refuse",
        "another order",
        became("-device", "b,id=b", "-device", "a,id=a", old=("-device", "a,id=a", "-device", "b,id=b")),
    ),
    Line(
        "backend-missing",
        "refuse",
        "nic0 names netdev=net0",
        became(*NIC, old=("-netdev", "user,id=net0", *NIC)),
    ),
    Line("plugged-missing", "refuse", "dimm0 (pc-dimm) was plugged", plugged(DIMM)),
    Line(
        "plugged-missing",
        "refuse",
        "1 device(s) virtio-rng-pci without id",
        plugged(Plugged("virtio-rng-pci", "")),
    ),
    Line(
        "plugged-missing",
        "refuse",
        "backend more0 is in use",
        replace(
            plugged(), state=replace(plugged().state, objects=(Plugged("memory-backend-memfd", "more0"),))
        ),
    ),
]
