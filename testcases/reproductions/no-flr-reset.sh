#!/bin/sh
# QEMU loses a guest to cpr-exec when a PCI function without FLR, or without any reset, is assigned by VFIO:
# new QEMU prepares it for a hot reset, and so takes memory decoding and bus mastering from it.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4; with type1 and with iommufd; functions
#   with a PM reset but no FLR (e1000e, virtio with x-pcie-flr-init=off), functions without a reset.
# Expected: COMMAND of the function after the update as before it. So it is for an igb, which has FLR.
# Came: COMMAND is 0100 before new QEMU loads any state, and stays so. The next access to a BAR ends QEMU by
#   SIGBUS; a guest that makes it gets "kvm run failed Bad address". A guest with a driver had 0507, so its
#   DMA ends, too. If two such functions of one slot are in the guest, both are really reset ("reset done" in
#   the host's kernel log).
# Cause: the trace says that vfio_device_reset_handler() (hw/vfio/device.c) runs in new QEMU before any state is
#   loaded, does a "multi" hot reset, and that COMMAND is written in there; vfio_pci_reset() does nothing, as it should.
#   By upstream's source vfio_pci_compute_needs_reset() asks for it if !reset_works, or without FLR but with a PM
#   reset; vfio_pci_pre_reset() clears the bits; a function that is alone is not reset then, and nothing gives the bits
#   back. vfio_pci_reset() heeds cpr_is_incoming(), the handler does not.
# Fix: the handler must do nothing if cpr_is_incoming(). Tried (FIX=1) with new QEMU from a copy of the binary whose
#   handler does nothing at all: the function keeps its COMMAND.
# Usage: no-flr-reset.sh BDF    (root; a PCI function with a memory BAR that nobody uses, alone in its IOMMU
#   group; one with FLR is lost only where the script switches its resets off)
. "$(dirname "$0")/common.sh"

TRACE='-D new.log -trace vfio_check_p* -trace vfio_device_get -trace vfio_device_reset_handler
    -trace vfio_pci_reset* -trace vfio_pci_hot_reset* -trace vfio_pci_write_config
    -trace qemu_loadvm_state_section_startfull'

[ $# = 1 ] || untried "usage: $0 BDF"
needs /dev/kvm /dev/vfio/vfio /dev/iommu
bind "$1"
methods=$(cat "$function/reset_method")
trap 'echo "$methods" >"$function/reset_method" || true; cleanup' EXIT

command_register() { od -An -j4 -N2 -tx2 "$function/config" | tr -d ' '; }
decodes() { [ $((0x$(command_register) & 2)) != 0 ]; }
monitor() { qmp 'do' human-monitor-command "{\"command-line\": \"$*\"}" 2>/dev/null; }

# its first memory BAR in the guest, once the firmware has switched it on
bar() {
    monitor info pci | sed 's/\\r\\n/\n/g' |
        sed -n '/device  16,/,/ id /s/.* memory at \(0x[0-9a-f]*\) .*/\1/p' | sed -n '1{/^0xffffffff/!p}'
}

look() {
    register=$(command_register)
    read=$(monitor "xp /1wx $address") || read='"ended QEMU'
    printf '%s: COMMAND %s; read of a BAR: %s\n' "$1" "$register" "$(printf %s "${read#?}" | sed 's/\\r.*//')"
}

lost='' next=$QEMU
# try BACKEND METHODS: update once, with these resets
try() {
    echo "$1, resets: ${2:-none}"
    echo "$2" >"$function/reset_method"
    device=$(assigned "$1" "$bound,addr=0x10")
    # shellcheck disable=SC2086
    start "$QEMU" $MACHINE $device
    patience=150
    until address=$(bar) && [ -n "$address" ] && decodes; do
        [ $((patience -= 1)) -gt 0 ] || untried "the guest's firmware did not switch a memory BAR on"
        sleep 0.2
    done
    look before
    # shellcheck disable=SC2086
    qmp update "$next" $MACHINE $device $TRACE -incoming file:vm.state | tee update.log
    grep -q '^afterwards: QEMU is running' update.log || { end && untried "the update failed"; }
    kept=yes
    decodes || kept=no
    look after
    sed '/qemu_loadvm/q' new.log
    end
    [ $kept = no ] || return 0
    grep -q '^vfio_pci_hot_reset .* multi' new.log || untried "memory decoding was lost in another way"
    lost="$lost $1, resets: ${2:-none};"
}

for backend in type1 iommufd; do
    try $backend "$methods"
    try $backend ''
done

# vfio_device_reset_handler(): ret
if mended 81c5c4 8b c3; then
    broken=$lost lost='' next=$work/mended
    for backend in type1 iommufd; do
        echo "with the fix:"
        try $backend ''
    done
    echo "with the fix memory decoding is lost:${lost:- never}"
    lost=$broken
fi

[ -n "$lost" ] || absent "memory decoding is on after all updates"
present "memory decoding lost:$lost"
