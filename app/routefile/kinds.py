"""Chooses the kind of a route from the keys of the route file."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..routing.faults import Fault
from ..routing.kinds import Gather, Kind, Publish, RequestReply, Since, Start, Store, Subscribe
from ..routing.routes import RouteError
from .streams import SinceModel

if TYPE_CHECKING:
    from .model import RouteModel

MAX_DURATION = 600.0  # seconds of a stream

_HOMES: Mapping[str, tuple[str, str]] = {
    "replies": ("subject", "nobody replies to a message that is published"),
    "stream": ("publish or subscribe", "only a route with `publish` or `subscribe` has a stream"),
    "idempotency_key": ("publish and stream", "only a route with `publish` and `stream` reads it"),
    "idempotency_header": ("publish and stream", "only a route with `publish` and `stream` reads it"),
    "start": ("subscribe and stream", "only a route with `subscribe` and `stream` reads it"),
    **dict.fromkeys(
        ("event_header", "encoding", "max_duration", "max_streams"),
        ("subscribe", "only a route with `subscribe` reads it"),
    ),
}
"""Keys that make sense only beside other keys, and a text for the fault."""


def choose_kind(model: "RouteModel") -> tuple[str, Kind]:
    """The subject of a route, and its kind. Raises RouteError."""
    if faults := list(_find_faults(model)):
        raise RouteError(model.name, faults)
    rules = model.replies
    if model.subject is not None:
        many = rules and Gather(rules.most, rules.stall, rules.max_bytes, rules.end == "empty", rules.errors)
        return model.subject, many or RequestReply()
    if model.subscribe is not None:
        duration = MAX_DURATION if model.max_duration is None else model.max_duration
        return model.subscribe, Subscribe(
            model.event_header, model.encoding, duration, model.max_streams, model.stream, _choose_start(model)
        )
    stream = model.stream
    stored = stream and Store(stream, model.idempotency_key, model.idempotency_header)
    return model.publish or "", stored or Publish()


def _choose_start(model: "RouteModel") -> Start:
    return Since(model.start.since) if isinstance(model.start, SinceModel) else model.start


def _find_faults(model: "RouteModel") -> Iterator[Fault]:
    given = [key for key in ("subject", "publish", "subscribe") if getattr(model, key) is not None]
    if len(given) > 1:
        yield Fault((given[1],), f"a route has either `{given[0]}` or `{given[1]}`")
    elif not given:
        yield Fault(("subject",), "is missing (or `publish` or `subscribe`)")
    else:
        for key, (home, text) in _HOMES.items():
            if getattr(model, key) != type(model).model_fields[key].default and not _has(model, home):
                yield Fault((key,), text)


def _has(model: "RouteModel", home: str) -> bool:
    """Whether a route has the keys that `home` names."""
    if " or " in home:
        return any(getattr(model, key) is not None for key in home.split(" or "))
    return all(getattr(model, key) is not None for key in home.split(" and "))
