"""Handshakes: slow ones, wrong ones, and very many. Who is served already hardly notices; new callers wait in line."""

import ssl
from contextlib import suppress

from tests.bounds.attacks import STORM, Attack, get
from tests.bounds.attacks_on_heads import ANNOUNCED, HERE
from tests.bounds.sending import Sending


def make_hello() -> bytes:
    """A right ClientHello."""
    outgoing = ssl.MemoryBIO()
    caller = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        caller.do_handshake()
    return outgoing.read()


HELLO = make_hello()
LONG = b"\x16\x03\x01\x40\x00\x01\x01\x90\x00"  # a ClientHello of 100 KiB begins

HANDSHAKES = (
    Attack(
        "no attack: a caller over HTTPS",
        (Sending(first=b"", connections=1),),
        speaks_tls=True,
    ),
    Attack(
        "5,000 connections that begin no handshake",
        (Sending(first=b"", connections=5000, rate=2000),),
        seconds=4,
        prompt=STORM,
        speaks_tls=True,
    ),
    Attack(
        "2,000 handshakes that are begun and left",
        (Sending(first=HELLO, connections=2000, rate=400, reopens=False),),
        seconds=5,
        prompt=STORM,
        speaks_tls=True,
    ),
    Attack(
        "handshakes that are begun and reset",
        (Sending(first=HELLO, connections=20, then="reset"),),
        prompt=STORM,
        speaks_tls=True,
    ),
    Attack(
        "handshakes byte by byte on 300 connections",
        (Sending(first=HELLO, connections=300, piece=1, pause=0.01),),
        seconds=2,
        prompt=STORM,
        speaks_tls=True,
    ),
    Attack(
        "more handshakes than there may be connections",
        (Sending(first=HELLO, connections=400),),
        settings={"GATEWAY_MAX_CONNECTIONS": "200"},
        seconds=2.5,
        prompt=STORM,
        speaks_tls=True,
    ),
    Attack(
        "handshakes behind a PROXY header, begun and left",
        (Sending(first=HERE + HELLO, connections=400),),
        settings=ANNOUNCED,
        prompt=STORM,
        speaks_tls=True,
    ),
    Attack(
        "a ClientHello that says it is long, on 500 connections",
        (Sending(first=LONG, connections=500, rate=1000),),
        prompt=STORM,
        speaks_tls=True,
    ),
    Attack(
        "plain HTTP where TLS is spoken",
        (Sending(first=get("/greet/sue"), connections=20),),
        prompt=STORM,
        speaks_tls=True,
    ),
)
