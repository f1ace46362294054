#!/bin/sh
# QEMU accepts cpr-exec for a guest whose auxiliary RAM is private, and new QEMU runs on with an empty screen.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4.
# Expected: the update is refused with a reason, as cpr-transfer is; or a device's RAM is kept, as with
#   -machine aux-ram-share=on.
# Came: guest RAM is shared and kept; blocked-reasons is empty, `migrate` is accepted, the update ends well, and
#   what stood in the RAM of the VGA card (the firmware's text) is gone.
# Cause: ram_block_add_cpr_blocker() (system/physmem.c; its message is line 4483) adds "Memory region ... is not
#   compatible with CPR" for MIG_MODE_CPR_TRANSFER alone: mov $0x4,%esi at 0x89998d of Debian's binary.
# Fix: for BIT(MIG_MODE_CPR_TRANSFER) | BIT(MIG_MODE_CPR_EXEC). Tried in a copy of the binary (FIX=1): the update
#   is refused, with that reason.
# Usage: aux-ram.sh    (root for /dev/kvm)
. "$(dirname "$0")/common.sh"

# the text screen of a VGA card, in its RAM
TEXT=753664 BYTES=4000

program=$QEMU
# run AUX: how the screen was after the update is in `screen`
run() {
    echo "aux-ram-share=$1:"
    # shellcheck disable=SC2086
    start "$program" $(echo "$MACHINE" | sed "s/aux-ram-share=on/aux-ram-share=$1/") -device VGA
    letters=0 tries=0
    while [ "$letters" -lt 40 ]; do
        tries=$((tries + 1))
        [ $tries -lt 40 ] || untried "the firmware writes nothing on the screen"
        saved before "$TEXT" $BYTES
        letters=$(tr -cd 'A-Za-z' <before | wc -c)
    done
    qmp 'do' stop >/dev/null
    saved ram-before 0 $LOW
    saved before "$TEXT" $BYTES
    echo "before: $(tr -cd 'A-Za-z' <before | wc -c) letters on the screen"
    qmp update | tee update.log
    grep -q '^afterwards: QEMU is paused' update.log || { end && screen='not to be seen' && return; }
    saved after "$TEXT" $BYTES
    echo "after: $(tr -cd 'A-Za-z' <after | wc -c) letters"
    saved ram-after 0 $LOW
    if cmp -s ram-before ram-after; then echo "guest RAM is kept"; else echo "guest RAM is lost"; fi
    if cmp -s before after; then screen=kept; else screen=lost; fi
    end
}

needs /dev/kvm
run on
[ "$screen" = kept ] || untried "with aux-ram-share=on the screen is $screen"
run off
was=$screen
# ram_block_add_cpr_blocker(): the mask of the modes
if mended 89998d be04000000 be0c000000; then
    echo "with the fix:"
    program=./mended
    run off
fi
screen=$was
[ "$screen" = lost ] || absent "without aux-ram-share the screen is $screen"
present "the RAM of a VGA card is accepted and lost"
