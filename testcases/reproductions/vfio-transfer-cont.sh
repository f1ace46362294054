#!/bin/sh
# Old QEMU dies by SIGSEGV when it is told to go on after a cpr-transfer, if a device is assigned by VFIO: a
# guest whose destination dies with the stream is lost although old QEMU still had it.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4; with type1 and with iommufd.
# Expected: old QEMU runs the guest on, as after any migration whose destination is gone; so it is without a VFIO
#   device. Or `cont` is refused with a reason.
# Came: `cont` ends old QEMU. Here the destination was started with -S and never ran the guest.
# Cause: as in vfio-failed-exec.sh. vfio_cpr_kvm_close_notifier() (hw/vfio/cpr.c:185) closes KVM at
#   MIG_EVENT_PRECOPY_DONE: vfio_kvm_device_close(), kvm_close(), kvm_state = NULL, and no vCPU is left.
# Fix: old QEMU cannot give the guest back once it has closed KVM. Either KVM is closed later, when nothing can ask
#   for the guest any more (old QEMU ends); or `cont` is refused in runstate postmigrate when it is closed. Not tried.
# Usage: vfio-transfer-cont.sh BDF    (root; a PCI function with INTx that nobody uses, alone in its IOMMU group)
. "$(dirname "$0")/common.sh"

[ $# = 1 ] || untried "usage: $0 BDF"
needs /dev/kvm /dev/vfio/vfio /dev/iommu
bind "$1"

# channel NAME
channel() {
    echo "{\"channel-type\": \"$1\", \"addr\": {\"transport\": \"socket\", \"type\": \"unix\", \"path\": \"$work/$1.sock\"}}"
}

# until_there WHAT COMMAND...
until_there() {
    what=$1 tries=0
    shift
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || untried "$what did not come"
        sleep 0.1
    done
}
completed() { qmp 'do' query-migrate | grep -q '"status": "completed"'; }
in_new() { (cd new && pid=$new && qmp "$@"); }

died=''
for backend in none type1 iommufd; do
    case $backend in
        none) device='' ;;
        type1) device="-device vfio-pci,host=$1" ;;
        iommufd) device="-object iommufd,id=iommufd0 -device vfio-pci,host=$1,iommufd=iommufd0" ;;
    esac
    echo "$backend:"
    rm -rf new cpr.sock main.sock
    mkdir new
    # shellcheck disable=SC2086
    start "$QEMU" $MACHINE $device
    # shellcheck disable=SC2086
    (cd new && exec "$QEMU" $MACHINE $device -S -incoming defer -incoming "$(channel cpr)") >new.log 2>&1 &
    new=$!
    until_there "the destination's socket" [ -S cpr.sock ]
    qmp 'do' migrate-set-parameters '{"mode": "cpr-transfer"}' >/dev/null
    qmp 'do' migrate "{\"channels\": [$(channel main), $(channel cpr)]}" >/dev/null
    in_new wait
    in_new 'do' migrate-incoming "{\"channels\": [$(channel main)]}" >/dev/null
    until_there "the end of the transfer" completed
    echo "transfer: completed; old QEMU: $(qmp 'do' query-status)"
    kill -KILL "$new"
    wait "$new" 2>/dev/null || new=''
    qmp 'do' cont 2>&1 | tail -n 1
    qmp wait && echo "old QEMU: $(qmp 'do' query-status)"
    end
    [ "$status" != 139 ] || died="$died $backend"
done

[ "$died" = ' type1 iommufd' ] || absent "SIGSEGV only with:${died:- neither}"
present "QEMU died by SIGSEGV (139) with:$died; without a VFIO device it ran on"
