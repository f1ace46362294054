#!/bin/sh
# Each update by cpr-exec leaves one more descriptor of /dev/vhost-net in QEMU.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4.
# Expected: one descriptor of /dev/vhost-net for one queue, after each update as before the first.
# Came: 1, 2, 3, 4: it is not close-on-exec, and new QEMU opens it anew. The tap is an inherited descriptor,
#   so that the guest outlives the update (see tap-by-name.sh).
# Cause: net_init_tap_one() (net/tap.c, before line 771) opens /dev/vhost-net by open(..., O_RDWR), without O_CLOEXEC:
#   mov $0x2,%esi at 0x5edc8d of Debian's binary.
# Fix: O_RDWR | O_CLOEXEC (qemu_open_old() does so); closing it before new QEMU opens its own does mend it (tried
#   with a wrapper that execs QEMU). So does the flag in a copy of the binary (FIX=1): no descriptor more.
# Usage: vhost-net-leak.sh    (root)
. "$(dirname "$0")/common.sh"

TAP=cprrepro0
WITH_TAP='
import fcntl, os, struct, sys
fd = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", sys.argv[1].encode(), 0x5002))  # TUNSETIFF: tap, vnet header
os.dup2(fd, 9)
os.close(fd)
os.execvp(sys.argv[2], sys.argv[2:])'

held() { find "/proc/$pid/fd" -lname "*$1*" | wc -l; }

needs /dev/kvm /dev/net/tun /dev/vhost-net
[ ! -e "/sys/class/net/$TAP" ] || untried "there is an interface $TAP already"
# run QEMU: how often /dev/vhost-net is open before three updates and after each is in `counts`
run() {
    # shellcheck disable=SC2086
    start python3 -c "$WITH_TAP" $TAP "$1" $MACHINE -netdev tap,id=net0,fd=9,vhost=on \
        -device virtio-net-pci,netdev=net0,romfile=
    counts=$(held /dev/vhost-net)
    echo "before: /dev/vhost-net is open $counts times, all descriptors: $(held '')"
    for number in 1 2 3; do
        qmp update | tee update.log
        grep -q '^afterwards: QEMU is running' update.log || { end && untried "update $number failed"; }
        counts="$counts $(held /dev/vhost-net)"
        echo "after update $number: /dev/vhost-net is open ${counts##* } times, all descriptors: $(held '')"
    done
    end
}

# net_init_tap_one(): mov $0x2,%esi, O_RDWR; 0x80000 is O_CLOEXEC
if mended 5edc8d be02000000 be02000800; then
    echo "with the fix:"
    run ./mended
fi
run "$QEMU"

[ "$counts" != '1 1 1 1' ] || absent "/dev/vhost-net is open once, always"
[ "$counts" = '1 2 3 4' ] || untried "no even growth: $counts"
present "descriptors of /dev/vhost-net before and after three updates: $counts"
