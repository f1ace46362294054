#!/bin/sh
# QEMU dies by SIGSEGV in any update by cpr-exec, before new QEMU is executed, when a device is assigned by
# VFIO and the guest runs by -accel tcg.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4; with type1 and with iommufd.
# Expected: new QEMU runs the guest on, as with -accel kvm; or the update is refused with a reason.
# Came: SIGSEGV right after `migrate`. So it is when the update's command names no program: QEMU does not
#   come as far as the exec.
# Likely cause (from upstream's source of late 2025): at MIG_EVENT_PRECOPY_SETUP vfio_cpr_set_msi_virq()
#   takes the device's interrupts from KVM without a look at kvm_enabled(): kvm_vm_ioctl() of NULL.
# Usage: vfio-tcg.sh BDF    (root; a PCI function with INTx that nobody uses, alone in its IOMMU group)
. "$(dirname "$0")/common.sh"

[ $# = 1 ] || untried "usage: $0 BDF"
needs /dev/kvm /dev/vfio/vfio /dev/iommu
bind "$1"
has_pin "$1"
TYPE1="-device vfio-pci,host=$1"
IOMMUFD="-object iommufd,id=iommufd0 -device vfio-pci,host=$1,iommufd=iommufd0"

# run ACCEL DEVICE
run() {
    echo "$1, $2:"
    # shellcheck disable=SC2086
    start "$QEMU" -accel $1 ${MACHINE#-accel kvm} $2
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
[ $died = 2 ] || absent "SIGSEGV in $died of 2 updates with -accel tcg"
present "with -accel tcg QEMU died by SIGSEGV (139) with type1 and iommufd, not with -accel kvm"
