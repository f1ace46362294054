"""Takes a whole stream and throws it away: run on the bench host, standard library only.

python3 listener.py PATH      prints "ready" when it listens on that unix socket
"""

import socket
import sys


def main(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        print("ready", flush=True)
        stream, _ = listening.accept()
        with stream:
            while stream.recv(1 << 16):
                pass


if __name__ == "__main__":
    main(*sys.argv[1:])
