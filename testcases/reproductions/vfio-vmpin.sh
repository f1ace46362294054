#!/bin/sh
# The pages that iommufd pins for a guest are charged to nobody after cpr-exec, if QEMU has CAP_IPC_LOCK;
# when the device is unplugged later, VmPin falls below zero.
#
# Seen on: Linux 7.3.4; QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1).
# Expected: VmPin of QEMU after the update as before it, 0 without the device. So it is without CAP_IPC_LOCK.
# Came: 65792 kB before the update, 0 after it, 18446744073709485824 after the unplug; the pages stay pinned
#   over the update (nr_foll_pin_acquired - nr_foll_pin_released, which is the whole host's), only the charge is lost.
# Cause (drivers/iommu/iommufd, lines of Linux 7.3.4): iopt_pages_update_pinned() (pages.c:1011) adds to mm->pinned_vm in
#   every account mode (pages.c:1034). need_charge_update() (ioas.c:478), for IOMMU_IOAS_CHANGE_PROCESS, returns false
#   for IOPT_PAGES_ACCOUNT_NONE (ioas.c:482), the mode of who has CAP_IPC_LOCK (pages.c:1393), so nothing is moved;
#   change_mm() (ioas.c:621) makes the new mm the one to uncharge all the same: at the unplug pinned_vm of a mm is
#   diminished that was never charged (pages.c:1036). The old mm goes with its charge when the exec lets it go.
# Fix: in need_charge_update() IOPT_PAGES_ACCOUNT_NONE must be as IOPT_PAGES_ACCOUNT_MM, source_mm != current->mm: then
#   charge_current() adds to the new mm's pinned_vm, which has no limit in that mode and cannot fail, and the loop at
#   ioas.c:610 takes it from the old one. Not built.
# Usage: vfio-vmpin.sh BDF    (root; a PCI function that nobody uses, alone in its IOMMU group)
. "$(dirname "$0")/common.sh"

charged() { awk '/^VmPin:/ {print $2}' "/proc/$pid/status"; }
pinned() { awk '/^nr_foll_pin_acquired/ {n += $2} /^nr_foll_pin_released/ {n -= $2} END {print n}' /proc/vmstat; }
say() { charges="$charges $(charged)" && echo "$1: VmPin $(charged) kB, $(($(pinned) - others)) pages pinned"; }

[ $# = 1 ] || untried "usage: $0 BDF"
needs /dev/kvm /dev/vfio/vfio /dev/iommu
bind "$1"
others=$(pinned)
# shellcheck disable=SC3045
ulimit -l unlimited

# a slot that is off: what is plugged into it can be unplugged without a guest
PORT='-object iommufd,id=iommufd0 -device pcie-root-port,id=port0,chassis=1
    -global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'
DEVICE="vfio-pci,id=vfio0,bus=port0,host=$1,iommufd=iommufd0"
PLUG="{\"driver\": \"vfio-pci\", \"id\": \"vfio0\", \"bus\": \"port0\", \"host\": \"$1\", \"iommufd\": \"iommufd0\"}"

# run PREFIX: the charges are in `charges`
run() {
    charges=''
    # shellcheck disable=SC2086
    start $1 "$QEMU" $MACHINE $PORT
    qmp 'do' device_add "$PLUG" >/dev/null
    say "plugged"
    # shellcheck disable=SC2086
    qmp update "$QEMU" $MACHINE $PORT -device "$DEVICE" -incoming file:vm.state | tee update.log
    grep -q '^afterwards: QEMU is running' update.log || { end && untried "the update failed"; }
    say "updated"
    qmp 'do' device_del '{"id": "vfio0"}' >/dev/null
    say "unplugged"
    end
}

echo "without CAP_IPC_LOCK:"
run "setpriv --bounding-set -ipc_lock"
without=$charges
echo "with CAP_IPC_LOCK:"
run ""

[ "$charges" != "$without" ] || absent "VmPin is$charges with and without CAP_IPC_LOCK"
case $charges in
    *' 0 18446744'*) present "with CAP_IPC_LOCK, VmPin is 0 after the update, and below zero after an unplug" ;;
    *) untried "not what was seen: VmPin is$charges, without CAP_IPC_LOCK$without" ;;
esac
