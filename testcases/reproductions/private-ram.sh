#!/bin/sh
# QEMU accepts cpr-exec for a guest whose RAM is private memory, and new QEMU runs on with empty RAM.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4.
# Expected: the update is refused with a reason, as cpr-transfer is; or RAM is kept, as with share=on.
# Came: blocked-reasons is empty, `migrate` is accepted, the update ends well, and what the firmware had
#   written below 640 KiB is gone. (With vapic on, its default, new QEMU misses what it had written into
#   RAM and ends: "error while loading state ... of device 'kvm-tpr-opt'"; the guest is lost either way.)
# Usage: private-ram.sh    (root for /dev/kvm)
. "$(dirname "$0")/common.sh"

LOW=655360
PRIVATE='-accel kvm -nodefaults -display none -m 64M -machine q35 -global kvm-apic.vapic=off
    -qmp unix:qmp.sock,server=on,wait=off'

# saved FILE: the guest's low memory, as QEMU shows it, and how much of it is not zero
saved() {
    qmp 'do' pmemsave "{\"val\": 0, \"size\": $LOW, \"filename\": \"$1\"}" >/dev/null
    filled=$(tr -d '\0' <"$1" | wc -c)
}

# run RAM MACHINE: how RAM was after the update is in `ram`
run() {
    echo "$1 memory:"
    # shellcheck disable=SC2086
    start "$QEMU" $2
    filled=0 tries=0
    while [ "$filled" -lt 1000 ]; do
        tries=$((tries + 1))
        [ $tries -lt 20 ] || untried "the firmware writes nothing"
        saved before
    done
    qmp 'do' stop >/dev/null
    saved before
    echo "before: $filled of the first $LOW bytes are not zero"
    qmp update | tee update.log
    grep -q '^afterwards: QEMU is paused' update.log || { end && ram='not to be seen' && return; }
    saved after
    echo "after: $filled of them are not zero"
    if cmp -s before after; then ram=kept; else ram=lost; fi
    end
}

needs /dev/kvm
run shared "$MACHINE -global kvm-apic.vapic=off"
[ "$ram" = kept ] || untried "shared memory is $ram"
run private "$PRIVATE"
[ "$ram" = lost ] || absent "private memory is $ram"
present "private memory is accepted and lost"
