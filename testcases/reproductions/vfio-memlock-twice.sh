#!/bin/sh
# QEMU loses a guest with an iommufd device to cpr-exec, in an update that it accepted, if it may lock less than
# twice the guest's RAM: for a moment the kernel charges it for the pinned pages twice.
#
# Seen on: Linux 7.3.4; QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1).
# Expected: a limit under which QEMU has pinned the guest's RAM is enough for its update: no page is pinned anew.
#   So it is with type1.
# Came: the update is accepted, and new QEMU ends: "Unknown section or instance 'iommufd'".
# Cause, kernel: iommufd_ioas_change_process() charges the new mm for all pinned pages (drivers/iommu/iommufd/ioas.c:601,
#   charge_current()) before it uncharges the old one (ioas.c:614). In IOPT_PAGES_ACCOUNT_USER, the mode of who has no
#   CAP_IPC_LOCK, the charge is the user's, and old and new process are of one user: incr_user_locked_vm() (pages.c)
#   meets the limit with the same pages in it twice.
# Fix, kernel: if pages->source_user is current_user(), only mm->pinned_vm has to move (need_charge_update(),
#   ioas.c:478); user->locked_vm is right already. Not built.
# Cause, QEMU: iommufd_change_process_capable() (backends/iommufd.c) takes any error of the ioctl, here ENOMEM, for a
#   kernel without it (test %eax,%eax at 0x591150 of Debian's binary). So vfio_cpr_supported() (hw/vfio/cpr-iommufd.c:108)
#   makes a blocker in new QEMU, its vmstate "iommufd" is not registered, and what is said names neither.
# Fix, QEMU: false for ENOTTY alone; otherwise fail with the error, and say it. Not tried.
# Usage: vfio-memlock-twice.sh BDF    (root; a PCI function that nobody uses, alone in its IOMMU group)
. "$(dirname "$0")/common.sh"

[ $# = 1 ] || untried "usage: $0 BDF"
needs /dev/kvm /dev/vfio/vfio /dev/iommu
bind "$1"

# run MIB DEVICE...: how the update went is in `went`
run() {
    echo "$1 MiB may be locked, $2:"
    # shellcheck disable=SC3045
    ulimit -S -l $(($1 * 1024))
    shift
    # shellcheck disable=SC2086
    start setpriv --bounding-set -ipc_lock "$QEMU" $MACHINE $*
    qmp update | tee update.log
    went=$(sed -n 's/^afterwards: QEMU is //p' update.log)
    end
}

# shellcheck disable=SC3045
ulimit -H -l unlimited
BY_IOMMUFD=$(assigned iommufd "$1")
# 64 MiB of RAM and the firmware's
run 192 "$BY_IOMMUFD"
twice=$went
run 96 "$BY_IOMMUFD"
once=$went
run 96 "-device vfio-pci,host=$1"

[ "$twice $went" = 'running running' ] || untried "with room: iommufd $twice, type1 $went"
[ "$once" = gone ] || absent "with less than twice the guest's RAM QEMU is $once"
present "iommufd needs twice the guest's RAM: with 96 MiB for 64 QEMU is gone, with 192, or type1, it runs on"
