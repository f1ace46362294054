#!/bin/sh
# QEMU loses a guest with a pty chardev that has a path, in an update by cpr-exec that it accepted.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4.
# Expected: new QEMU makes the link anew; or the update is refused with a reason.
# Came: blocked-reasons is empty and `migrate` is accepted. Old QEMU removes its link only when it ends by itself,
#   which over an exec it never does; new QEMU finds it, and ends.
# Cause: pty_chr_open() (chardev/char-pty.c:368) makes the link by symlink(), which fails if there is one; who removes
#   it, char_pty_finalize(), does not run before an exec.
# Fix (inferred): remove it first in pty_chr_open() when it is of an incoming CPR (cpr_is_incoming()).
# Mended by: removing the link before new QEMU starts (tried below with a command that does it, then execs QEMU).
# Usage: pty-path.sh    (root for /dev/kvm)
. "$(dirname "$0")/common.sh"

EXISTS='Failed to create PTY symlink: File exists'

run() {
    rm -f link
    # shellcheck disable=SC2086
    start "$QEMU" $MACHINE -chardev pty,id=c,path=link -device virtio-serial -device virtserialport,chardev=c
    qmp update "$@" | tee update.log
    end
}

needs /dev/kvm
run
grep -q '^migrate: accepted' update.log && grep -q '^afterwards: QEMU is gone' update.log ||
    absent 'the guest is not lost'
grep -qF "$EXISTS" qemu.log || untried "QEMU ended over something else"

echo 'the link removed in between:'
# shellcheck disable=SC2086
run sh -c 'rm -f link; exec "$0" "$@"' "$QEMU" $MACHINE -chardev pty,id=c,path=link -device virtio-serial \
    -device virtserialport,chardev=c -incoming file:vm.state
grep -q '^afterwards: QEMU is running' update.log || untried 'the guest is lost without the link, too'
present "guest lost; $EXISTS"
