#!/bin/sh
# After cpr-exec a guest whose tap came from qemu-bridge-helper is on another tap than before.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4.
# Expected: the descriptor that the helper gave is kept, as one that QEMU inherits; or the update is refused.
# Came: blocked-reasons is empty and `migrate` is accepted; new QEMU runs the helper again.
# Usage: tap-by-helper.sh    (root)
. "$(dirname "$0")/common.sh"

BRIDGE=cprrepro0 CONF=/etc/qemu/bridge.conf
HELPER=${HELPER:-/usr/lib/qemu/qemu-bridge-helper}

needs /dev/kvm /dev/net/tun
[ -x "$HELPER" ] || untried "there is no $HELPER"
[ ! -e "/sys/class/net/$BRIDGE" ] || untried "there is an interface $BRIDGE already"
[ ! -e "$CONF" ] || untried "there is a $CONF already"
folder=$([ -d /etc/qemu ] && echo there || echo made)
undo() {
    ip link del "$BRIDGE"
    rm -f "$CONF"
    [ "$folder" = there ] || rmdir /etc/qemu
}
mkdir -p /etc/qemu
echo "allow $BRIDGE" >"$CONF"
ip link add "$BRIDGE" type bridge

taps() { (cd "/sys/class/net/$BRIDGE/brif" && echo *); }
held() { find "/proc/$pid/fd" -lname /dev/net/tun | wc -l; }

# shellcheck disable=SC2086
start "$QEMU" $MACHINE -netdev "tap,id=net0,br=$BRIDGE,helper=$HELPER" -device virtio-net-pci,netdev=net0,romfile=
before=$(taps)
echo "before: $before on the bridge, QEMU has $(held) descriptors of /dev/net/tun"
qmp update | tee update.log
grep -q '^afterwards: QEMU is running' update.log || { end && untried "the update failed"; }
after=$(taps)
echo "after: $after on the bridge, QEMU has $(held) descriptors of /dev/net/tun"
end

[ "$after" != "$before" ] || absent "the guest is on $after as before"
present "the guest is on another tap after the update"
