#!/bin/sh
# PANICS THE HOST. An mdev of the kernel's sample driver mtty keeps its migration state when its QEMU ends,
# but not the file of that state; the next QEMU on it runs the kernel into a NULL pointer.
#
# Seen on: Linux 7.3.4 (samples/vfio-mdev/mtty.c); QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1).
# Expected: what one process leaves of a device does no harm to the next one.
# Came: "BUG: kernel NULL pointer dereference, address: 0000000000000008" in mtty_set_state.
# Cause: mtty_close() lets resuming_migf go, but leaves mdev_state->state at VFIO_DEVICE_STATE_RESUMING; the
#   next RESUMING -> STOP is mtty_load_state(), which locks resuming_migf->lock.
# Recorded beside this: the host's console.
# Usage: mtty-resuming.sh --panic    (root; on a machine that may die)
. "$(dirname "$0")/common.sh"

TYPE=/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1
UUID=83b8f4f2-509f-382f-3c1e-e6bfe0fa1001
DEVICE=/sys/bus/mdev/devices/$UUID

[ "${1:-}" = --panic ] || untried "this panics the host; usage: $0 --panic"
needs /dev/kvm /dev/iommu
[ -d $TYPE ] || untried "this kernel has no mtty; modprobe mtty"
levels=$(cat /proc/sys/kernel/printk)
undo() {
    echo "$levels" >/proc/sys/kernel/printk
    [ ! -d $DEVICE ] || echo 1 >$DEVICE/remove
}
echo $UUID >$TYPE/create

dmesg -n 8  # the oops goes to the console
for number in 1 2; do
    # shellcheck disable=SC2086
    start "$QEMU" $MACHINE -S -object iommufd,id=iommufd0 \
        -device "vfio-pci,sysfsdev=$DEVICE,iommufd=iommufd0"
    { echo "QEMU $number is updated, its VM stopped" && qmp update; } | tee /dev/console
    end
done
absent "the host lives"
