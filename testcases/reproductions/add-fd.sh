#!/bin/sh
# QEMU loses a guest that was given a descriptor by -add-fd, in an update by cpr-exec that it accepted.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4.
# Expected: new QEMU has the descriptor set, or the update is refused with a reason.
# Came: blocked-reasons is empty and `migrate` is accepted; old QEMU keeps a duplicate of the descriptor in its set
#   and closes the one that it inherited, so its number means nothing in new QEMU, which ends.
# Cause: parse_add_fd() (system/vl.c:608) refuses a number that is no open descriptor, or one with FD_CLOEXEC; the
#   duplicate in the set was made with F_DUPFD_CLOEXEC, and CPR does not hand sets over.
# Fix (inferred): save each descriptor of a set by cpr_save_fd() and find it by cpr_find_fd() in parse_add_fd(); until
#   then a blocker for cpr-exec (migrate_add_blocker_modes()) where there is a set.
# Usage: add-fd.sh    (root for /dev/kvm)
. "$(dirname "$0")/common.sh"

SAYS='fd is not valid or already in use'

needs /dev/kvm
echo something >given
exec 9<given
# shellcheck disable=SC2086
start "$QEMU" $MACHINE -add-fd fd=9,set=1
qmp update | tee update.log
end
{ grep -q '^migrate: accepted' update.log && grep -q '^afterwards: QEMU is gone' update.log &&
    grep -qF "$SAYS" qemu.log; } || absent "the guest is not lost by -add-fd"
present "guest lost; $SAYS"
