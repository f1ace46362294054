#!/bin/sh
# A guest that was reset, and whose firmware has not run kvmvapic's option ROM again, is lost at its next update
# with a device assigned by VFIO (type1): right after a reset, and for good after a suspend to RAM (S3), for a
# resume runs no option ROM.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4; with type1, not with iommufd.
# Expected: new QEMU takes the guest over.
# Came: "vfio_container_dma_map(..., 0x0, 0xc0000, ...) = -22", "vfio: DMA mapping failed, unable to continue",
#   and SIGABRT in new QEMU, after the exec: the guest is lost.
# Cause: the option ROM has kvmvapic make the guest's RAM under it writable (hw/i386/vapic.c,
#   vapic_map_rom_writable(), an alias over c0000-c2fff). A reset sets its state to inactive and leaves the alias
#   where it is. New QEMU, which loads "inactive", makes no alias: RAM ends at bffff for it, and at c2fff in the
#   kernel, which gives new QEMU's addresses only to ranges that are exactly those it has (VFIO_DMA_MAP_FLAG_VADDR).
#   Shown by `info mtree -f` of both QEMUs, and by -global apic-common.vapic=off, with which the guest is taken over.
#   (The names in vapic.c are of older sources; 11.1.3's own was not there to read.)
# Fix: vapic_reset() must take the alias away, as the reset takes everything else back.
# Usage: vapic-reset.sh BDF    (root; a PCI function that nobody uses, alone in its IOMMU group)
. "$(dirname "$0")/common.sh"

[ $# = 1 ] || untried "usage: $0 BDF"
needs /dev/kvm /dev/vfio/vfio /dev/iommu
bind "$1"

# low: what the guest has below 1 MiB, as QEMU maps it: RANGE KIND OF
low() {
    qmp 'do' human-monitor-command '{"command-line": "info mtree -f"}' |
        python3 -IS -c 'import json, sys; print(json.load(sys.stdin).replace("\r", ""))' |
        sed -n '/AS "memory"/,/^$/s/^ *00000000000\(.....\)-00000000000\(.....\) (.*\(r[ao]m\)): \([^ ]*\).*/\1-\2 \3 \4/p'
}

# waits PATTERN COMMAND...: until the command shows it
waits() {
    pattern=$1 tries=0
    shift
    until "$@" | grep -q "$pattern"; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || untried "there is no $pattern in: $("$@")"
        sleep 0.1
    done
}

lost=''
for case in 'type1 on' 'type1 off' 'iommufd on'; do
    backend=${case% *} vapic=${case#* }
    device=$(assigned "$backend" "$1")
    echo "$backend, vapic=$vapic:"
    # shellcheck disable=SC2086
    start "$QEMU" $MACHINE -global apic-common.vapic="$vapic" $device
    # what the firmware does last is to write protect itself
    waits '^f0000-fffff rom ram0' low
    qmp 'do' stop >/dev/null
    qmp 'do' system_reset >/dev/null
    waits prelaunch qmp 'do' query-status
    echo "old QEMU: $(low | head -n 1)"
    qmp update | tee update.log
    if grep -q '^afterwards: QEMU is prelaunch' update.log; then
        echo "new QEMU: $(low | head -n 1)"
    else
        lost="$lost $case;"
    fi
    end
done

[ "$lost" = ' type1 on;' ] || absent "lost with:${lost:- none}"
present "the guest is lost with type1; not with vapic=off, nor with iommufd"
