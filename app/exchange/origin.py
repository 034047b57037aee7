"""Writes the headers that tell a service who calls: `X-Forwarded-For` and the like. Pure.

Law: no byte of them is copied from such a header of a caller. The host comes from the `Host` of the request, or from a
trusted proxy.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from ..edge.networks import write_address
from ..edge.request import Request
from ..formats.fields import OF_PROXIES, TOKEN, AllowList, Pair

_HOST = re.compile(
    r"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]{1,300}", re.ASCII
)  # as in http/head.py, and at most 300 characters


def list_origin_names(allow: AllowList) -> tuple[Pair, ...]:
    """The names of such headers that a route lists, each with its name on the NATS side."""
    return tuple((name, allow.canonical(name)) for name in sorted(allow.names & OF_PROXIES))


def write_origin(names: Sequence[Pair], request: Request, root: str) -> list[Pair]:
    """The headers of these names, with the values for a request. A header without a value is left out. `root` is the
    path under which the caller sees the gateway."""
    written = ((canonical, _WRITERS[name](request, root)) for name, canonical in names)
    return [(name, value.encode("latin-1")) for name, value in written if value]


def _write_for(request: Request, _: str) -> str:
    return write_address(request.caller.address) or ""


def _write_host(request: Request, _: str) -> str:
    said = request.caller.host
    asked = next((value.decode("latin-1") for name, value in request.headers if name == b"host"), "")
    return said or (asked if _HOST.fullmatch(asked) else "")


def _write_proto(request: Request, _: str) -> str:
    return request.caller.scheme


def _write_prefix(_: Request, root: str) -> str:
    return root


def _write_forwarded(request: Request, root: str) -> str:
    """The value of `Forwarded` (RFC 7239 §4 and §6). An IPv6 address is in brackets and quotes."""
    address, host = _write_for(request, root) or "unknown", _write_host(request, root)
    node = f'"[{address}]"' if ":" in address else address
    pairs = [f"for={node}", f"proto={request.caller.scheme}"]
    if host:
        pairs.append(f"host={host}" if TOKEN.fullmatch(host.encode("ascii")) else f'host="{host}"')
    return ";".join(pairs)


_WRITERS: Mapping[bytes, Callable[[Request, str], str]] = {
    b"forwarded": _write_forwarded,
    b"x-forwarded-for": _write_for,
    b"x-forwarded-host": _write_host,
    b"x-forwarded-prefix": _write_prefix,
    b"x-forwarded-proto": _write_proto,
}
