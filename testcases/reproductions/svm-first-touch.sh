#!/bin/sh
# KVM on an emulated AMD host ends a guest that touches device registers right after an exception of its own.
#
# Seen on: Linux 7.3.4 under QEMU 11.1.3's TCG (Debian 1:11.1.3+ds-1~bpo13+1), -cpu max.
# Expected: the guest's write is emulated, as it is on a real processor.
# Came: "KVM internal error. Suberror: 3" (delivery of an event). KVM's svm_check_emulate_instruction looks at
#   EXITINTINFO.TYPE and not at EXITINTINFO.V; TCG's do_interrupt_all clears nothing but V when an exception has
#   been delivered. It takes an exception, no exit after it, and the first write into a page: so a guest is lost
#   at its boot or right after an update, now and then, and the more seldom the busier the host is.
# Mended by: images/kernel.patch (the bench kernel has it); or by clearing EVENTINJ as a whole in QEMU.
# Usage: svm-first-touch.sh    (root for /dev/kvm)
. "$(dirname "$0")/common.sh"

needs /dev/kvm
# 64 KiB of firmware in real mode; for each page of c000:0 to df00:0, where nothing is: int 0x40, then a write
head -c 65536 /dev/zero >firmware
printf '\061\300\216\330\216\320\274\000\160\307\006\000\001\056\000\307\006\002\001\000\360\270\000\300\315\100' >code
printf '\216\300\315\100\046\242\000\000\005\000\001\075\000\340\162\360\372\364\353\374\317' >>code
dd if=code of=firmware conv=notrunc status=none
printf '\351\015\000' | dd of=firmware bs=1 seek=65520 conv=notrunc status=none

start "$QEMU" -accel kvm -nodefaults -display none -m 64M -machine q35 -bios firmware \
    -qmp unix:qmp.sock,server=on,wait=off
tries=0 state=''
while [ -z "$state" ]; do
    tries=$((tries + 1))
    [ $tries -lt 50 ] || untried "the firmware does not come to its end"
    case $(qmp 'do' query-status '{}')$(qmp 'do' human-monitor-command '{"command-line": "info registers"}') in
        *internal-error*) state=lost ;;
        *HLT=1*) state=alive ;;
    esac
done
end
[ "$state" = lost ] || absent "the guest came to its end"
grep -m 1 'KVM internal error' qemu.log
present "the guest is lost: $(grep -m 1 'KVM internal error' qemu.log)"
