"""Heads: fields and targets that are dear to read, and requests one behind the other."""

from dataclasses import replace

from tests.bounds.attacks import Attack, get, get_once, head
from tests.bounds.sending import Sending

KIB = 1024
LONG = 60 * KIB
BRIEFLY = 0.6  # seconds: each request is an attack of its own


def _field(name: str, field: str, *, target: str = "/greet/sue") -> Attack:
    """Four callers who send this field all the time."""
    return Attack(name, (Sending(first=get_once(target, field), connections=4),))


def _target(name: str, target: str) -> Attack:
    return Attack(name, (Sending(first=get_once(target), connections=4),), seconds=BRIEFLY)


def _pipeline(name: str, again: bytes, *, first: bytes = b"", connections: int = 20, most: int = 256 * KIB) -> Attack:
    """Requests one behind the other; the connection stays where they have an end."""
    return Attack(name, (Sending(first=first, again=again, most=most, connections=connections),))


FIELDS = (
    _field("16,000 header lines", "\r\n".join(["a:"] * 15_000)),
    _field("7,000 lines of Accept", "\r\n".join(["Accept:"] * 6_000)),
    _field("commas in Accept", "Accept: " + "," * LONG),
    _field("media ranges in Accept", "Accept: " + "a/b;q=0.1," * (LONG // 10)),
    _field("parameters in Content-Type", "Content-Type: a/b" + ";a=b" * (LONG // 4)),
    _field("cookies of 60 KiB", "Cookie: " + "a=b; " * (LONG // 5)),
    _field("a request id of 60 KiB", "X-Request-Id: " + "a" * LONG),
    _field("ranges of bytes", "Range: bytes=" + "0-0," * (LONG // 4)),
    _field("encodings", "Accept-Encoding: " + "gzip;q=0.1," * (LONG // 11)),
    _field("names of fields that stay", "Connection: " + "a," * (LONG // 2)),
    _field("trace states", "\r\n".join(["tracestate: a=b"] * 3_500)),
    _field("many transfer encodings", "Transfer-Encoding: " + "chunked," * (LONG // 8)),
    _field("a timeout of 1 ms", "X-Request-Timeout: 1ms", target="/never/sue"),
    _field("origins and forwarders", "\r\n".join(["X-Forwarded-For: 127.0.0.1", "Origin: http://a"] * 1_200)),
)

TARGETS = (
    _target("32,000 pairs in a query", "/search?" + "q&" * 32_000),
    _target("values of a parameter", "/search?" + "q=1&" * 15_000),
    _target("semicolons and percents in a query", "/search?" + "%26;=" * 12_000),
    _target("a value against a pattern", "/search?tag=" + "a-" * 30_000),
    _target("a number of 60,000 digits", "/search?page=" + "9" * 60_000),
    _target("60,000 slashes", "/" * 60_000),
    _target("segments of one letter", "/greet" + "/a" * 30_000),
    _target("names that are percent-encoded", "/greet/" + "%61" * 20_000),
    _target("names that are no UTF-8", "/greet/" + "%ff" * 20_000),
    _target("dots in a name", "/greet/" + "." * 60_000),
)

HEADS = (
    Attack("heads byte by byte on 300 connections", (Sending(first=get("/") * 99, connections=300, piece=1),)),
    Attack(
        "heads of 60 KiB in pieces on 200 connections",
        (Sending(first=b"GET / HTTP/1.1\r\na: ", again=b"x", most=LONG, connections=200, piece=99),),
    ),
    Attack("a field without end", (Sending(first=b"GET / HTTP/1.1\r\na: ", again=b"x" * 9999, connections=4),)),
    Attack(
        "the name of a field without end", (Sending(first=b"GET / HTTP/1.1\r\n", again=b"x" * 9999, connections=4),)
    ),
    Attack("a method without end", (Sending(first=b"", again=b"A" * 9999, connections=4),)),
    Attack("a target without end", (Sending(first=b"GET /", again=b"a" * 9999, connections=4),)),
    Attack("empty lines before a request", (Sending(first=b"", again=b"\r\n" * 9999, connections=4),)),
    Attack(
        "bytes that are no HTTP", (Sending(first=b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 50, connections=20),)
    ),
    Attack("requests without Host", (Sending(first=b"GET / HTTP/1.1\r\n\r\n", connections=20),)),
    Attack("HTTP/1.0", (Sending(first=b"GET /greet/sue HTTP/1.0\r\n\r\n", connections=20),)),
    Attack("HTTP/3.9", (Sending(first=b"GET / HTTP/3.9\r\nHost: t\r\n\r\n", connections=20),)),
)

_UPGRADE = get("/greet/sue", "Connection: upgrade", "Upgrade: websocket")

PIPELINES = (
    _pipeline("GET / behind a slow request", get("/"), first=get("/slow/sue")),
    _pipeline("GET of a route behind a slow request", get("/greet/x"), first=get("/slow/sue")),
    _pipeline("slow requests behind each other", get("/slow/sue")),
    _pipeline("paths that are not there, without end", get("/nowhere"), connections=4, most=1 << 30),
    _pipeline("GET of a route, without end", get("/greet/x"), connections=4, most=1 << 30),
    _pipeline("HEAD of a route, without end", head("HEAD", "/greet/x"), connections=4, most=1 << 30),
    _pipeline("OPTIONS of a route, without end", head("OPTIONS", "/greet/x"), connections=4, most=1 << 30),
    _pipeline("OPTIONS *, without end", head("OPTIONS", "*"), connections=4, most=1 << 30),
    _pipeline("GET /livez, without end", get("/livez"), connections=4, most=1 << 30),
    _pipeline("offers to upgrade behind each other", _UPGRADE),
    _pipeline("offers to upgrade behind a slow request", _UPGRADE, first=get("/slow/sue")),
    _pipeline("small uploads behind each other", head("POST", "/echo", "Content-Length: 1") + b"x", most=1 << 30),
    _pipeline(
        "request ids of 30 KiB behind each other", get("/greet/x", "X-Request-Id: " + "a" * 30 * KIB), most=1 << 30
    ),
    _pipeline("lines of Accept behind each other", get("/greet/x", *["Accept: a/b"] * 300), most=1 << 30),
    _pipeline("queries of 1,000 pairs behind each other", get("/search?" + "q&" * 1000), most=1 << 30),
    _pipeline("the shortest of requests", b"GET / HTTP/1.1\r\n\r\n", connections=4, most=1 << 30),
)

# The attacker is a proxy that is trusted, and passes on what a stranger has written.
_TRUSTED = {"GATEWAY_TRUSTED_PROXIES": "127.0.0.2,10.0.0.0/8"}
ANNOUNCED = {**_TRUSTED, "GATEWAY_PROXY_PROTOCOL": "on"}
HERE = b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n"
_LONG_HEADER = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x0f\xf0" + b"\x01" * 0xFF0


def _forwarded(name: str, field: str) -> Attack:
    """The same as `_field`, of a proxy that is trusted."""
    return replace(_field(name, field), settings=_TRUSTED)


def _announced(name: str, sending: Sending) -> Attack:
    return Attack(name, (sending,), settings=ANNOUNCED)


PROXIES = (
    _forwarded("trusted addresses in X-Forwarded-For", "X-Forwarded-For: 192.0.2.1" + ",10.0.0.9" * (LONG // 9)),
    _forwarded("colons in X-Forwarded-For", "X-Forwarded-For: " + ":" * LONG),
    _forwarded(
        "hosts and schemes", "X-Forwarded-Host: " + "a," * (LONG // 4) + "\r\nX-Forwarded-Proto: " + "," * (LONG // 2)
    ),
    _forwarded("parameters in Forwarded", "Forwarded: " + "a=b;" * (LONG // 4)),
    _forwarded("quotes in Forwarded", "Forwarded: " + 'for="' * (LONG // 5)),
    _forwarded("fields of Forwarded", "\r\n".join(["Forwarded: for=10.0.0.9"] * 240)),
    _announced("PROXY headers byte by byte on 300 connections", Sending(first=_LONG_HEADER, connections=300, piece=1)),
    _announced("PROXY headers without an end on 1,000 connections", Sending(first=_LONG_HEADER[:-1], connections=1000)),
    _announced("PROXY headers that are broken", Sending(first=b"PROXY TCP4 x\r\n", connections=20)),
    _announced("PROXY headers behind each other", Sending(first=HERE, again=HERE, connections=20)),
    _announced(
        "requests behind a PROXY header, without end",
        Sending(first=HERE, again=get("/greet/x"), connections=4, most=1 << 30),
    ),
)
