"""Facts of which a rule of preflight says nothing, though it looks at them."""

from dataclasses import replace

from lab.preflight.facts import Facts, Host, Plugged, State

from .preflight_words import (
    BDF,
    FILE,
    INCOMING,
    IOMMUFD,
    MACHINE,
    NIC,
    NOTHING_PLUGGED,
    RAM,
    RNG,
    SANDBOX,
    SOUND_HOST,
    TYPE1,
    WEAK,
    alone,
    became,
    facts,
    plugged,
    private,
    words,
)

QUIET: dict[str, list[Facts]] = {
    "ram-private": [
        facts(ram=private("memory-backend-memfd")),  # shared by default
        facts(ram=private("memory-backend-shm")),
        facts(ram='{"qom-type":"memory-backend-ram","id":"ram0","size":268435456,"share":true}'),
        facts("-object", "memory-backend-file,id=m,size=1G,mem-path=/m/x,share=yes"),
        facts("-object", "memory-backend-epc,id=epc0,size=64M"),
        facts("-numa", "node,memdev=ram0", machine="q35,aux-ram-share=on"),
    ],
    "aux-ram-private": [facts(), facts("-machine", "kernel-irqchip=split")],
    "ram-file-nameless": [facts(ram=f"{FILE}/m/ram0")],
    "ram-file-leaks": [facts(ram=f"{FILE}/m/ram0", mode="cpr-transfer")],
    "prealloc-kept": [became(), facts(new=[*words(), *INCOMING], ram=f"{RAM},prealloc=on")],
    "incoming-missing": [alone(), facts(mode="cpr-transfer")],
    "machine-differs": [alone(), became(machine=f"{MACHINE},graphics=off"), facts("-enable-kvm")],
    "memory-differs": [became(size="size=0.25G"), became(ram=RAM.replace("256M", "268435456"))],
    "processors-differ": [became("-smp", "2", "-cpu", "host", old=("-smp", "cpus=2", "-cpu", "host"))],
    "devices-differ": [
        became(*RNG, *NIC, old=(*NIC, *RNG)),  # addresses are given
        became(*RNG[:1], '{"driver":"virtio-rng-pci","id":"rng0","addr":"0x4"}', old=RNG),
        plugged(Plugged("virtio-rng-pci", "rng0"), new=RNG),
        # unplugged since
        replace(became(old=RNG), state=replace(NOTHING_PLUGGED, devices=())),
    ],
    "backend-missing": [
        facts("-netdev", "user,id=net0", *NIC),
        facts("-blockdev", "file,node-name=d", "-device", "virtio-blk-pci,drive=d"),
    ],
    "plugged-missing": [
        plugged(Plugged("virtio-rng-pci", "rng0"), new=RNG),
        plugged(Plugged("virtio-rng-pci", ""), new=("-device", "virtio-rng-pci")),
        alone(),
    ],
    "tap-by-name": [facts("-netdev", "tap,id=n,fd=7"), facts("-netdev", "user,id=n")],
    "tap-frames": [facts("-netdev", "tap,id=n,ifname=tap0")],
    "tap-by-helper": [facts("-netdev", "tap,id=n,fd=7")],
    "vhost-net-leak": [facts("-netdev", "tap,id=n,fd=7,vhost=off")],
    "vhost-vsock": [facts("-device", "vhost-user-vsock-pci,chardev=c")],
    "vdpa-busy": [facts("-netdev", "vhost-vdpa,id=n,vhostdev=/dev/vhost-vdpa-0")],
    "not-migratable": [facts("-cpu", "host,-invtsc"), facts("-device", "intel-iommu")],
    "vfio-mdev-type1": [facts("-device", "vfio-pci,sysfsdev=/sys/bus/mdev/devices/83,iommufd=iommufd0")],
    "vfio-tcg": [facts(*TYPE1), facts(accel="tcg"), facts(*TYPE1, accel="tcg", mode="cpr-transfer")],
    "vfio-no-flr": [
        facts(*TYPE1),
        facts("-device", "vfio-pci,host=01:00.0"),
        facts(*TYPE1, host=replace(SOUND_HOST, resets={BDF: ("bus",)})),
        facts(*TYPE1, mode="cpr-transfer", host=Host()),
    ],
    "pty-path": [facts("-chardev", "pty,id=p")],
    "pty-renumbered": [facts("-chardev", "pty,id=p,path=/tmp/pty")],
    "file-truncated": [
        facts("-chardev", "file,id=c,path=/c.log,append=on"),
        facts("-chardev", "file,id=c,path=/dev/null"),
        facts("-chardev", "socket,id=c,fd=5,logfile=/c.log,logappend=on"),
    ],
    "socket-reconnects": [
        facts("-chardev", "socket,id=c,fd=5"),
        facts("-chardev", "socket,id=c,path=/c,server=on", "-mon", "c,mode=control"),
    ],
    "gdb-early": [facts("-S")],
    "add-fd": [facts("-add-fd", "fd=4,set=1", mode="cpr-transfer")],
    "environment-dropped": [
        became(through=("env", "A=b", "nice", "-n", "5", "taskset", "-c", "0-1")),
        alone(),
    ],
    "memlock-low": [
        facts(*TYPE1, host=WEAK),
        facts(host=WEAK),
        facts(*IOMMUFD, host=replace(WEAK, memlock_bytes=512 << 20)),
        facts(*IOMMUFD, host=replace(WEAK, ipc_lock=True)),
    ],
    "kernel-type1": [facts(*IOMMUFD, host=replace(SOUND_HOST, update_vaddr=False)), facts(host=Host())],
    "kernel-iommufd": [facts(*TYPE1, host=replace(SOUND_HOST, change_process=False)), facts(host=Host())],
    "sandbox-denies-exec": [
        facts("-sandbox", "on,spawn=allow"),
        facts("-sandbox", "off"),
        facts(*SANDBOX, mode="cpr-transfer"),
    ],
    "mode-missing": [facts(*TYPE1), replace(facts(mode="cpr-transfer"), version="10.0.13", state=State())],
    "blocked": [facts(), alone()],
    "async-teardown": [facts("-run-with", "async-teardown=off")],
    "pins-not-charged": [facts(*TYPE1), facts(*IOMMUFD, host=WEAK)],
}
