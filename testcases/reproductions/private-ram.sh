#!/bin/sh
# QEMU accepts cpr-exec for a guest whose RAM is private memory, and new QEMU runs on with empty RAM.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4.
# Expected: the update is refused with a reason, as cpr-transfer is; or RAM is kept, as with share=on.
# Came: blocked-reasons is empty, `migrate` is accepted, the update ends well, and what the firmware had
#   written below 640 KiB is gone. (With vapic on, its default, new QEMU misses what it had written into
#   RAM and ends: "error while loading state ... of device 'kvm-tpr-opt'"; the guest is lost either way.)
# Cause: ram_block_add_cpr_blocker() (system/physmem.c; its message is line 4483) adds "Memory region ... is not
#   compatible with CPR" for MIG_MODE_CPR_TRANSFER alone: mov $0x4,%esi at 0x89998d of Debian's binary.
# Fix: for BIT(MIG_MODE_CPR_TRANSFER) | BIT(MIG_MODE_CPR_EXEC). Tried in a copy of the binary (FIX=1): the update
#   is refused, with that reason.
# Usage: private-ram.sh    (root for /dev/kvm)
. "$(dirname "$0")/common.sh"

PRIVATE='-accel kvm -nodefaults -display none -m 64M -machine q35 -global kvm-apic.vapic=off
    -qmp unix:qmp.sock,server=on,wait=off'

needs /dev/kvm
# shellcheck disable=SC2086
over_update "shared memory" "$QEMU" $MACHINE -global kvm-apic.vapic=off
[ "$ram" = kept ] || untried "shared memory is $ram"
# shellcheck disable=SC2086
over_update "private memory" "$QEMU" $PRIVATE
was=$ram
# ram_block_add_cpr_blocker(): the mask of the modes
if mended 89998d be04000000 be0c000000; then
    # shellcheck disable=SC2086
    over_update "with the fix, private memory" ./mended $PRIVATE
fi
ram=$was
[ "$ram" = lost ] || absent "private memory is $ram"
present "private memory is accepted and lost"
