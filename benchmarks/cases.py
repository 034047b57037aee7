"""What is measured: each case is one load, on the targets that can take it."""

from dataclasses import dataclass, replace

from benchmarks.instructions import cases as callers
from benchmarks.load import Load

FAST, ASGI = "gateway, fast lane", "gateway, ASGI lane"
FAST_TRACES = "gateway, fast lane, traces at 1 %"
FAST_UNSEEN = "gateway, fast lane, nothing counted"
FAST_COUNTED = "gateway, fast lane, only counted"
FAST_OPEN = "gateway, fast lane, a route without it"
FAST_TIMED = "gateway, fast lane, counted, watched and timed"
SEEN = (FAST_UNSEEN, FAST_COUNTED, FAST_TIMED, FAST_TRACES)
"""The fast lane with less, and with more, of what makes it seen than as it is shipped."""
OTHER_FAST, OTHER_ASGI = "other checkout, fast lane", "other checkout, ASGI lane"
GO, FASTHTTP = "Go net/http + nats.go", "Go fasthttp + nats.go"
NODE, BUN = "Node.js + nats.js", "Bun + nats.js"
FLOOR = "the least Python"
MQ_BRIDGE, MQ_BRIDGE_64 = "mq-bridge (Rust)", "mq-bridge (Rust), 64 batches at a time"
STARLETTE, FASTAPI = "Starlette + nats-py", "FastAPI + nats-py"
FASTSTREAM, NGINX = "FastStream", "nginx, no NATS"
STREAMS, OTHER_STREAMS, NCHAN = "gateway, streams", "other checkout, streams", "nginx with nchan, no NATS"
FANNED = (STREAMS, OTHER_STREAMS, NCHAN)
"""The targets of a fan-out, in `benchmarks/fanout.py`."""

WITHOUT = (FAST_OPEN, GO)
"""What is sent the same requests, and has an open route for them."""

BRIDGES = (FAST, ASGI, GO, FASTAPI)
LEAST = (FASTHTTP, NODE, BUN, FLOOR)
"""The peers that have only `greet`, `echo` and `nobody`, as benchmarks/README.md says."""
TRACED = (
    "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "Tracestate: vendor=00f067aa0ba902b7",
    "X-Request-Id: 7f3c9b52-2a43-4f6e-9b0e-6f1d2c3b4a59",
)
JSON = ("Content-Type: application/json",)
ORDER = b'{"item":"tea","amount":2}'


@dataclass(frozen=True, slots=True)
class Case:
    """`extra_routes` stand in the table beside those that are measured. Where there is `open_path`, targets that do
    WITHOUT are asked for that."""

    name: str
    load: Load
    targets: tuple[str, ...] = BRIDGES
    extra_routes: int = 0
    workers: int = 1
    open_path: str | None = None

    def choose_load(self, target: str) -> Load:
        return replace(self.load, path=self.open_path) if self.open_path and target in WITHOUT else self.load

    def takes(self, target: str) -> bool:
        return {OTHER_FAST: FAST, OTHER_ASGI: ASGI}.get(target, target) in self.targets


def _greet(connections: int, *more: str) -> Case:
    return Case(
        f"greet, {connections:,} connections", Load("/greet/{name}", connections), (*BRIDGES, *LEAST, MQ_BRIDGE, *more)
    )


def _caller(name: str, headers: tuple[str, ...], *more: str) -> Case:
    """A greet as this caller sends it, with the headers whose instructions are counted too."""
    return Case(name, Load("/greet/{name}", headers=headers), (*BRIDGES, *LEAST, MQ_BRIDGE, *more))


def _echo(size: int, name: str, *more: str) -> Case:
    connections = 8 if size > 100_000 else 64
    load = Load("/echo", connections, "POST", bytes(size), ("Content-Type: application/octet-stream",))
    return Case(f"POST {name}", load, (*BRIDGES, *more))


def _blob(size: int, name: str) -> Case:
    return Case(f"reply of {name}", Load(f"/blob/{size}", 8 if size > 100_000 else 64))


def _edge(name: str, load: Load) -> Case:
    return Case(name, load, (FAST, ASGI, *WITHOUT), open_path="/greet/{name}")


CASES = (
    _greet(1, NGINX),
    _greet(8, NGINX),
    _greet(64, MQ_BRIDGE_64, *SEEN, STARLETTE, FASTSTREAM, NGINX),
    _greet(256, NGINX),
    _greet(1000, NGINX),
    _caller("curl", callers.CURL),
    _caller("browser", callers.BROWSER, STARLETTE, FASTSTREAM, NGINX),
    _caller("proxied", callers.PROXIED),
    Case("greet, 64 callers with pauses", Load("/greet/{name}", pause=8), (FAST, ASGI, GO)),
    Case("a service that takes 100 ms", Load("/slow/sue"), (FAST, GO, MQ_BRIDGE, MQ_BRIDGE_64)),
    Case("POST 100 bytes", Load("/echo", 64, "POST", ORDER.ljust(100), callers.JSON), (*BRIDGES, *LEAST, MQ_BRIDGE)),
    _echo(1 << 10, "1 KiB", *LEAST, MQ_BRIDGE),
    _echo(64 << 10, "64 KiB"),
    _echo(900 << 10, "900 KiB"),
    _blob(1 << 10, "1 KiB"),
    _blob(64 << 10, "64 KiB"),
    _blob(900 << 10, "900 KiB"),
    Case("one of 20 routes", Load("/extra1/greet/{name}"), (FAST, GO, FASTAPI), extra_routes=9),
    Case("one of 10,000 routes", Load("/extra5000/greet/{name}"), (FAST, GO, FASTAPI), extra_routes=9_989),
    Case("headers forwarded", Load("/traced/{name}", headers=TRACED)),
    _edge("API key", Load("/key/{name}", credentials="api-key")),
    _edge("token (RS256), always the same", Load("/token/{name}", credentials="token")),
    _edge("token (RS256), always a new one", Load("/token/{name}", credentials="new-tokens")),
    _edge("CORS", Load("/cors/{name}", headers=("Origin: https://app.example.com",))),
    _edge("rate limit", Load("/limited/{name}")),
    Case("typed parameters", Load("/typed/42?limit=20&deep=true"), (FAST, ASGI, FASTAPI)),
    Case("body checked by schema", Load("/orders", 64, "POST", ORDER, JSON)),
    Case("gather of 10 replies", Load("/many/{name}"), (FAST, ASGI, GO)),
    Case("publish", Load("/published", 64, "POST", ORDER), (FAST, ASGI, GO)),
    Case("publish to a stream", Load("/stored", 64, "POST", ORDER), (FAST, ASGI, GO)),
    Case("no responders", Load("/nobody/{name}", fails=True), (*BRIDGES, *LEAST)),  # a storm: the log sums it up
    Case("not found", Load("/nothing/{name}", fails=True), (*BRIDGES, *LEAST)),
    Case("a parameter that is not a number", Load("/typed/{name}", fails=True), (FAST, ASGI, FASTAPI)),
    Case("two workers", Load("/greet/{name}"), workers=2),
)
