#!/bin/sh
# QEMU dies by SIGSEGV, and the guest with it, when cpr-exec cannot execute new QEMU and a device is
# assigned by VFIO.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4; with type1 and with iommufd.
# Expected: old QEMU runs the guest on, and query-migrate says why the update failed; so it is without a
#   VFIO device.
# Came: "execvp /nonexistent/qemu failed" is printed, then SIGSEGV (address 0x38).
# Backtrace (gdb, a core of Debian's binary, build id fc693c98cb6d8b9e45f9a391a4a94a17863053a5; its debug symbols
#   are not to be had here. Functions that are not exported, files and lines: from the binary itself, which holds
#   __func__, __FILE__ and __LINE__ of each error message. Those of hw/vfio/cpr.c (24, 231, 248) and of
#   migration/cpr-exec.c (54, 155) are also those of upstream's files, by which the lines between were counted.)
#     #0 kvm_vm_ioctl (s=NULL)  accel/kvm/kvm-all.c, ioctl(s->vmfd, KVM_IRQFD): mov 0x38(%rbp),%edi at 0x97528e
#     #1 kvm_irqchip_assign_irqfd (s=NULL)  accel/kvm/kvm-all.c (0x976157), inlined in it
#        kvm_irqchip_add_irqfd_notifier_gsi  and  set_irqfd_notifier_gsi  hw/vfio/cpr.c:208
#     #2 vfio_cpr_set_msi_virq (enable=true)  hw/vfio/cpr.c:227 (0x81b646)
#     #3 vfio_cpr_pci_notifier (MIG_EVENT_PRECOPY_FAILED)  hw/vfio/cpr.c:278
#     #4 migration_call_notifiers  migration/migration.c (0x5a4db0)
#     #5 cpr_exec_cb  migration/cpr-exec.c:167 (0x59d6eb); the message of line 155 was printed
#     #6 aio_bh_poll, aio_dispatch, main_loop_wait, qemu_main_loop, main
# Cause: vfio_cpr_add_kvm_notifier() (hw/vfio/cpr.c:195) registers vfio_cpr_kvm_close_notifier() for the modes
#   BIT(MIG_MODE_CPR_TRANSFER) | BIT(MIG_MODE_CPR_EXEC). At MIG_EVENT_PRECOPY_DONE it calls vfio_kvm_device_close()
#   and so kvm_close(), which removes every vCPU (cpu_remove_sync), closes the VM and sets kvm_state to NULL. By
#   cpr-exec that comes before the exec (line 149, from a bottom half that the same event schedules); when execvp()
#   fails, the function's interrupts are given back to a KVM that is not there.
# Fix: leave MIG_MODE_CPR_EXEC out at hw/vfio/cpr.c:200. The exec closes KVM's descriptors by itself (all have
#   O_CLOEXEC, seen in /proc/PID/fdinfo), and until it has succeeded old QEMU needs them. Tried below (FIX=1), in a copy of
#   the binary in which that mask is changed: old QEMU runs on, and an update that succeeds does so still. To look at
#   kvm_state in kvm_vm_ioctl() would not do: the guest's processors are gone as well.
# Usage: vfio-failed-exec.sh BDF    (root; a PCI function with INTx that nobody uses, alone in its IOMMU group)
. "$(dirname "$0")/common.sh"

[ $# = 1 ] || untried "usage: $0 BDF"
needs /dev/kvm /dev/vfio/vfio /dev/iommu
bind "$1"
has_pin "$1"

died=''
for backend in none type1 iommufd; do
    device=$(assigned $backend "$1")
    echo "$backend:"
    # shellcheck disable=SC2086
    start "$QEMU" $MACHINE $device
    qmp update /nonexistent/qemu
    end
    [ "$status" != 139 ] || died="$died $backend"
done

# vfio_cpr_add_kvm_notifier(): mov $0xc,%edx, the mask of the modes
if mended 81bc28 ba0c000000 ba04000000; then
    for backend in type1 iommufd; do
        device=$(assigned $backend "$1")
        echo "with the fix, $device:"
        # shellcheck disable=SC2086
        start ./mended $MACHINE $device
        qmp update /nonexistent/qemu
        qmp update
        end
    done
fi

[ "$died" = ' type1 iommufd' ] || absent "SIGSEGV only with:${died:- neither}"
present "QEMU died by SIGSEGV (139) with:$died; without a VFIO device it ran on"
