"""What the rules of devices, chardevs and the host say, of which facts."""

from dataclasses import replace

from lab.preflight.facts import State

from .preflight_words import (
    BDF,
    IOMMUFD,
    NOTHING_PLUGGED,
    SANDBOX,
    SOUND_HOST,
    TYPE1,
    WEAK,
    Line,
    alone,
    became,
    facts,
)

MORE = [
    Line(
        "tap-by-name",
        "refuse",
        "tap tap0 is opened by its name: new QEMU finds it busy and ends, the guest is lost",
        facts("-netdev", "tap,id=n,ifname=tap0"),
    ),
    Line("tap-by-name", "refuse", "named by the kernel", facts("-nic", "tap")),
    Line(
        "tap-by-name",
        "refuse",
        "the old one goes on",
        facts("-netdev", "tap,id=n,ifname=tap0", mode="cpr-transfer"),
    ),
    Line("tap-by-name", "warn", "4 queues", facts("-netdev", "tap,id=n,ifname=tap0,queues=4")),
    Line("tap-frames", "warn", "loses frames", facts("-netdev", "tap,id=n,fd=7")),
    Line("tap-by-helper", "warn", "another tap", facts("-netdev", "bridge,id=n,br=br0")),
    Line("vhost-net-leak", "note", "for n", facts("-netdev", "tap,id=n,fd=7,vhost=on")),
    Line(
        "vhost-vsock",
        "refuse",
        "CID 5: new QEMU finds it in use and ends; the guest is lost",
        facts("-device", "vhost-vsock-pci,guest-cid=5"),
    ),
    Line(
        "vdpa-busy",
        "refuse",
        "/dev/vhost-vdpa-0",
        facts("-netdev", "vhost-vdpa,id=n,vhostdev=/dev/vhost-vdpa-0", mode="cpr-transfer"),
    ),
    Line("not-migratable", "refuse", "cannot migrate amd-iommu", facts("-device", "amd-iommu")),
    Line("not-migratable", "refuse", "invtsc", facts("-cpu", "host,+invtsc")),
    Line(
        "vfio-mdev-type1",
        "refuse",
        "mediated",
        facts("-device", "vfio-pci,sysfsdev=/sys/bus/mdev/devices/83b8f4f2"),
    ),
    Line("vfio-tcg", "refuse", "SIGSEGV", facts(*TYPE1, accel="tcg")),
    Line(
        "vfio-no-flr",
        "refuse",
        "(resets: pm bus)",
        facts(*TYPE1, host=replace(SOUND_HOST, resets={BDF: ("pm", "bus")})),
    ),
    Line(
        "vfio-no-flr", "refuse", "(resets: none)", facts(*TYPE1, host=replace(SOUND_HOST, resets={BDF: ()}))
    ),
    Line(
        "vfio-no-flr",
        "untold",
        "whether function 0000:01:00.0 has FLR",
        facts(*TYPE1, host=replace(SOUND_HOST, resets={})),
    ),
    Line(
        "pty-path",
        "refuse",
        "path=/tmp/pty: new QEMU cannot make it anew and ends, the guest is lost",
        facts("-chardev", "pty,id=p,path=/tmp/pty"),
    ),
    Line("pty-renumbered", "warn", "p: a new pty", facts("-chardev", "pty,id=p")),
    Line("pty-renumbered", "warn", "-serial pty", facts("-serial", "pty")),
    Line(
        "file-truncated",
        "refuse",
        "file /c.log without append=on",
        facts("-chardev", "file,id=c,path=/c.log"),
    ),
    Line(
        "file-truncated",
        "refuse",
        "logfile=/c.log without",
        facts("-chardev", "socket,id=c,fd=5,logfile=/c.log"),
    ),
    Line("file-truncated", "refuse", "-serial file:/c.log has no append", facts("-serial", "file:/c.log")),
    Line(
        "socket-reconnects",
        "note",
        "c: connections end",
        facts("-chardev", "socket,id=c,path=/c,server=on,wait=off"),
    ),
    Line("add-fd", "refuse", "fd=4,set=1", facts("-add-fd", "fd=4,set=1")),
    Line("environment-dropped", "refuse", "env clears the environment", became(through=("env", "-i"))),
    Line(
        "environment-dropped",
        "refuse",
        "env removes QEMU_CPR_EXEC_STATE",
        became(through=("env", "-u", "QEMU_CPR_EXEC_STATE")),
    ),
    Line(
        "environment-dropped",
        "refuse",
        "sudo starts it with another environment",
        became(through=("nice", "sudo")),
    ),
    Line("environment-dropped", "untold", "whether /opt/start keeps", became(through=("/opt/start",))),
    Line(
        "memlock-low",
        "refuse",
        "may lock 300 MiB, the update needs 512 MiB (twice",
        facts(*IOMMUFD, host=WEAK),
    ),
    Line(
        "memlock-low",
        "refuse",
        "may lock 100 MiB, the update needs 256 MiB",
        facts(*TYPE1, host=replace(WEAK, memlock_bytes=100 << 20)),
    ),
    Line("memlock-low", "untold", "whether QEMU may lock 512 MiB", alone(*IOMMUFD)),
    Line(
        "kernel-type1",
        "refuse",
        "no VFIO_UPDATE_VADDR",
        facts(*TYPE1, host=replace(SOUND_HOST, update_vaddr=False)),
    ),
    Line("kernel-type1", "untold", "VFIO_UPDATE_VADDR", alone(*TYPE1)),
    Line(
        "kernel-iommufd",
        "refuse",
        "no IOMMU_IOAS_CHANGE_PROCESS",
        facts(*IOMMUFD, host=replace(SOUND_HOST, change_process=False)),
    ),
    Line("kernel-iommufd", "untold", "IOMMU_IOAS_CHANGE_PROCESS", alone(*IOMMUFD)),
    Line("sandbox-denies-exec", "refuse", "the guest goes on in old QEMU", facts(*SANDBOX)),
    Line("sandbox-denies-exec", "refuse", "with a VFIO device that ends old QEMU", facts(*SANDBOX, *TYPE1)),
    Line(
        "mode-missing",
        "refuse",
        "old QEMU 10.0.13 does not know cpr-exec",
        replace(facts(), version="10.0.13", state=State()),
    ),
    Line(
        "mode-missing",
        "refuse",
        "new QEMU 10.0.13 does not know cpr-exec, it has: cpr-reboot",
        replace(facts(), new_version="10.0.13", new_modes=frozenset({"normal", "cpr-reboot"})),
    ),
    Line(
        "mode-missing",
        "refuse",
        "without VFIO",
        replace(facts(*TYPE1, mode="cpr-transfer"), version="10.0.13"),
    ),
    Line(
        "blocked",
        "refuse",
        "QEMU refuses: because",
        replace(facts(), state=replace(NOTHING_PLUGGED, blocked=("because",))),
    ),
    Line("async-teardown", "warn", "leaves a process", facts("-run-with", "async-teardown=on")),
    Line("pins-not-charged", "note", "VmPin is 0", facts(*IOMMUFD)),
    Line("more-arguments", "untold", "-readconfig /q.cfg", facts("-readconfig", "/q.cfg")),
    Line("more-arguments", "untold", "/opt/start now names no QEMU", facts(new=["/opt/start", "now"])),
]
