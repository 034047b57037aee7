"""Connections: how many, how long, and how they end; answers that nobody reads."""

from tests.bounds.attacks import STORM, Attack, get, get_once, head
from tests.bounds.sending import Sending

MOST = 1 << 30

CONNECTIONS = (
    Attack("no attack: a caller who waits between two requests", (Sending(first=get_once("/greet/sue"), pause=0.01),)),
    Attack("5,000 connections at once", (Sending(first=b"", connections=5000),), seconds=2, prompt=STORM),
    Attack(
        "5,000 idle connections, one after the other",
        (Sending(first=b"", connections=5000, rate=2000),),
        seconds=4,
        prompt=STORM,
    ),
    Attack(
        "5,000 connections that are idle after an answer",
        (Sending(first=get("/greet/sue"), connections=5000, rate=1500),),
        seconds=4.5,
        prompt=STORM,
    ),
    Attack("connections that close at once", (Sending(first=b"\r", connections=20, then="close"),), prompt=STORM),
    Attack("connections that are reset at once", (Sending(first=b"G", connections=20, then="reset"),), prompt=STORM),
    Attack("connections for a request each", (Sending(first=get_once("/greet/sue"), connections=50),)),
    Attack("requests that are reset", (Sending(first=get("/greet/sue"), connections=20, then="reset"),), prompt=STORM),
    Attack(
        "slow requests that are reset", (Sending(first=get("/slow/sue"), connections=50, then="reset"),), prompt=STORM
    ),
    Attack(
        "uploads that are reset",
        (Sending(first=head("POST", "/echo", "Content-Length: 99999") + b"x" * 9999, connections=20, then="reset"),),
        prompt=STORM,
    ),
    Attack(
        "1,000 half-closed callers",
        (Sending(first=get("/slow/sue"), connections=1000, then="half-close"),),
        prompt=STORM,
    ),
    Attack(
        "half-closed callers, one behind the other",
        (Sending(first=get("/greet/sue"), connections=20, then="half-close"),),
    ),
    Attack(
        "more connections than there may be, and none idle",
        (Sending(first=head("POST", "/nowhere", "Content-Length: 2") + b"x", connections=400, reopens=False),),
        settings={"GATEWAY_MAX_CONNECTIONS": "200"},
        seconds=2.5,
    ),
    Attack(
        "more connections than there may be, all idle",
        (Sending(first=b"", connections=400, reopens=False),),
        settings={"GATEWAY_MAX_CONNECTIONS": "200"},
        seconds=2.5,
    ),
)

UNREAD = (
    Attack(
        "large replies that 100 callers don't read", (Sending(first=get("/large/x"), connections=100, reads=False),)
    ),
    Attack(
        "large replies, one behind the other, that nobody reads",
        (Sending(first=b"", again=get("/large/x"), most=100_000, connections=10, reads=False),),
    ),
    Attack(
        "answers of a route that nobody reads",
        (Sending(first=b"", again=get("/greet/x"), most=MOST, connections=20, reads=False),),
    ),
    Attack(
        "problems that nobody reads",
        (Sending(first=b"", again=get("/nowhere"), most=MOST, connections=20, reads=False),),
    ),
    Attack(
        "/openapi.json that nobody reads",
        (Sending(first=b"", again=get("/openapi.json"), most=MOST, connections=20, reads=False),),
    ),
    Attack(
        "the files of /docs that nobody reads",
        (
            Sending(
                first=b"",
                again=get("/docs/assets/swagger-ui-bundle.js"),
                most=MOST,
                connections=20,
                reads=False,
            ),
        ),
    ),
    Attack("/docs for 20 callers", (Sending(first=get_once("/docs"), connections=20),)),
    Attack("/openapi.json for 20 callers", (Sending(first=get_once("/openapi.json"), connections=20),)),
    Attack("/problems for 20 callers", (Sending(first=get_once("/problems"), connections=20),)),
    Attack("/metrics for 200 callers", (Sending(first=get_once("/metrics"), connections=200),), prompt=STORM),
    Attack(
        "/metrics that nobody reads",
        (Sending(first=b"", again=get("/metrics"), most=MOST, connections=20, reads=False),),
    ),
    Attack("/status/data for 20 callers", (Sending(first=get_once("/status/data"), connections=20),)),
    Attack(
        "200 who watch the status page",
        (Sending(first=get("/status/events"), connections=200, reopens=False),),
        seconds=3,
        prompt=STORM,
    ),
    Attack(
        "200 who watch the status page and read nothing",
        (Sending(first=get("/status/events"), connections=200, reads=False, reopens=False),),
        seconds=3,
        prompt=STORM,
    ),
    Attack(
        "watchers of the status page that are reset",
        (Sending(first=get("/status/events"), connections=50, then="reset"),),
        prompt=STORM,
    ),
)
