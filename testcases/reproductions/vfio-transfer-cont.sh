#!/bin/sh
# Old QEMU dies by SIGSEGV when it is told to go on (cont) after a cpr-transfer, with a device assigned by VFIO:
# a guest whose destination died before it ran is lost, though old QEMU had it all the time.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4; with type1 and with iommufd.
# Expected: the guest runs on in old QEMU, as it does without a VFIO device; or cont is refused with a reason.
# Came: SIGSEGV (address 0x34) at kvm_ioctl+0xa7 (0x974d97, build id fc693c98cb6d8b9e45f9a391a4a94a17863053a5):
#   mov 0x34(%rbx),%edi, which is s->fd of s = NULL.
# Cause (inferred from that and from vfio-failed-exec.sh): vfio_cpr_add_kvm_notifier() has KVM closed at
#   MIG_EVENT_PRECOPY_DONE, which removes the vCPUs and sets kvm_state to NULL. Old QEMU sends the whole stream
#   before it can know whether the destination will run the guest; `cont` then asks a KVM that is not there.
# Fix: KVM must not be closed before the destination has taken over, which needs a word back from it; at least,
#   cont in postmigrate must be refused when KVM is closed. Not tried: no source.
# Usage: vfio-transfer-cont.sh BDF    (root; a PCI function that nobody uses, alone in its IOMMU group)
. "$(dirname "$0")/common.sh"

[ $# = 1 ] || untried "usage: $0 BDF"
needs /dev/kvm /dev/vfio/vfio /dev/iommu
bind "$1"

new=''
trap '[ -z "$new" ] || kill -KILL "$new" 2>/dev/null; cleanup' EXIT

channel() { printf '{"channel-type":"%s","addr":{"transport":"socket","type":"unix","path":"%s"}}' "$1" "$2"; }
theirs() { (cd new && python3 -IS "$here/qmp.py" "$new" "$@"); }

# destination COMMAND...: a QEMU in the folder `new` that takes the stream, and does not run the guest (-S)
destination() {
    rm -rf new && mkdir new
    (cd new && exec "$@" -S -incoming defer -incoming "$(channel cpr cpr.sock)") >new.log 2>&1 &
    new=$!
    until [ -S new/cpr.sock ]; do
        kill -0 "$new" 2>/dev/null || { cat new.log && untried "the destination did not start"; }
        sleep 0.1
    done
}

# completed: wait until old QEMU says so
completed() {
    tries=0
    until qmp 'do' query-migrate | grep -q '"status": "completed"'; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || untried "the transfer does not end: $(qmp 'do' query-migrate)"
        sleep 0.1
    done
}

died=''
for backend in none type1 iommufd; do
    device=$(assigned $backend "$1")
    echo "$backend:"
    # shellcheck disable=SC2086
    start "$QEMU" $MACHINE $device
    # shellcheck disable=SC2086
    destination "$QEMU" $MACHINE $device
    qmp 'do' migrate-set-parameters '{"mode": "cpr-transfer"}' >/dev/null
    qmp 'do' migrate "{\"channels\": [$(channel main new/main.sock), $(channel cpr new/cpr.sock)]}" >/dev/null
    theirs wait
    theirs 'do' migrate-incoming "{\"channels\": [$(channel main main.sock)]}" >/dev/null
    completed
    echo "old QEMU: $(qmp 'do' query-status)"
    kill -KILL "$new"
    wait "$new" 2>/dev/null || true
    new=''
    qmp 'do' cont >/dev/null 2>&1 || true
    echo "after cont: $(qmp 'do' query-status 2>/dev/null || echo 'QEMU is gone')"
    end
    [ "$status" != 139 ] || died="$died $backend"
done

[ "$died" = ' type1 iommufd' ] || absent "SIGSEGV only with:${died:- neither}"
present "QEMU died by SIGSEGV (139) with:$died; without a VFIO device it ran on"
