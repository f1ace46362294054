#!/bin/sh
# QEMU dies by SIGSEGV in any update by cpr-exec, before new QEMU is executed, when a device is assigned by
# VFIO and the guest runs by -accel tcg.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4; with type1 and with iommufd.
# Expected: new QEMU runs the guest on, as with -accel kvm; or the update is refused with a reason.
# Came: SIGSEGV right after `migrate`. So it is when the update's command names no program: QEMU does not
#   come as far as the exec.
# Cause: vfio_cpr_pci_register_device() (hw/vfio/cpr.c:283) adds vfio_cpr_pci_notifier() without a look at
#   kvm_enabled(): at MIG_EVENT_PRECOPY_SETUP vfio_cpr_set_msi_virq() (hw/vfio/cpr.c:227) takes the interrupts from
#   kvm_state, which is NULL: kvm_vm_ioctl(). vfio_cpr_add_kvm_notifier() (hw/vfio/cpr.c:195) would then close a KVM
#   that is not there, and remove the processors.
# Fix: neither notifier if !kvm_enabled(). Tried in a copy of the binary that has neither (FIX=1): it runs on.
# Usage: vfio-tcg.sh BDF    (root; a PCI function with INTx that nobody uses, alone in its IOMMU group)
. "$(dirname "$0")/common.sh"

[ $# = 1 ] || untried "usage: $0 BDF"
needs /dev/kvm /dev/vfio/vfio /dev/iommu
bind "$1"
has_pin "$1"
TYPE1=$(assigned type1 "$1")
IOMMUFD=$(assigned iommufd "$1")

program=$QEMU
# run ACCEL DEVICE
run() {
    echo "$1, $2:"
    # shellcheck disable=SC2086
    start "$program" -accel $1 ${MACHINE#-accel kvm} $2
    qmp update
    end
}

run kvm "$TYPE1"
[ "$status" = 137 ] || untried "the update fails also with -accel kvm"
died=0
for device in "$TYPE1" "$IOMMUFD"; do
    run tcg "$device"
    [ "$status" != 139 ] || died=$((died + 1))
done

# vfio_cpr_pci_register_device(): ret; vfio_cpr_add_kvm_notifier(): for no mode
if mended 81bc44 48 c3 81bc28 ba0c000000 ba00000000; then
    echo "with the fix:"
    program=./mended
    run tcg "$TYPE1"
    run tcg "$IOMMUFD"
fi

[ $died = 2 ] || absent "SIGSEGV in $died of 2 updates with -accel tcg"
present "with -accel tcg QEMU died by SIGSEGV (139) with type1 and iommufd, not with -accel kvm"
