#!/bin/sh
# QEMU dies by SIGSEGV, and the guest with it, when cpr-exec cannot execute new QEMU and a device is
# assigned by VFIO.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4; with type1 and with iommufd.
# Expected: old QEMU runs the guest on, and query-migrate says why the update failed; so it is without a
#   VFIO device.
# Came: "execvp /nonexistent/qemu failed" is printed, then SIGSEGV (address 0x38).
# Likely cause (from upstream's source of late 2025): vfio_cpr_kvm_close_notifier() closes KVM before the exec
#   (MIG_EVENT_PRECOPY_DONE), kvm_close() sets kvm_state to NULL; when the exec fails (..._FAILED),
#   vfio_cpr_set_msi_virq() gives the device's interrupts back to it: kvm_vm_ioctl() of NULL. See vfio-tcg.sh.
# Usage: vfio-failed-exec.sh BDF    (root; a PCI function with INTx that nobody uses, alone in its IOMMU group)
. "$(dirname "$0")/common.sh"

[ $# = 1 ] || untried "usage: $0 BDF"
needs /dev/kvm /dev/vfio/vfio /dev/iommu
bind "$1"
has_pin "$1"

died=''
for backend in none type1 iommufd; do
    case $backend in
        none) device='' ;;
        type1) device="-device vfio-pci,host=$1" ;;
        iommufd) device="-object iommufd,id=iommufd0 -device vfio-pci,host=$1,iommufd=iommufd0" ;;
    esac
    echo "$backend:"
    # shellcheck disable=SC2086
    start "$QEMU" $MACHINE $device
    qmp update /nonexistent/qemu
    end
    [ "$status" != 139 ] || died="$died $backend"
done

[ "$died" = ' type1 iommufd' ] || absent "SIGSEGV only with:${died:- neither}"
present "QEMU died by SIGSEGV (139) with:$died; without a VFIO device it ran on"
