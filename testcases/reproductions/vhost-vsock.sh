#!/bin/sh
# QEMU loses a guest that has a vhost-vsock, in an update by cpr-exec that it accepted.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4.
# Expected: new QEMU runs the guest on; or the update is refused with a reason.
# Came: blocked-reasons is empty and `migrate` is accepted; old QEMU's descriptor of /dev/vhost-vsock leaks
#   into new QEMU and keeps the guest's cid. New QEMU cannot take the cid, and ends.
# Mended by: closing it before new QEMU opens its own (tried with a wrapper that execs QEMU): O_CLOEXEC is
#   what is missing.
# Usage: vhost-vsock.sh [CID]    (root)
. "$(dirname "$0")/common.sh"

IN_USE='vhost-vsock: unable to set guest cid: Address already in use'

needs /dev/kvm /dev/vhost-vsock
# shellcheck disable=SC2086
start "$QEMU" $MACHINE -device "vhost-vsock-pci,guest-cid=${1:-52431}"
qmp update | tee update.log
end

grep -q '^migrate: accepted' update.log || absent "the update is refused"
grep -q '^afterwards: QEMU is gone' update.log || absent "the guest is not lost"
grep -qF "$IN_USE" qemu.log || untried "new QEMU ended for another reason"
present "guest lost; $IN_USE"
