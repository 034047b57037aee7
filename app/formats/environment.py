"""Names and values of environment variables, for messages about settings. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence

PREFIX = "GATEWAY_"
"""The beginning of the names of settings, except a few that other programs know as well."""

_MAX_SHOWN = 60  # characters of a value
_LIKE = 0.8  # from 0 to 1: the least similarity of a name to a setting

# Kubernetes and Docker set these for a service that is called `gateway`, or begins with `gateway-`.
_OF_SERVICES = re.compile(
    r"GATEWAY_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_OF_ROUTES = re.compile(r"GATEWAY_(CORS|AUTH|IDENTITY|ALLOW_FROM|RATE_LIMITS?)(?:(?<=CORS|AUTH)_\w+)?")
_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://")


def find_unknown(environment: Mapping[str, str], known: Sequence[str]) -> Iterator[str]:
    """One line for each variable that looks like a setting but is none, with the name that was probably intended."""
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known and not _is_of_service(name, environment[name]):
            yield f"{name}: unknown setting, {_advise(name, known)}"


def quote_value(value: str, *, most: int = _MAX_SHOWN) -> str:
    """The value in quotes, on one line. If it has more than `most` characters, only its beginning."""
    plain = value if value.isprintable() else value.encode("unicode_escape").decode("ascii")
    return f"'{plain}'" if len(plain) <= most else f"'{plain[:most]}…'"


def _is_of_service(name: str, value: str) -> bool:
    is_port = name.endswith("_PORT") and _ADDRESS.match(value) is not None
    return is_port or _OF_SERVICES.fullmatch(name) is not None


def _advise(name: str, known: Sequence[str]) -> str:
    if match := _OF_ROUTES.fullmatch(name):
        return f"the route file has a key `{match[1].lower()}` for this"
    meant = _guess(name, known)
    return f"did you mean {meant}?" if meant else "`nats-http settings` lists all settings"


def _guess(name: str, known: Sequence[str]) -> str | None:
    import difflib  # nearly no process needs it

    bare = name.removeprefix(PREFIX)
    return bare if bare in known else next(iter(difflib.get_close_matches(name, known, n=1, cutoff=_LIKE)), None)
