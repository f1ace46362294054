"""Unix stream sockets of a host, through its ssh server: no program is started there for it."""

import socket
import threading
from contextlib import suppress
from typing import Any

import paramiko
from paramiko.common import cMSG_CHANNEL_OPEN

_CHUNK_BYTES = 1 << 16
_LOST = (OSError, EOFError, paramiko.SSHException)


def open_channel(connected: paramiko.Transport, path: str, timeout_s: float) -> paramiko.Channel:
    """Open a channel to a unix socket on the host.

    paramiko 5 knows no payload for this channel type, so the message is built here from its parts;
    delete this when `Transport.open_channel` learns it.
    Source: OpenSSH PROTOCOL section 2.4; paramiko 5.1 Transport.open_channel.

    Raises:
        paramiko.ChannelException: refused, as nothing listens on `path` or the server forbids it.
        paramiko.SSHException: the connection is lost, or no answer came.
    """
    transport: Any = connected  # its parts are private, and its stubs do not know them
    with transport.lock:
        number = transport._next_channel()
        message = paramiko.Message()
        message.add_byte(cMSG_CHANNEL_OPEN)
        message.add_string("direct-streamlocal@openssh.com")
        message.add_int(number)
        message.add_int(transport.default_window_size)
        message.add_int(transport.default_max_packet_size)
        message.add_string(path)
        message.add_string("")  # reserved
        message.add_int(0)  # reserved
        channel: Any = paramiko.Channel(number)
        transport._channels.put(number, channel)
        transport.channel_events[number] = answered = threading.Event()
        transport.channels_seen[number] = True
        channel._set_transport(transport)
        channel._set_window(transport.default_window_size, transport.default_max_packet_size)
    transport._send_user_message(message)
    if not answered.wait(timeout_s) or not transport.is_active():
        raise paramiko.SSHException(f"no answer to opening {path} within {timeout_s:g} s")
    if transport._channels.get(number) is None:
        raise transport.get_exception() or paramiko.ChannelException(2, "connect failed")
    return channel  # type: ignore[no-any-return]


def as_socket(channel: paramiko.Channel) -> socket.socket:
    """A local socket whose bytes go through the channel; closing either end closes the other."""
    ours, theirs = socket.socketpair()
    threading.Thread(target=_to_socket, args=(channel, ours), name="ssh to socket", daemon=True).start()
    threading.Thread(target=_to_channel, args=(ours, channel), name="socket to ssh", daemon=True).start()
    return theirs


def _to_socket(channel: paramiko.Channel, ours: socket.socket) -> None:
    with suppress(*_LOST):
        while data := channel.recv(_CHUNK_BYTES):
            ours.sendall(data)
    with suppress(OSError):
        ours.shutdown(socket.SHUT_RDWR)  # also wakes the other pump


def _to_channel(ours: socket.socket, channel: paramiko.Channel) -> None:
    with suppress(*_LOST):
        while data := ours.recv(_CHUNK_BYTES):
            channel.sendall(data)
    channel.close()
    ours.close()
