"""A caller in a process of its own: how long it waits, whatever the gateway is doing.

`python -m tests.process.bystander HOST PORT` asks for /livez again and again until its standard input ends, then prints
the longest wait, in seconds, of each caller: CALLERS of them, since with workers each has its own.
"""

import socket
import sys
import threading
import time

CALLERS = 4
REST = 0.005  # seconds between an answer and the next request


def main() -> None:
    stop = threading.Event()
    waits: list[float] = []
    threads = [threading.Thread(target=_ask, args=(waits, stop)) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    print(max(waits))


def _ask(waits: list[float], stop: threading.Event) -> None:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60) as connection:
        while not stop.wait(REST):
            started = time.monotonic()
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(65536)
            waits.append(time.monotonic() - started)


if __name__ == "__main__":
    main()
