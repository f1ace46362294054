#!/bin/sh
# QEMU dies by SIGSEGV, and the guest with it, when cpr-exec cannot execute new QEMU and a device is
# assigned by VFIO.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4; with type1 and with iommufd.
# Expected: old QEMU runs the guest on, and query-migrate says why the update failed; so it is without a
#   VFIO device.
# Came: "execvp /nonexistent/qemu failed" is printed, then SIGSEGV (address 0x38).
# Backtrace (gdb, a core of Debian's binary, build id fc693c98cb6d8b9e45f9a391a4a94a17863053a5, without debug
#   symbols: [names in brackets] are inferred from calls and error texts at those addresses):
#     kvm_vm_ioctl+0xae (0x97528e)  mov 0x38(%rbp),%edi: s->vmfd; rbp = s = NULL; request 0x4020ae76, KVM_IRQFD
#     [kvm_irqchip_assign_irqfd] (0x976157)  from kvm_irqchip_add_irqfd_notifier_gsi(kvm_state, ...)
#     [vfio_cpr_set_msi_virq] (0x81b646)     from [vfio_cpr_pci_notifier], MIG_EVENT_PRECOPY_FAILED
#     migration_call_notifiers
#     [cpr_exec_cb] (0x59d6eb)               after its "execvp %s failed", migration/cpr-exec.c:155
#     aio_bh_poll, aio_dispatch, main_loop_wait, qemu_main_loop, main
# Cause: vfio_cpr_add_kvm_notifier() registers a notifier for the modes 0xc, cpr-transfer and cpr-exec. At
#   MIG_EVENT_PRECOPY_DONE it calls vfio_kvm_device_close() and so kvm_close(), which removes every vCPU
#   (cpu_remove_sync), closes the VM and sets kvm_state to NULL. By cpr-exec that comes before the exec; when
#   execvp() fails, the function's interrupts are given back to a KVM that is not there.
# Fix: to look at kvm_state there would not do, for the guest's processors are gone as well. That notifier must
#   not be there for MIG_MODE_CPR_EXEC (0xc -> 0x4): the exec closes KVM's descriptors by itself (all have
#   O_CLOEXEC, seen in /proc/PID/fdinfo), and until it has succeeded old QEMU needs them. Not tried: no source.
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
