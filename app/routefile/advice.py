"""What `nats-http check` warns of in a route file that is right: each is allowed, and perhaps not meant. Pure."""

from collections.abc import Iterator, Sequence

from ..edge.auth import Authenticate
from ..routing.routes import Route
from .auth import SchemeSource

MAX_SHOWN = 3  # names of keys in a line


def find_unproven(sources: Sequence[SchemeSource], *, can_be_shown: bool) -> Iterator[str]:
    """A line for each scheme of client certificates, where nothing can show one to the gateway."""
    for source in sources:
        if source.declared.get("type") == "client-certificate" and not can_be_shown:
            yield (
                f"auth.{source.name}: nobody can show a certificate: neither GATEWAY_TLS_CLIENT_CA nor "
                "GATEWAY_TRUSTED_PROXIES is set"
            )


def find_open_routes(sources: Sequence[SchemeSource], routes: Sequence[Route]) -> Iterator[str]:
    """A line for all routes with which anybody may change something, though the file has schemes."""
    found = [route for route in routes if set(route.methods) - {"GET"} and not _asks(route)] if sources else []
    if found:
        methods = sorted({method for route in found for method in route.methods} - {"GET"})
        yield f"{_count_others(found[0].name, len(found))}: with `auth: none` anybody may send {', '.join(methods)}"


def _asks(route: Route) -> bool:
    return any(isinstance(policy, Authenticate) for policy in route.policies)


def find_lasting_keys(sources: Sequence[SchemeSource]) -> Iterator[str]:
    """A line for each file with API keys that never expire."""
    files = {str(source.declared["file"]): source for source in sources if source.declared.get("type") == "api-key"}
    for name, source in files.items():
        keys = [entry for entry in source.entries if isinstance(entry, dict)]
        lasting = [str(key["name"]) for key in keys if "expires" not in key]
        if lasting:
            shown = ", ".join(lasting[:MAX_SHOWN])
            more = f" and {len(lasting) - MAX_SHOWN} more" if len(lasting) > MAX_SHOWN else ""
            yield f"{name}: {len(lasting)} of {len(keys)} keys never expire: {shown}{more}"


def _count_others(name: str, count: int) -> str:
    return f"route '{name}'{f' and {count - 1} more' if count > 1 else ''}"
