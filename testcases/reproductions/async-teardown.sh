#!/bin/sh
# Under cpr-exec -run-with async-teardown=on leaves a process behind at each update, with all memory of old QEMU.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4.
# Expected: the helper that async-teardown starts, which shares QEMU's address space and waits for QEMU's end,
#   ends when new QEMU has taken old QEMU's place.
# Came: its parent does not end, it execs: the helper waits on, and new QEMU starts one more. Old address
#   spaces (and what they hold, as KVM's page tables) add up, one an update, until QEMU is ended.
# Cause (by upstream's source): the helper of init_async_teardown() (system/async-teardown.c) is a clone with CLONE_VM
#   that waits for its parent's death signal (PR_SET_PDEATHSIG); an exec sends none.
# Fix (inferred): end the helper before the exec, in a migration notifier for MIG_MODE_CPR_EXEC, and start it again if
#   the exec fails; or let it wait for the end of a pipe with O_CLOEXEC.
# Usage: async-teardown.sh    (root for /dev/kvm)
. "$(dirname "$0")/common.sh"

# helpers: how many there are; they call themselves cleanup/PID
helpers() { pgrep -c -f "^cleanup/|^$QEMU.*async-teardown=on" -P "$pid" || true; }

# run WORDS...: updates QEMU twice; how many helpers it has then is in `left`
run() {
    # shellcheck disable=SC2086
    start "$QEMU" $MACHINE "$@"
    echo "started: $(helpers) helpers"
    for update in 1 2; do
        qmp update >update.log || { cat update.log && untried "the update failed"; }
        left=$(helpers)
        echo "after update $update: $left helpers"
    done
    end
}

needs /dev/kvm
echo "without async-teardown:"
run
[ "$left" = 0 ] || untried "QEMU has $left children without it"
echo "with async-teardown:"
run -run-with async-teardown=on
[ "$left" = 3 ] || absent "QEMU has $left helpers after two updates"
present "QEMU has 3 helpers after two updates"
