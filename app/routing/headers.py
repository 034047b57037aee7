"""Which headers a route may list, and which it may send or set itself. Pure."""

from collections.abc import Iterator, Sequence

from ..formats.fields import OF_PROXIES, can_travel, is_of_proxies
from .faults import Fault
from .parameters import Parameter

Texts = tuple[tuple[str, str], ...]
"""Header names, and their values."""

MAX_SENT = 4096  # bytes that a route may add to each request

_OURS = frozenset(("date", "x-request-id", "x-content-type-options"))  # response headers
_NOT_SET = {
    **dict.fromkeys(_OURS, "it is the gateway's own"),
    "content-type": "`content_type` sets it",
    "vary": "the gateway writes it: it names the headers that a reply depends on",
}


def list_sent_names(passed: Sequence[str], renamed: Texts) -> list[str]:
    """The names on the NATS side of the headers that travel, in the order of `passed`."""
    others = dict(renamed)
    return [others.get(name, name) for name in passed]


def find_request_header_faults(passed: Sequence[str], renamed: Texts, sent: Texts) -> Iterator[Fault]:
    """The faults of `headers` and `send_headers`."""
    names = list_sent_names(passed, renamed)
    for index, (name, other) in enumerate(zip(passed, names, strict=True)):
        if not can_travel(name):
            yield Fault(("headers", index), f"header '{name}' can't be forwarded")
        elif not can_travel(other):
            yield Fault(("headers", index, "as"), f"header '{other}' can't be sent")
        elif is_of_proxies(name) and name.lower().encode("ascii") not in OF_PROXIES:
            yield Fault(
                ("headers", index), f"callers could write anything into '{name}': the gateway does not check it"
            )
        elif other.lower() != name.lower() and is_of_proxies(other):
            yield Fault(("headers", index, "as"), f"services believe that a proxy wrote '{other}'")
    yield from _find_twins(passed, names)
    yield from _find_text_faults(("send_headers",), sent)
    listed = {name.lower() for name in names}
    for name, _ in sent:
        if name.lower() in listed:
            yield Fault(("send_headers", name), "`headers` lists it as well: leave it out in one of the two places")
    if sum(len(name) + len(value) + len(": \r\n") for name, value in sent) > MAX_SENT:
        yield Fault(("send_headers",), f"together they may have at most {MAX_SENT} bytes")


def _find_twins(passed: Sequence[str], names: Sequence[str]) -> Iterator[Fault]:
    """Headers that would have two names on the NATS side, or share one."""
    sent_as: dict[str, str] = {}
    taken: dict[str, str] = {}
    for index, (name, other) in enumerate(zip(passed, names, strict=True)):
        mine, theirs = name.lower(), other.lower()
        if sent_as.setdefault(mine, theirs) != theirs:
            yield Fault(("headers", index), f"header '{name}' is listed twice")
        elif taken.setdefault(theirs, mine) != mine:
            yield Fault(("headers", index), f"another header is also sent as '{other}'")


def find_parameter_header_faults(parameters: Sequence[Parameter], taken: Sequence[str]) -> Iterator[Fault]:
    """The faults of the `header` of each parameter. `taken` are names that are in use already."""
    names = {name.lower() for name in taken}
    for parameter in parameters:
        if (name := parameter.header) is None:
            continue
        key = ("params", parameter.name, "header")
        if not can_travel(name):
            yield Fault(key, f"header '{name}' can't be sent")
        elif is_of_proxies(name):
            yield Fault(key, f"services believe that a proxy wrote '{name}'")
        elif name.lower() in names:
            yield Fault(key, "`headers`, `send_headers` or another parameter has this header")
        names.add(name.lower())


def find_reply_header_faults(passed: Sequence[str], set_: Texts) -> Iterator[Fault]:
    """The faults of `reply.headers` and `reply.set_headers`."""
    for index, name in enumerate(passed):
        if name.lower() in _OURS:
            yield Fault(("reply", "headers", index), f"{', '.join(sorted(_OURS))} are the gateway's own")
        elif not can_travel(name):
            yield Fault(("reply", "headers", index), f"header '{name}' can't be forwarded")
    yield from _find_text_faults(("reply", "set_headers"), set_)
    for name, _ in set_:
        if name.lower() in _NOT_SET:
            yield Fault(("reply", "set_headers", name), _NOT_SET[name.lower()])


def find_cors_header_faults(passed: Sequence[str], set_: Texts) -> Iterator[Fault]:
    """The faults of `reply.headers` and `reply.set_headers` on a route with `cors`. A browser refuses an answer that
    has a CORS header twice."""
    text = "`cors` sets it for this route: leave it out, or write `cors: none`"
    for key, names in (("headers", enumerate(passed)), ("set_headers", ((name, name) for name, _ in set_))):
        for place, name in names:
            if name.lower().startswith("access-control-"):
                yield Fault(("reply", key, place), text)


def find_status_header_faults(key: tuple[str, ...], documented: Texts, passed: Sequence[str]) -> Iterator[Fault]:
    """The faults of the headers that the documentation lists for one status. `passed` are all headers that a reply can
    have."""
    names = {name.lower() for name in passed}
    for name, _ in documented:
        if name.lower() not in names:
            yield Fault((*key, "headers", name), "`reply.headers` does not list it, so it would not pass")


def _find_text_faults(key: tuple[str, ...], texts: Texts) -> Iterator[Fault]:
    names = [name.lower() for name, _ in texts]
    for name, value in texts:
        if not can_travel(name):
            yield Fault((*key, name), f"header '{name}' can't be sent")
        if names.count(name.lower()) > 1:
            yield Fault((*key, name), "this header is listed twice")
        if not (value.isascii() and value.isprintable() and value == value.strip()):
            yield Fault((*key, name), "a value must have only printable ASCII characters, and no blank at its ends")
