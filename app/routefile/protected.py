"""What of callers a service can't get, and which headers it can't set, when it describes its own routes. Pure.

Laws:
1. The route file decides who gets the credentials of callers: the header fields and parameters that schemes of `auth`
   read, `Authorization` and `Cookie`.
2. No service writes a header that says who calls (`identity`).
3. No service sets a response header that is about the whole origin.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..edge.identity import Scheme
from ..formats.schemas import Json
from ..routing.routes import Route

_ALWAYS = frozenset(("authorization", "cookie"))
_OF_ORIGIN = frozenset(("set-cookie", "clear-site-data", "strict-transport-security", "content-security-policy"))
_CORS = "access-control-"
_ONLY = "only the route file can"


@dataclass(frozen=True, slots=True)
class Protected:
    """Names in lower case: of headers with credentials, of query parameters with credentials, and of headers that say
    who calls."""

    headers: frozenset[str] = _ALWAYS
    queries: frozenset[str] = frozenset()
    identity: frozenset[str] = frozenset()

    @classmethod
    def of(cls, schemes: Iterable[Scheme], routes: Sequence[Route]) -> "Protected":
        """What these schemes read, and these routes write."""
        known = list(schemes)
        fields = {name.decode("ascii").lower() for scheme in known for name in scheme.fields}
        return cls(
            _ALWAYS | fields,
            frozenset(scheme.query.lower() for scheme in known if scheme.query is not None),
            frozenset(name.lower() for route in routes for name, _ in route.identity),
        )

    def check(self, keys: Mapping[str, Json]) -> None:
        """Raises ValueError for the keys of a route that a service can't have."""
        for name in _list_names(keys.get("headers")):
            if name.lower() in self.headers:
                raise ValueError(f"headers: {name} has credentials of callers: {_ONLY} list it")
        for parameter, rules in _list_mappings(keys.get("params")):
            place, read = rules.get("in"), parameter.lower()
            if (place == "header" and read in self.headers) or (place == "query" and read in self.queries):
                raise ValueError(f"params: {parameter} has credentials of callers: {_ONLY} read it")
        for name in _list_names(keys.get("send_headers")):
            if name.lower() in self.identity:
                raise ValueError(f"send_headers: {name} says who calls, since a route has it in `identity`")
        reply = keys.get("reply")
        if isinstance(reply, dict):
            for name in (*_list_names(reply.get("headers")), *_list_names(reply.get("set_headers"))):
                if name.lower() in _OF_ORIGIN or name.lower().startswith(_CORS):
                    raise ValueError(f"reply: {name} is about more than this response: {_ONLY} list or set it")


def _list_names(value: Json) -> Iterator[str]:
    """The names in a list of names, of mappings with a name, or in a mapping by name."""
    for entry in value if isinstance(value, list | dict) else ():
        name = entry.get("name") if isinstance(entry, dict) else entry
        if isinstance(name, str):
            yield name


def _list_mappings(value: Json) -> Iterator[tuple[str, Mapping[str, Json]]]:
    for name, inner in value.items() if isinstance(value, dict) else ():
        if isinstance(inner, dict):
            yield name, inner
