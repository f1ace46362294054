#!/bin/sh
# QEMU loses a guest over a socket that it connected to when it started, in an update by cpr-exec that it accepted.
#
# Seen on: QEMU 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1), Linux 7.3.4.
# Expected: the connection is kept ("chardev descriptors remain open and connected"); or the update is refused.
# Came: blocked-reasons is empty and `migrate` is accepted; the descriptor is closed by the exec, and new QEMU connects
#   again. Who listened once (`nc -l`) does not listen any more: new QEMU ends. With reconnect-ms= it lives.
# Cause: qmp_chardev_open_socket_client() connects anew in new QEMU; unix_connect_saddr() (util/qemu-sockets.c:1094) fails,
#   and without reconnect-ms= that ends QEMU. CPR hands over no descriptor of a chardev.
# Fix (inferred): hand the connection's descriptor over (cpr_save_fd()), as the proposal's chardev patches meant to.
# Usage: client-chardev.sh    (root for /dev/kvm)
. "$(dirname "$0")/common.sh"

# run OPTIONS: a guest with a client of a listener that takes one client, while both live
run() {
    rm -f far
    python3 -c '
import socket
listener = socket.socket(socket.AF_UNIX)
listener.bind("far")
listener.listen()
connection, _ = listener.accept()
listener.close()
while connection.recv(4096):
    pass' &
    far=$!
    while [ ! -S far ]; do
        kill -0 $far || untried 'nobody listens'
    done
    # shellcheck disable=SC2086
    start "$QEMU" $MACHINE -chardev "socket,id=c,path=far$1" -device virtio-serial -device virtserialport,chardev=c
    rm far
    qmp update | tee update.log
    end
    wait $far
}

needs /dev/kvm
run ''
grep -q '^migrate: accepted' update.log && grep -q '^afterwards: QEMU is gone' update.log ||
    absent 'the guest is not lost'
grep -q "Failed to connect to 'far'" qemu.log || untried 'QEMU ended over something else'
echo 'with reconnect-ms=1000:'
run ,reconnect-ms=1000
grep -q '^afterwards: QEMU is running' update.log || untried 'the guest is lost with reconnect-ms=, too'
present "guest lost; Failed to connect to 'far'"
