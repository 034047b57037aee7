"""The ends of a flood. Usage: `publish PORT SUBJECT RATE`, `watch PORT SUBJECT` or `read PORT PATH`.

`publish` sends RATE messages a second to NATS, of 100 bytes each. `watch` subscribes to them at NATS; `read` opens a
stream of the gateway. All run until they are ended, or the other side ends the connection.
"""

import socket
import sys
import time

CONNECT = b'CONNECT {"verbose":false}\r\n'
SIZE = 100  # bytes of a payload
STEP = 0.001  # seconds between two writes


def publish(connection: socket.socket, subject: str, rate: str) -> None:
    message = b"PUB %b %d\r\n%b\r\n" % (subject.encode(), SIZE, b"x" * SIZE)
    step = message * round(int(rate) * STEP)
    connection.sendall(CONNECT)
    due = time.monotonic()
    while True:
        connection.sendall(step)
        due += STEP
        time.sleep(max(0.0, due - time.monotonic()))


def watch(connection: socket.socket, subject: str) -> None:
    connection.sendall(b"%bSUB %b 1\r\n" % (CONNECT, subject.encode()))
    _read_all(connection)


def read(connection: socket.socket, path: str) -> None:
    connection.sendall(b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % path.encode())
    _read_all(connection)


def _read_all(connection: socket.socket) -> None:
    while connection.recv(2**20):
        pass


def main() -> None:
    what, port, *arguments = sys.argv[1:]
    with socket.create_connection(("127.0.0.1", int(port))) as connection:
        if what == "publish":
            publish(connection, *arguments)
        elif what == "watch":
            watch(connection, *arguments)
        else:
            read(connection, *arguments)


if __name__ == "__main__":
    main()
