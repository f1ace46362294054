#!/bin/sh
# QEMU loses a guest that has a vhost-vsock, in an update by cpr-exec that it accepted.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4.
# Expected: new QEMU runs the guest on; or the update is refused with a reason.
# Came: blocked-reasons is empty and `migrate` is accepted; old QEMU's descriptor of /dev/vhost-vsock leaks
#   into new QEMU and keeps the guest's cid. New QEMU cannot take the cid, and ends.
# Cause: vhost_vsock_device_realize() (hw/virtio/vhost-vsock.c) opens /dev/vhost-vsock by open(..., O_RDWR), without
#   O_CLOEXEC: mov $0x2,%esi at 0x85ec00 of Debian's binary; "unable to set guest cid" is line 179 in new QEMU.
# Fix: O_RDWR | O_CLOEXEC (qemu_open_old() does so); closing it before new QEMU opens its own does mend it (tried
#   with a wrapper that execs QEMU). So does the flag in a copy of the binary (FIX=1).
# Usage: vhost-vsock.sh [CID]    (root)
. "$(dirname "$0")/common.sh"

IN_USE='vhost-vsock: unable to set guest cid: Address already in use'

needs /dev/kvm /dev/vhost-vsock
device="vhost-vsock-pci,guest-cid=${1:-52431}"
# shellcheck disable=SC2086
start "$QEMU" $MACHINE -device "$device"
qmp update | tee update.log
end
mv qemu.log lost.log

# vhost_vsock_device_realize(): mov $0x2,%esi, O_RDWR; 0x80000 is O_CLOEXEC
if mended 85ec00 be02000000 be02000800; then
    echo "with the fix:"
    # shellcheck disable=SC2086
    start ./mended $MACHINE -device "$device"
    qmp update
    end
fi

grep -q '^migrate: accepted' update.log || absent "the update is refused"
grep -q '^afterwards: QEMU is gone' update.log || absent "the guest is not lost"
grep -qF "$IN_USE" lost.log || untried "new QEMU ended for another reason"
present "guest lost; $IN_USE"
