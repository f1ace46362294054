#!/bin/sh
# QEMU dies by SIGSEGV, and the guest with it, when cpr-exec cannot execute new QEMU and a device is
# assigned by VFIO.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4; with type1 and with iommufd.
# Expected: old QEMU runs the guest on, and query-migrate says why the update failed; so it is without a
#   VFIO device.
# Came: "execvp /nonexistent/qemu failed" is printed, then SIGSEGV (address 0x38).
# Cause (by disassembly and dynamic symbols; build id fc693c98cb6d8b9e45f9a391a4a94a17863053a5):
#   1. vfio_cpr_add_kvm_notifier() registers a notifier for the modes 0xc, cpr-transfer and cpr-exec. At
#      MIG_EVENT_PRECOPY_DONE it calls vfio_kvm_device_close() and so kvm_close(), which removes every vCPU
#      (cpu_remove_sync), closes the VM and sets kvm_state to NULL. By cpr-exec that comes before the exec.
#   2. execvp() fails; MIG_EVENT_PRECOPY_FAILED makes the function's notifier (vfio_cpr_pci_register_device())
#      give its interrupts back: kvm_irqchip_add_irqfd_notifier_gsi(kvm_state, ...).
#   3. kvm_vm_ioctl+0xae (0x97528e, the ip below) is "mov 0x38(%rbp),%edi": s->vmfd of s = kvm_state = NULL.
# Fix: to look at kvm_state in 2 would not do, the guest's processors are gone since 1. The notifier of 1 must
#   not be there for MIG_MODE_CPR_EXEC (0xc -> 0x4): the exec closes KVM's descriptors by itself (O_CLOEXEC),
#   and until it has succeeded old QEMU needs them.
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
