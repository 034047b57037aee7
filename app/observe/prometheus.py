"""Writes the counters and gauges of all processes as Prometheus metrics, with the client library of Prometheus.

docs/metrics.md is the reference.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import NamedTuple

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from ..formats.clusters import MAIN
from ..pieces import Steps
from .board import Blocks, Boards
from .counts import PROBLEMS, REFUSED, RESPONSES, SIZES, TIMES, Distribution, Totals, sum_blocks
from .gauges import (
    COUNTER,
    CPU_SECONDS,
    GAP_CAUSES,
    GAUGES,
    NATS_RECONNECTS,
    OF_CLUSTERS,
    STREAM_EVENTS,
    name_gaps,
    name_of,
    read_counter,
    read_gauge,
)

PREFIX = "nats_http_"
OPENMETRICS_TYPE = "application/openmetrics-text"

_PART = 4  # routes in one step, so that it is short
_PROCESS: dict[str, tuple[Callable[[Iterable[float]], float], str]] = {
    "process_resident_memory_bytes": (sum, "Resident memory of all workers, in bytes."),
    "process_virtual_memory_bytes": (sum, "Virtual memory of all workers, in bytes."),
    "process_open_fds": (sum, "Open file descriptors of all workers."),
    "process_max_fds": (sum, "The most file descriptors that all workers may have open."),
    "process_start_time_seconds": (max, "When the youngest worker started, as Unix time."),
}


class Form(NamedTuple):
    """A text format of metrics."""

    media_type: str
    encode: Callable[[Collector], bytes]
    end: bytes


TEXT = Form(CONTENT_TYPE_PLAIN_0_0_4, generate_latest, b"")
OPENMETRICS = Form(openmetrics.CONTENT_TYPE_LATEST, openmetrics.generate_latest, b"# EOF\n")
FORMS = (TEXT, OPENMETRICS)


def choose_form(accept: str) -> Form:
    """OpenMetrics if `Accept` has it, as Prometheus sends it. Else the older text format."""
    return OPENMETRICS if OPENMETRICS_TYPE in accept.lower() else TEXT


def write_metrics(
    boards: Boards, form: Form, *, about: Mapping[str, str], clusters: Sequence[str] = (MAIN,)
) -> Steps[bytes]:
    """The current values of all metrics, in short steps. `about` has the labels of `build_info`, and `clusters` the
    names of the NATS clusters. If there are several, metrics of each have the label `nats`."""
    boards.refresh()
    parts: list[bytes] = []
    name = ""
    for family in _collect(boards, about, clusters):
        text = form.encode(_One(family)).removesuffix(form.end)
        parts.append(_without_head(text) if family.name == name else text)
        name = family.name
        yield
    return b"".join((*parts, form.end))


class _One(Collector):
    """A registry with a single family, for the library."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Sequence[Metric]:
        return (self._family,)


def _without_head(text: bytes) -> bytes:
    """The text without its comments: a family in several parts has them only in its first part."""
    return b"".join(line for line in text.splitlines(keepends=True) if not line.startswith(b"# "))


def _collect(boards: Boards, about: Mapping[str, str], clusters: Sequence[str]) -> Iterator[Metric]:
    """All families. A large family comes in several parts of the same name."""
    yield from _collect_responses(boards)
    yield from _collect_problems(boards)
    yield from _collect_own(boards, clusters)
    yield _make_gauge("build_info", "Always 1. The labels are the versions of the gateway and of Python.", 1.0, about)
    yield from _collect_processes(boards)


def _collect_responses(boards: Boards) -> Iterator[Metric]:
    by_route: dict[str, Blocks] = {}
    part = _make_requests()
    for labels, blocks in list(boards.find(RESPONSES).items()):
        if count := sum_blocks(blocks).responses:
            by_route.setdefault(labels[0], []).extend(blocks)
            part.add_metric(labels, count)
            if len(part.samples) >= _PART:
                yield part
                part = _make_requests()
    yield part
    for name, help_text, bounds, find in _HISTOGRAMS:
        yield from _collect_histogram(name, help_text, bounds, find, by_route)


def _make_requests() -> CounterMetricFamily:
    text = "HTTP responses, by route, method and status. 499 means that the caller left before the answer."
    return CounterMetricFamily(f"{PREFIX}requests", text, labels=("route", "method", "code"))


_Find = Callable[[Totals], Distribution]

_HISTOGRAMS: tuple[tuple[str, str, Sequence[float], _Find], ...] = (
    (
        "request_duration_seconds",
        "Seconds from the complete request head to the end of the response, by route.",
        TIMES,
        attrgetter("duration"),
    ),
    (
        "upstream_duration_seconds",
        "Seconds from sending a request to NATS to its reply, by route.",
        TIMES,
        attrgetter("upstream"),
    ),
    ("request_size_bytes", "Bytes of request bodies, by route.", SIZES, attrgetter("bytes_in")),
    ("response_size_bytes", "Bytes of response bodies, by route.", SIZES, attrgetter("bytes_out")),
)


def _collect_histogram(
    name: str, help_text: str, bounds: Sequence[float], find: _Find, by_route: Mapping[str, Blocks]
) -> Iterator[Metric]:
    family = HistogramMetricFamily(f"{PREFIX}{name}", help_text, labels=("route",))
    size = _PART * (len(bounds) + 3)
    for route, blocks in by_route.items():
        buckets, total = find(sum_blocks(blocks))
        if any(buckets):
            family.add_metric((route,), _accumulate(bounds, buckets), total)
        if len(family.samples) >= size:
            yield family
            family = HistogramMetricFamily(f"{PREFIX}{name}", help_text, labels=("route",))
    yield family


def _accumulate(bounds: Sequence[float], buckets: Sequence[int]) -> list[tuple[str, float]]:
    """Cumulative counts: each bucket of Prometheus includes all lower ones."""
    found: list[tuple[str, float]] = []
    count = 0
    for le, more in zip((*(str(float(bound)) for bound in bounds), "+Inf"), buckets, strict=True):
        count += more
        found.append((le, count))
    return found


def _collect_problems(boards: Boards) -> Iterator[Metric]:
    problems = _make_problems()
    for labels, blocks in list(boards.find(PROBLEMS).items()):
        if count := _sum_cells(blocks):
            problems.add_metric(labels, count)
        if len(problems.samples) >= _PART:
            yield problems
            problems = _make_problems()
    yield problems
    text = "Connections above GATEWAY_MAX_CONNECTIONS, by whether they were answered with 503 or only closed."
    refused = CounterMetricFamily(f"{PREFIX}connections_refused", text, labels=("reason",))
    found = {labels: _sum_cells(blocks) for labels, blocks in boards.find(REFUSED).items()}
    for labels in (("answered",), ("unanswered",)):
        refused.add_metric(labels, found.get(labels, 0))
    yield refused


def _make_problems() -> CounterMetricFamily:
    text = "Failed and refused requests, by route, by the slug of the problem, and by whether the service has run."
    return CounterMetricFamily(f"{PREFIX}problems", text, labels=("route", "slug", "delivered"))


def _sum_cells(blocks: Blocks) -> int:
    return sum(board.cells[place] for board, place in blocks)


def _collect_own(boards: Boards, clusters: Sequence[str]) -> Iterator[Metric]:
    labels = ("nats",) if len(clusters) > 1 else ()
    for name, gauge in GAUGES.items():
        if name in OF_CLUSTERS:
            values = {cluster: read_gauge(boards, name_of(name, cluster)) for cluster in clusters}
            if known := {cluster: value for cluster, value in values.items() if value is not None}:
                family = GaugeMetricFamily(f"{PREFIX}{name}", gauge.help, labels=labels)
                yield _fill(family, labels, known)
        elif (value := read_gauge(boards, name)) is not None:
            yield _make_gauge(name, gauge.help, value)
    text = "How often a worker has connected to NATS again after its first connection."
    counts = {cluster: read_counter(boards, name_of(NATS_RECONNECTS, cluster)) for cluster in clusters}
    yield _fill(CounterMetricFamily(f"{PREFIX}nats_reconnects", text, labels=labels), labels, counts)
    text = "Messages that streams have given to callers."
    yield CounterMetricFamily(f"{PREFIX}stream_events", text, read_counter(boards, STREAM_EVENTS))
    gaps = CounterMetricFamily(f"{PREFIX}stream_gaps", "Events `gap` in streams, by their cause.", labels=("cause",))
    for cause in GAP_CAUSES:
        gaps.add_metric((cause,), read_counter(boards, name_gaps(cause)))
    yield gaps


def _fill(
    family: GaugeMetricFamily | CounterMetricFamily, labels: Sequence[str], values: Mapping[str, float]
) -> Metric:
    """The family with a value for each NATS cluster, or with the only value if it has no labels."""
    for cluster, value in values.items():
        family.add_metric((cluster,) if labels else (), value)
    return family


def _make_gauge(name: str, text: str, value: float, labels: Mapping[str, str] | None = None) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}{name}", text, labels=tuple(labels or ()))
    family.add_metric(tuple((labels or {}).values()), value)
    return family


def _collect_processes(boards: Boards) -> Iterator[Metric]:
    """Metrics of the processes, if the system has /proc."""
    found: dict[str, list[float]] = {}
    for board in boards.living:
        if board.get((COUNTER, CPU_SECONDS)) is None:  # the process that started the workers: it serves no requests
            continue
        pid = board.pid or "self"
        try:
            for family in ProcessCollector(pid=partial(str, pid), registry=None).collect():
                found.setdefault(family.name, []).append(family.samples[0].value)
        except ValueError:  # the limit of open files is not a number
            continue
    for name, (combine, text) in _PROCESS.items():
        if name in found:
            yield GaugeMetricFamily(name, text, combine(found[name]))
    text = "CPU time of all workers, also of those that have ended, in seconds."
    yield CounterMetricFamily("process_cpu_seconds", text, read_counter(boards, CPU_SECONDS))
