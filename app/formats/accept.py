"""Reads the fields `Accept` and `Accept-Encoding` (RFC 9110 §12.5). Pure."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T", bound=str)

_MAX_RANGES = 64
_NO_PREFERENCE = frozenset((b"", b"*/*", b"application/json"))


def prefers_plain_text(accept: bytes) -> bool:
    """Whether an `Accept` value puts text/plain before application/json (RFC 9110 §12.5.1). If both have the same
    weight, the type that is named more exactly wins. Otherwise it is JSON, which the gateway prefers."""
    if accept in _NO_PREFERENCE:
        return False
    ranges = list(_parse_accept(accept.decode("latin-1").lower()))
    plain = _quality(ranges, "text/plain", "text/*")
    return plain[0] > 0 and plain > _quality(ranges, "application/json", "application/*")


def prefers_html(accept: bytes) -> bool:
    """Whether an `Accept` value puts text/html before JSON and problem documents, as browsers do. If two have the same
    weight, the type that is named more exactly wins. Otherwise it is JSON. False for a value with very many ranges."""
    if b"text/" not in accept.lower() or accept.count(b",") > _MAX_RANGES or accept.count(b";") > _MAX_RANGES:
        return False
    ranges = list(_parse_accept(accept.decode("latin-1").lower()))
    html = _quality(ranges, "text/html", "text/*")
    json = ("application/problem+json", "application/json")
    return html[0] > 0 and all(html > _quality(ranges, media_type, "application/*") for media_type in json)


def choose_type(accept: bytes, types: Sequence[T]) -> T:
    """The media type of `types` that an `Accept` value prefers. Of two that are equal, the one that is named more
    exactly wins, then the earlier one. Without any preference, and for a value with very many ranges, it is the
    first."""
    if not accept or accept.count(b",") > _MAX_RANGES or accept.count(b";") > _MAX_RANGES:
        return types[0]
    ranges = list(_parse_accept(accept.decode("latin-1").lower()))
    weights = [_quality(ranges, name, f"{name.partition('/')[0]}/*") for name in types]
    return types[weights.index(max(weights))]


def accepts_gzip(accept_encoding: bytes) -> bool:
    """Whether an `Accept-Encoding` value allows gzip. False for a value with very many codings."""
    if accept_encoding.count(b",") > _MAX_RANGES or accept_encoding.count(b";") > _MAX_RANGES:
        return False
    weights = dict(_parse_accept(accept_encoding.decode("latin-1").lower()))
    return max(weights.get("gzip", weights.get("*", 0.0)), weights.get("x-gzip", 0.0)) > 0


def _quality(ranges: Sequence[tuple[str, float]], media_type: str, family: str) -> tuple[float, int]:
    for exactness, name in ((2, media_type), (1, family), (0, "*/*")):
        for media_range, quality in ranges:
            if media_range == name:
                return quality, exactness
    return 0.0, 0


def _parse_accept(accept: str) -> Iterable[tuple[str, float]]:
    for item in accept.split(","):
        media_range, *parameters = (part.strip() for part in item.split(";"))
        weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            yield media_range, min(max(float(weight), 0.0), 1.0)
        except ValueError:
            yield media_range, 0.0
