"""Describes callers for `nats-http explain`: who calls, and which callers a route or a page accepts."""

import json
import sys
from collections.abc import Iterable
from functools import partial

from ..edge.auth import Authenticate
from ..edge.identity import Identity, Scheme
from ..edge.key_sets import KeySet
from ..edge.request import Request
from ..errors import Unauthenticated
from ..jwks.fetcher import JwksFetcher
from .development import find_development_keys
from .endings import CommandError
from .rules import describe_auth

Rows = list[tuple[str, str]]
"""Names and their values, for the output."""

_DEVELOPMENT = "; this is a token of `nats-http token`, which only `nats-http dev` accepts"


def prepare_keys(schemes: Iterable[Scheme]) -> None:
    """Prepare the schemes for `nats-http explain`. The first token that needs the keys of an issuer fetches them, and
    keys for development are accepted too."""
    found = (getattr(scheme, "keys", None) for scheme in schemes)
    sets = [keys for keys in found if isinstance(keys, KeySet)]
    for keys in sets:
        if keys.url is not None:
            keys.fetch = partial(_fetch, keys)
    try:
        development = find_development_keys() if sets else ()
    except CommandError as error:
        print(f"nats-http: warning: {error}", file=sys.stderr)
        return
    for keys in sets:
        keys.development = development


async def _fetch(keys: KeySet) -> None:
    async with JwksFetcher() as fetcher:
        fetcher.use([keys])
        if keys.fetch:  # the fetcher has set it
            await keys.fetch()


def describe_caller(request: Request, auth: Authenticate) -> Rows:
    """Rows with the callers that the policy accepts, and with the actual caller. Call this when the request has its
    answer: afterwards the keys for development are no longer accepted."""
    rows = [("asks for", describe_auth(auth)), ("caller", _describe_identity(request, auth))]
    if request.identity and request.identity.claims:
        rows.append(("claims", json.dumps(dict(request.identity.claims), ensure_ascii=False)))
    return rows


def _describe_identity(request: Request, auth: Authenticate) -> str:
    who = request.identity
    if who is None:
        return "not known"
    scopes = f"with scopes {' '.join(sorted(who.scopes))}" if who.scopes else "without scopes"
    more = _DEVELOPMENT if _is_for_development(auth.schemes[who.scheme], request) else ""
    return f"{who.subject or '(no name)'}, known by {who.scheme}, {scopes}{more}"


def _is_for_development(scheme: Scheme, request: Request) -> bool:
    """Whether the scheme knows the caller only by the keys for development."""
    keys = getattr(scheme, "keys", None)
    if not isinstance(keys, KeySet) or not keys.development:
        return False
    keys.development = ()
    keys.replace(keys.keys)  # makes it verify the token again
    try:
        return not isinstance(scheme.identify(request), Identity)
    except Unauthenticated:
        return True
