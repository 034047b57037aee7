"""An attacker over TLS: a process that shakes hands with a wrong certificate, as fast as it is let."""

import contextlib
import os
import socket
import ssl
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event

from tests.bounds.sending import ADDRESS

LONGEST = 5.0  # seconds for one handshake


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaking:
    """How many connections shake hands at a time, and how many alternative names their certificate has."""

    connections: int
    names: int = 1


def shake(port: int, shaking: Shaking, seconds: float, go: Event, results: Connection) -> None:
    """Shake hands for so many seconds from `go` on, and tell how that ended."""
    os.nice(10)
    context = _show(shaking.names)
    counts: Counter[str] = Counter()
    results.send("ready")
    go.wait()
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=_go_on, args=(port, context, end, counts)) for _ in range(shaking.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.send(counts)


def _show(names: int) -> ssl.SSLContext:
    """A caller who trusts everybody, with a certificate of an authority that nobody trusts."""
    import trustme  # it takes long, and other attackers do without

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    leaf = trustme.CA().issue_cert(*(f"{'x' * 40}{number}.example" for number in range(names)))
    with tempfile.NamedTemporaryFile() as file:
        leaf.private_key_and_cert_chain_pem.write_to_path(file.name)
        context.load_cert_chain(file.name)
    return context


def _go_on(port: int, context: ssl.SSLContext, end: float, counts: Counter[str]) -> None:
    while time.monotonic() < end:
        counts[_shake_once(port, context)] += 1


def _shake_once(port: int, context: ssl.SSLContext) -> str:
    """What came of it. By TLS 1.3 a caller learns with its first read that its certificate is wrong."""
    with contextlib.closing(socket.socket()) as plain:
        plain.settimeout(LONGEST)
        try:
            plain.bind((ADDRESS, 0))
            plain.connect(("127.0.0.1", port))
            with context.wrap_socket(plain) as secured:
                secured.sendall(b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\n")
                return secured.recv(99)[9:12].decode() or "closed"
        except TimeoutError:
            return "open"
        except OSError:
            return "refused"
