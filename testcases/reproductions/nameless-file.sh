#!/bin/sh
# QEMU accepts cpr-exec for a guest whose RAM is a file without a name, and new QEMU runs on with empty RAM.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4.
# Expected: the update is refused with a reason; or RAM is kept, as it is when mem-path names a file: with
#   share=on both meet what docs/devel/migration/CPR.rst asks for.
# Came: with mem-path=FOLDER, the usual way to use a hugetlbfs, old QEMU makes a file in it and removes its name;
#   new QEMU makes another one. blocked-reasons is empty, `migrate` is accepted, the update ends well, and what
#   the firmware had written below 640 KiB is gone. (vapic is off as in private-ram.sh, else new QEMU ends.)
# Usage: nameless-file.sh    (root for /dev/kvm)
. "$(dirname "$0")/common.sh"

LOW=655360

# saved FILE: the guest's low memory, as QEMU shows it, and how much of it is not zero
saved() {
    qmp 'do' pmemsave "{\"val\": 0, \"size\": $LOW, \"filename\": \"$1\"}" >/dev/null
    filled=$(tr -d '\0' <"$1" | wc -c)
}

# run PATH WORDS: how RAM was after the update is in `ram`
run() {
    echo "$2:"
    # shellcheck disable=SC2086
    start "$QEMU" -accel kvm -nodefaults -display none -m 64M -global kvm-apic.vapic=off \
        -object "memory-backend-file,id=ram0,size=64M,share=on,mem-path=$1" \
        -machine q35,aux-ram-share=on,memory-backend=ram0 -qmp unix:qmp.sock,server=on,wait=off
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
mkdir files
run "$PWD/files/ram0" "a file with a name"
[ "$ram" = kept ] || untried "a file with a name is $ram"
run "$PWD/files" "a file without a name"
[ "$ram" = lost ] || absent "a file without a name is $ram"
present "a memory file without a name is accepted and lost"
