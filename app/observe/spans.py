"""The spans of requests, and their way to a collector by OTLP over HTTP (the protobuf encoding of OTLP 1.x).

Laws:
1. A span that waits is only a reference to what is known about its request. The thread that sends a batch also makes
   its messages, all in one go: each by itself, between requests, would take three times as long.
2. Attributes that many spans share are made once.
3. A span has no query, no header except the trace context, and no byte of a body. Semantic conventions ask for
   `url.query`, `user_agent.original` and others, but callers put tokens and names there. A span has the path and the
   subject. Without these nobody would know which request it was.
"""

from binascii import unhexlify
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import requests
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags, Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from .record import Record
from .trace_context import Parent, Sent, Surroundings, Trace

MAX_PATH = 1024  # bytes of a path in a span: the queue may have many spans
CALLER_GONE = "caller-gone"

Attributes = dict[str, str | int]

# RFC 9110 and PATCH, as in the semantic conventions. A caller can invent others.
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"))
_OTHER_METHOD = "_OTHER"
_MAX_METHOD = 32  # characters of another method

_MAX_REMEMBERED = 1024  # attributes
_DIFFERENT = frozenset(("url.path", "messaging.destination.name", "nats_http.request_id"))  # in each request
_SAMPLED = SpanContext(1, 1, False, TraceFlags(TraceFlags.SAMPLED))
_LOCAL = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_UNSET, _FAILED = Status(), Status(code=Status.STATUS_CODE_ERROR)
_REMOTE = _LOCAL | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK


class Ended(NamedTuple):
    """A span that has ended. The queue of the SDK takes it as a ReadableSpan that is sampled."""

    make: Callable[[Trace, Record, Surroundings], Span]
    trace: Trace
    record: Record
    around: Surroundings

    @property
    def context(self) -> SpanContext:
        """The queue only looks whether it is sampled."""
        return _SAMPLED


class Exporter(OTLPSpanExporter):
    """Sends spans that have ended. They all have one resource and one scope. It uses an internal part of the exporter
    1.45: `_client`, which sends a message that is already encoded."""

    def __init__(self, resource: Resource, scope: InstrumentationScope, session: requests.Session) -> None:
        super().__init__(session=session)
        self._frame = encode_spans([ReadableSpan("", _SAMPLED, resource=resource, instrumentation_scope=scope)])
        del self._frame.resource_spans[0].scope_spans[0].spans[:]

    def export(self, spans: Sequence[Ended]) -> SpanExportResult:  # type: ignore[override] # what the queue was given
        """Encode the spans and send them. The SDK tries again where it makes sense, and logs failures."""
        request = ExportTraceServiceRequest()
        request.CopyFrom(self._frame)
        found = request.resource_spans[0].scope_spans[0].spans
        found.extend([make(trace, record, around) for make, trace, record, around in spans])
        sent = self._client.export(request.SerializeToString())
        return SpanExportResult.SUCCESS if sent.success else SpanExportResult.FAILURE


class Spans:
    """Makes spans, with as many and as long attributes as the environment allows. Raises ValueError for limits that the
    SDK does not accept."""

    def __init__(self) -> None:
        limits = SpanLimits()
        self._most, self._longest = limits.max_span_attributes, limits.max_span_attribute_length

    def make_exchange(self, trace: Trace, record: Record, around: Surroundings) -> Span:
        """The span of a request to the gateway."""
        method, path, parent = record.method if record.method in _METHODS else "HTTP", around.path, trace.parent
        return self._make(
            trace,
            trace.server_id,
            _describe_exchange(record, around),
            parent_span_id=b"" if parent is None else unhexlify(parent.span_id),
            flags=_LOCAL if parent is None else _REMOTE,
            name=f"{method} {path}" if path else method,
            kind=Span.SPAN_KIND_SERVER,
            status=_FAILED if record.status >= 500 else _UNSET,
            start_time_unix_nano=around.convert_time(around.received),
            end_time_unix_nano=around.convert_time(around.received + record.duration),
        )

    def make_sent(self, trace: Trace, record: Record, around: Surroundings) -> Span:
        """The span of a request to NATS."""
        sent, end = trace.sent, around.received + record.duration
        assert sent is not None  # noqa: S101 - for mypy: only such a trace is given here
        return self._make(
            trace,
            trace.client_id,
            _describe_sent(sent, record, around.server),
            parent_span_id=unhexlify(trace.server_id),
            flags=_LOCAL,
            name=f"request {sent.template}",  # the subject itself differs for each caller
            kind=Span.SPAN_KIND_CLIENT,
            status=_UNSET if record.slug in (None, CALLER_GONE) else _FAILED,
            start_time_unix_nano=around.convert_time(sent.at),
            end_time_unix_nano=around.convert_time(
                end if record.reply_time is None else min(end, sent.at + record.reply_time)
            ),
        )

    def _make(self, trace: Trace, span_id: bytes, attributes: Attributes, **fields: Any) -> Span:
        kept: Mapping[str, Any] = attributes
        if (self._most is not None and len(attributes) > self._most) or self._longest is not None:
            kept = BoundedAttributes(self._most, attributes, max_value_len=self._longest)
        return Span(
            trace_id=unhexlify(trace.trace_id),
            span_id=unhexlify(span_id),
            trace_state=_read_state(trace.parent),
            attributes=[
                _make_attribute(name, value) if name in _DIFFERENT else _remember_attribute(name, value)
                for name, value in kept.items()
            ],
            dropped_attributes_count=len(attributes) - len(kept),
            **fields,
        )


def _make_attribute(name: str, value: Any) -> KeyValue:
    return KeyValue(
        key=name, value=AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value)
    )


_remember_attribute = lru_cache(_MAX_REMEMBERED)(_make_attribute)


def _read_state(parent: Parent | None) -> str:
    return TraceState.from_header([parent.state.decode("ascii")]).to_header() if parent and parent.state else ""


def _describe_exchange(record: Record, around: Surroundings) -> Attributes:
    """The attributes of a request, by the semantic conventions for HTTP servers (stable since 1.23)."""
    method = record.method or ""
    attributes: Attributes = {
        "http.request.method": method if method in _METHODS else _OTHER_METHOD,
        "http.response.status_code": record.status,
        "url.scheme": around.scheme,
        "url.path": (record.path or b"").decode("latin-1"),
    }
    if method not in _METHODS:
        attributes["http.request.method_original"] = method[:_MAX_METHOD]
    known = (
        ("http.route", around.path),
        ("network.protocol.version", record.version),
        ("client.address", record.peer),
        ("error.type", record.slug),
        ("nats_http.request_id", record.request_id),
    )
    attributes.update((name, value) for name, value in known if value)
    return attributes


def _describe_sent(sent: Sent, record: Record, server: str | None) -> Attributes:
    """The attributes of a request to NATS, by the semantic conventions for messaging (1.37, not stable yet)."""
    attributes: Attributes = {
        "messaging.system": "nats",
        "messaging.operation.name": "request",
        "messaging.operation.type": "send",
        "messaging.destination.name": sent.subject,
    }
    if sent.template != sent.subject:
        attributes["messaging.destination.template"] = sent.template
    if server:
        host, _, port = server.rpartition(":")
        attributes["server.address"] = host.strip("[]")
        attributes["server.port"] = int(port)
    if record.slug:
        attributes["error.type"] = record.slug
    return attributes
