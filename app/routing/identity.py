"""What the service learns about the caller: headers that the gateway writes, and parameters from claims. Pure.

Law: no caller can write these values. If a route has a header in `identity`, no route of the table passes it on from a
caller.
"""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..edge.auth import Authenticate
from ..edge.identity import Identity, find_claim
from ..edge.request import Request
from ..errors import Forbidden, InvalidParameter, UriTooLong
from ..formats.fields import Pair, can_travel, is_clean_value
from .faults import Fault
from .headers import Texts, list_sent_names
from .parameters import Parameter, write_value

if TYPE_CHECKING:
    from ..formats.schemas import Json
    from .routes import Route

_CLAIMS = "claims."
_OURS = frozenset(("x-request-id", "x-request-timeout"))


def check_source(text: str) -> None:
    """Raises ValueError if the text is no source for a header of `identity`. Its text lists the sources."""
    if text not in ("sub", "scopes", "ip") and not (text.startswith(_CLAIMS) and len(text) > len(_CLAIMS)):
        raise ValueError("must be `sub`, `scopes`, `ip`, or a claim such as `claims.tenant`")


def list_identity(headers: Texts, request: Request) -> list[Pair]:
    """The headers of `identity` for a request, without those whose value is not known. Raises Forbidden if a value
    can't be in a header."""
    pairs = []
    for name, source in headers:
        text = _write(source, request)
        if text is not None:
            pairs.append((name.encode("ascii"), _encode_header(text, source)))
    return pairs


def _encode(text: str, source: str) -> bytes:
    """Raises Forbidden for half of a surrogate pair: JSON can contain it, but UTF-8 can't."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise _refuse_text(source) from None


def _encode_header(text: str, source: str) -> bytes:
    """Raises Forbidden if the text can't be the value of a header."""
    value = _encode(text, source)
    if not is_clean_value(value) or value != value.strip():
        raise _refuse_text(source)
    return value


def _refuse_text(source: str) -> Forbidden:
    return Forbidden(f"The value of {source} in the credentials can't be sent to the service.")


def _write(source: str, request: Request) -> str | None:
    identity = request.identity
    if source == "ip":
        return request.caller.address
    if identity is None:
        return None
    if source == "sub":
        return identity.subject or None
    if source == "scopes":
        return " ".join(sorted(identity.scopes))
    claim = find_claim(identity.claims, source.removeprefix(_CLAIMS))
    if isinstance(claim, list | dict):
        return json.dumps(claim)
    return None if claim is None else write_value(claim)


def read_claim(parameter: Parameter, identity: Identity | None) -> str:
    """The text of the claim that is the value of the parameter. Raises Forbidden if the caller has no such claim, if
    the claim is a list or an object, or if it can't be sent."""
    name = parameter.claim or parameter.name
    claim: Json = find_claim(identity.claims, name) if identity else None
    if claim is None:
        raise Forbidden(f"The caller lacks a claim that this route asks for: {name}.")
    if isinstance(claim, list | dict):
        kind = "a list" if isinstance(claim, list) else "an object"
        raise Forbidden(f"A claim of the caller is {kind}, and this route asks for a single value: {name}.")
    text = write_value(claim)
    check = _encode if parameter.header is None else _encode_header
    check(text, f"{_CLAIMS}{name}")
    return text


def refuse_claim(error: InvalidParameter | UriTooLong) -> Forbidden:
    """The error for a claim that breaks the rules of its parameter. It is a 403 and not a 422 or 414, since the caller
    can't change a claim."""
    return Forbidden(f"A claim of the caller can't be used. {error.detail}")


def find_identity_faults(route: "Route") -> Iterator[Fault]:
    """The faults of `identity` of a route, and of its parameters from claims."""
    taken = _list_taken(route)
    for name, source in route.identity:
        if not can_travel(name) or name.lower() in _OURS:
            yield Fault(("identity", name), f"header '{name}' can't be sent")
        elif name.lower() in taken:
            yield Fault(("identity", name), taken[name.lower()])
        taken[name.lower()] = "`identity` has this header already"
        try:
            check_source(source)
        except ValueError as error:
            yield Fault(("identity", name), str(error))
    if any(isinstance(policy, Authenticate) for policy in route.policies):
        return
    for parameter in route.parameters:
        if parameter.location == "claim":
            yield Fault(("params", parameter.name, "in"), "only a route with `auth` knows the claims of its callers")


def _list_taken(route: "Route") -> dict[str, str]:
    """Headers that can't be in `identity`, and why."""
    sent = list_sent_names(route.headers, route.renamed)
    taken = {name.lower(): "`headers` lets callers write this header" for name in sent}
    taken |= {name.lower(): "`send_headers` has this header already" for name, _ in route.send_headers}
    named = [parameter for parameter in route.parameters if parameter.header]
    return taken | {str(p.header).lower(): f"the parameter '{p.name}' is sent in this header" for p in named}


def find_forged(routes: Sequence["Route"]) -> Iterator[tuple[int, Fault]]:
    """Headers that one route has in `identity` while another route passes them on from callers. Each fault has the
    index of the other route."""
    names = {name.lower() for route in routes for name, _ in route.identity}
    if not names:
        return
    text = "a route has this header in `identity`, so that no caller may write it"
    for index, route in enumerate(routes):
        for place, name in enumerate(list_sent_names(route.headers, route.renamed)):
            if name.lower() in names:
                yield index, Fault(("headers", place), text)
        for parameter in route.parameters:
            if parameter.location != "claim" and (parameter.header or "").lower() in names:
                yield index, Fault(("params", parameter.name, "header"), text)
