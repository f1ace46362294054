#!/bin/sh
# QEMU loses a guest whose tap it opened by name, in an update by cpr-exec that it accepted.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4; with vhost=off and vhost=on.
# Expected: new QEMU runs the guest on; or the update is refused with a reason.
# Came: blocked-reasons is empty and `migrate` is accepted; old QEMU's descriptor of /dev/net/tun is not
#   close-on-exec, so it leaks into new QEMU and keeps the tap busy. New QEMU cannot open it, and ends.
# Cause: tap_open() (net/tap-linux.c) opens /dev/net/tun by open(..., O_RDWR), without O_CLOEXEC: mov $0x2,%esi at
#   0x5eedf6 of Debian's binary; "could not configure" is net/tap-linux.c:117 in new QEMU.
# Fix: O_RDWR | O_CLOEXEC (qemu_open_old() does so); closing it before new QEMU opens its own does mend it (tried
#   with a wrapper that execs QEMU). So does the flag in a copy of the binary (FIX=1).
# Usage: tap-by-name.sh    (root)
. "$(dirname "$0")/common.sh"

TAP=cprrepro0
BUSY="could not configure /dev/net/tun ($TAP): Device or resource busy"

needs /dev/kvm /dev/net/tun
[ ! -e "/sys/class/net/$TAP" ] || untried "there is an interface $TAP already"

lost=''
for vhost in off on; do
    [ $vhost = off ] || [ -c /dev/vhost-net ] || untried "this host has no /dev/vhost-net"
    echo "-netdev tap,ifname=$TAP,vhost=$vhost"
    # shellcheck disable=SC2086
    start "$QEMU" $MACHINE -netdev "tap,id=net0,ifname=$TAP,script=no,downscript=no,vhost=$vhost" \
        -device virtio-net-pci,netdev=net0,romfile=
    qmp update | tee update.log
    end
    grep -q '^migrate: accepted' update.log && grep -q '^afterwards: QEMU is gone' update.log &&
        grep -qF "$BUSY" qemu.log && lost="$lost vhost=$vhost"
done

# tap_open(): mov $0x2,%esi, O_RDWR; 0x80000 is O_CLOEXEC
if mended 5eedf6 be02000000 be02000800; then
    echo "with the fix, -netdev tap,ifname=$TAP"
    # shellcheck disable=SC2086
    start ./mended $MACHINE -netdev "tap,id=net0,ifname=$TAP,script=no,downscript=no" \
        -device virtio-net-pci,netdev=net0,romfile=
    qmp update
    end
fi

[ "$lost" = ' vhost=off vhost=on' ] || absent "guest lost only with:${lost:- neither}"
present "guest lost with:$lost; $BUSY"
