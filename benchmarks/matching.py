"""What it costs to find a route, and to begin a request, among 10, 1,000 and 10,000: `python -m benchmarks.matching`.

No I/O. Each figure is the median of ROUNDS rounds, in turn for each size; the bracket has the least and the greatest.
"""

import statistics
import time
from collections.abc import Callable, Sequence

from app.edge.request import Caller, Request
from app.exchange.plans import Limits
from app.exchange.relay import Relay
from app.exchange.way_out import WayOut
from app.observe.record import Observers
from app.routing.routes import Route
from app.routing.table import RouteTable

CALLER = Caller(address=None, scheme="http", lane="fast")
SIZES = (10, 1_000, 10_000)
ROUNDS = 9
REPEATS = 20_000


def make_table(size: int) -> RouteTable:
    """Routes of the kind that an API has: a literal, a parameter, a literal, a parameter."""
    return RouteTable(
        Route(
            name=f"r{number}",
            methods=("GET",),
            path=f"/resource{number}/{{id}}/items/{{item}}",
            subject=f"resource{number}.{{id}}.{{item}}",
        )
        for number in range(size)
    )


def measure(work: Callable[[bytes], object], paths: Sequence[bytes]) -> float:
    """Microseconds of CPU a call, over paths all over the table."""
    started = time.process_time()
    for number in range(REPEATS):
        work(paths[number % len(paths)])
    return (time.process_time() - started) / REPEATS * 1e6


def make_request(path: bytes) -> Request:
    return Request(method="GET", path=path, query=b"", headers=(), version="1.1", received=0.0, caller=CALLER)


def main() -> None:
    tables = {size: make_table(size) for size in SIZES}
    paths = {size: [b"/resource%d/42/items/7" % (size * part // 10) for part in range(10)] for size in SIZES}
    relays = {
        size: Relay(table, Limits(timeout=2, max_timeout=30, max_body=1024), WayOut(Observers()))
        for size, table in tables.items()
    }
    found: dict[str, dict[int, list[float]]] = {"match": {}, "begin": {}}
    for _ in range(ROUNDS):
        for size in SIZES:
            table, relay = tables[size], relays[size]
            match = measure(lambda path, table=table: table.match("GET", path), paths[size])  # type: ignore[misc]
            begin = measure(lambda path, relay=relay: relay.begin(make_request(path)), paths[size])  # type: ignore[misc]
            found["match"].setdefault(size, []).append(match)
            found["begin"].setdefault(size, []).append(begin)
    print("routes      match, µs              begin a request, µs")
    for size in SIZES:
        cells = [f"{statistics.median(v):.2f} ({min(v):.2f}–{max(v):.2f})" for v in (found[k][size] for k in found)]
        print(f"{size:>6}      {cells[0]:<22} {cells[1]}")


if __name__ == "__main__":
    main()
