"""The `Accept` field (RFC 9110 §12.5.1). Pure."""

from collections.abc import Iterable, Sequence

_NO_PREFERENCE = frozenset((b"", b"*/*", b"application/json"))


def prefers_plain_text(accept: bytes) -> bool:
    """Whether an `Accept` value puts text/plain before application/json (RFC 9110 §12.5.1). Of two that are equal,
    the one that is named more exactly wins; else JSON, as the gateway's own choice."""
    if accept in _NO_PREFERENCE:
        return False
    ranges = list(_parse_accept(accept.decode("latin-1").lower()))
    plain = _quality(ranges, "text/plain", "text/*")
    return plain[0] > 0 and plain > _quality(ranges, "application/json", "application/*")


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
