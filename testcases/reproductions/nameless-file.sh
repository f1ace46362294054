#!/bin/sh
# QEMU accepts cpr-exec for a guest whose RAM is a file without a name, and new QEMU runs on with empty RAM.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4.
# Expected: the update is refused with a reason; or RAM is kept, as it is when mem-path names a file: with
#   share=on both meet what docs/devel/migration/CPR.rst asks for.
# Came: with mem-path=FOLDER, the usual way to use a hugetlbfs, old QEMU makes a file in it and removes its name;
#   new QEMU makes another one. blocked-reasons is empty, `migrate` is accepted, the update ends well, and what
#   the firmware had written below 640 KiB is gone. (vapic is off as in private-ram.sh, else new QEMU ends.)
# Cause: ram_block_add_cpr_blocker() (system/physmem.c) takes any shared memory with a descriptor for memory that new
#   QEMU finds again, which it does by the name in mem-path (and then it opens the file once more, whose old
#   descriptor stays). By cpr-exec it adds no blocker anyway (see private-ram.sh).
# Fix (inferred): hand the descriptor of a memory-backend-file over (cpr_save_fd(), as a memfd's), which would end the
#   leak of a named one as well; until then a blocker where mem-path is a folder.
# Usage: nameless-file.sh    (root for /dev/kvm)
. "$(dirname "$0")/common.sh"

# in_file PATH WORDS: with guest RAM there
in_file() {
    over_update "$2" "$QEMU" -accel kvm -nodefaults -display none -m 64M -global kvm-apic.vapic=off \
        -object "memory-backend-file,id=ram0,size=64M,share=on,mem-path=$1" \
        -machine q35,aux-ram-share=on,memory-backend=ram0 -qmp unix:qmp.sock,server=on,wait=off
}

needs /dev/kvm
mkdir files
in_file "$PWD/files/ram0" "a file with a name"
[ "$ram" = kept ] || untried "a file with a name is $ram"
in_file "$PWD/files" "a file without a name"
[ "$ram" = lost ] || absent "a file without a name is $ram"
present "a memory file without a name is accepted and lost"
