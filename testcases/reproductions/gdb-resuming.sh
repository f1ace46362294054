#!/bin/sh
# A debugger that connects to new QEMU before the guest's state is loaded, and says "continue", starts the guest
# without it: what comes then can no longer be loaded, or is loaded into a machine that runs.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 6.18.44 and 7.3.4; by cpr-exec with a debugger that connects
#   again at once, when it won the race: RESUME by QMP before the state was loaded, "Region caches not initialized"
#   from virtio, and the guest never answered again.
# Expected: the guest starts once it is loaded, as after QMP's cont: "inmigrate" until then.
# Came: "running" at once; then migrate-incoming: "'-incoming' was not specified on the command line".
# Cause: gdb_continue() (gdbstub/system.c) calls vm_start() whatever the runstate, where qmp_cont()
#   (monitor/qmp-cmds.c) only sets autostart while it is RUN_STATE_INMIGRATE. (Names of older sources.)
# Fix: the same in gdb_continue() and gdb_continue_partial().
# Usage: gdb-resuming.sh    (root for /dev/kvm)
. "$(dirname "$0")/common.sh"

# continues: a debugger's first words: why is it stopped, and let it run
continues() {
    python3 -IS - <<'PYTHON'
import socket

gdb = socket.socket(socket.AF_UNIX)
gdb.settimeout(30)
gdb.connect("gdb.sock")


def said(end):
    came = b""
    while end not in came:
        more = gdb.recv(4096)
        if not more:
            raise SystemExit("QEMU ended the debugger's connection")
        came += more


gdb.sendall(b"$?#3f")
said(b"#")
gdb.sendall(b"+$c#63")
said(b"+")
PYTHON
}

# tries WHO WORDS...: what lets the guest run; then load its state
tries() {
    who=$1
    shift
    # shellcheck disable=SC2086
    start "$QEMU" $MACHINE -gdb unix:gdb.sock,server=on,wait=off -incoming defer
    "$@" >/dev/null
    after=$(qmp 'do' query-status)
    echo "$who, before its state is loaded: $after"
    echo "migrate-incoming: $(qmp 'do' migrate-incoming '{"uri": "file:vm.state"}' 2>&1 | tail -n 1)"
    end
}

needs /dev/kvm
# shellcheck disable=SC2086
start "$QEMU" $MACHINE
qmp 'do' migrate '{"uri": "file:vm.state"}' >/dev/null
until qmp 'do' query-migrate | grep -q '"completed"'; do sleep 0.1; done
end

tries "QMP's cont" qmp 'do' cont
case $after in *inmigrate*) ;; *) untried "cont does not wait either" ;; esac
tries "a debugger's continue" continues
case $after in *inmigrate*) absent "the guest waits for its state" ;; esac
present "the guest runs without its state"
