"""Signed tokens (JWT, RFC 7519) by which callers say who they are. Pure.

Laws (RFC 8725):
1. The scheme must list the algorithm of a token, and the key must be for it. The token alone decides nothing.
2. A token must have an expiry (`exp`), unless the scheme does not require it, an issuer (`iss`) and an audience
   (`aud`).
3. A verified token is remembered until it expires or the keys change. At most MAX_REMEMBERED tokens are remembered, in
   at most MAX_BYTES. Nothing of an invalid token is remembered.
4. A token is remembered together with the header or cookie that it came in, and not by a digest of it, which would take
   longer to compute than all else. The lookup tells nothing about tokens of others. A dictionary compares two texts
   only if their hashes are equal, all 64 bits of SipHash with a secret of the process. The hash of a similar text is
   not similar.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    InvalidSignatureError,
    MissingRequiredClaimError,
    PyJWTError,
)

from ..errors import Facts, KeysUnavailable, Unauthenticated
from ..formats.schemas import Json
from ..observe.record import clean_text
from .credentials import Place, SeveralCredentials, find_credential
from .identity import AsyncIdentify, Identity, find_claim, weigh
from .key_sets import IssuerKey, KeySet
from .request import Request

MAX_TOKEN = 8 * 1024  # bytes
MAX_REMEMBERED = 10_000  # tokens
MAX_BYTES = 24 * 1024 * 1024  # of memory for these tokens, with all their claims
MAX_KID = 256  # characters
MAX_TIME = 2**53  # seconds since 1970: the largest time in a token

_AUTHORIZATION = b"authorization"
_FOREVER = float("inf")
_SCOPES = ("scope", "scp")

_DETAILS: tuple[tuple[type[Exception], str], ...] = (
    (ExpiredSignatureError, "The token has expired."),
    (ImmatureSignatureError, "The token is not valid yet."),
    (InvalidAudienceError, "The token is for another audience."),
    (InvalidIssuerError, "The token is from another issuer."),
    (InvalidSignatureError, "The signature of the token is wrong."),
)
_COMPARED: Mapping[type[Exception], str] = {InvalidAudienceError: "aud", InvalidIssuerError: "iss"}
"""For these claims the log shows the value of the token and the expected value."""
_NO_TOKEN = "The token is not a signed JWT that can be read."  # noqa: S105 - a text for callers


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRules:
    """The rules that a token must fulfil. `audience` must share one value with its `aud`. `leeway` is seconds.
    `scopes_claim` names the claim with the scopes; None means `scope` or `scp`."""

    issuer: str
    audience: Sequence[str]
    algorithms: frozenset[str]
    leeway: float = 0.0
    scopes_claim: str | None = None
    requires_expiry: bool = True


@dataclass(frozen=True, slots=True)
class _Remembered:
    identity: Identity
    expires: float
    size: int


class BearerTokens:
    """The tokens of one scheme. They come in `Authorization: Bearer …`, in another header, or in a cookie."""

    query = None

    def __init__(
        self,
        name: str,
        rules: TokenRules,
        keys: KeySet,
        *,
        header: str | None = None,
        cookie: str | None = None,
        description: str = "",
    ) -> None:
        self.keys = keys
        self.challenge = f'Bearer realm="{name}"'
        self._name = name
        self._rules = rules
        self._place: Place = "header" if cookie is None else "cookie"
        self._wanted = (cookie or (header or "Authorization").lower()).encode("ascii")
        self.fields = frozenset((self._wanted if cookie is None else b"cookie",))
        self._described = _describe(header, cookie, description)
        self._known: dict[bytes, _Remembered] = {}
        self._bytes = 0
        self._generation = keys.generation

    def identify(self, request: Request) -> Identity | AsyncIdentify | None:
        """As Scheme.identify. Returns an AsyncIdentify if the key of the token is not known yet."""
        try:
            sent = find_credential(self._place, self._wanted, request)
        except SeveralCredentials:
            raise self._refuse("The request has more than one token.") from None
        if sent is None:
            return None
        known = self._known.get(sent)
        if known is not None and self._generation == self.keys.generation and known.expires > time.time():
            return known.identity
        self._forget_old(sent)
        return self._identify_unknown(sent)

    def _identify_unknown(self, sent: bytes) -> Identity | AsyncIdentify | None:
        token = sent if self._place == "cookie" else _strip_scheme(sent, is_required=self._wanted == _AUTHORIZATION)
        if token is None:
            self._refuse_bare(sent)
            return None
        if len(token) > MAX_TOKEN:
            raise self._refuse(f"The token has more than {MAX_TOKEN} bytes.")
        header = self._read_header(token)
        key = self._find_key(header)
        if key is not None:
            return self._verify(token, sent, key, header["alg"])
        fetch = self.keys.fetch
        if fetch is None:
            raise self._refuse("The token is signed with an unknown key.")

        async def identify_later() -> Identity:
            await fetch()
            if (key := self._find_key(header)) is not None:
                return self._verify(token, sent, key, header["alg"])
            if self.keys.has_failed:
                raise KeysUnavailable
            raise self._refuse("The token is signed with an unknown key.")

        return identify_later

    def describe(self) -> Mapping[str, Json]:
        """As Scheme.describe."""
        return self._described

    def _forget_old(self, sent: bytes) -> None:
        """Forget all tokens if the keys have changed, else this token: if it is still remembered, it has expired."""
        if self._generation != self.keys.generation:
            self._known.clear()
            self._bytes, self._generation = 0, self.keys.generation
        elif sent in self._known:
            self._forget(sent)

    def _forget(self, sent: bytes) -> None:
        self._bytes -= self._known.pop(sent).size

    def _remember(self, sent: bytes, identity: Identity, expires: float) -> None:
        if sent in self._known:
            self._forget(sent)
        size = len(sent) + weigh(identity)
        self._known[sent] = _Remembered(identity, expires, size)
        self._bytes += size
        while len(self._known) > MAX_REMEMBERED or self._bytes > MAX_BYTES:
            self._forget(next(iter(self._known)))

    def _read_header(self, token: bytes) -> Mapping[str, str]:
        """The header fields `alg` and, if the token has it, `kid`. Raises Unauthenticated."""
        try:
            header = jwt.get_unverified_header(token)
        except (PyJWTError, ValueError, TypeError, RecursionError):
            raise self._refuse(_NO_TOKEN) from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if "crit" in header or "b64" in header:  # RFC 7515 §4.1.11
            raise self._refuse("The token has unknown extensions.")
        if not isinstance(algorithm, str) or algorithm not in self._rules.algorithms:
            raise self._refuse("The token is signed with an algorithm that is not allowed.")
        if not (kid is None or (isinstance(kid, str) and len(kid) <= MAX_KID)):
            raise self._refuse(_NO_TOKEN)
        return {"alg": algorithm} if kid is None else {"alg": algorithm, "kid": kid}

    def _find_key(self, header: Mapping[str, str]) -> IssuerKey | None:
        return self.keys.find(header.get("kid"), header["alg"])

    def _verify(self, token: bytes, sent: bytes, key: IssuerKey, algorithm: str) -> Identity:
        rules = self._rules
        try:
            claims: dict[str, Json] = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=rules.audience,
                issuer=rules.issuer,
                leeway=rules.leeway,
                options={"require": ["exp"] if rules.requires_expiry else []},
            )
        except (PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise self._explain(error, token) from None
        for name in ("exp", "nbf", "iat"):
            if not _is_time(claims.get(name, 0)):
                raise self._refuse(f"The claim {name} of the token is not a time.")
        expires = claims.get("exp")
        subject = claims.get("sub")
        scopes = frozenset(_read_scopes(claims, rules.scopes_claim))
        identity = Identity(self._name, subject if isinstance(subject, str) else "", scopes, claims)
        until = expires + rules.leeway if isinstance(expires, int | float) else _FOREVER
        self._remember(sent, identity, until)
        return identity

    def _refuse_bare(self, sent: bytes) -> None:
        """Raises Unauthenticated for a token without the word `Bearer` before it."""
        if sent.strip() and b" " not in sent.strip():
            raise self._refuse("The header Authorization does not begin with the word Bearer.")

    def _explain(self, error: Exception, token: bytes) -> Unauthenticated:
        """The error for a token that could not be verified. Claims are only shown if the signature is valid: PyJWT
        checks it first."""
        if isinstance(error, MissingRequiredClaimError):
            return self._refuse(f"The token lacks the claim {error.claim}.")
        detail = next((text for kind, text in _DETAILS if isinstance(error, kind)), _NO_TOKEN)
        name = _COMPARED.get(type(error))
        if name is None:
            return self._refuse(detail)
        got = jwt.decode(token, options={"verify_signature": False}).get(name)
        wanted = self._rules.issuer if name == "iss" else " ".join(self._rules.audience)
        shown = got if isinstance(got, str) else json.dumps(got)
        return self._refuse(detail, facts=(("wanted", clean_text(wanted)), ("got", clean_text(shown))))

    def _refuse(self, detail: str, *, facts: Facts = ()) -> Unauthenticated:
        """The error, with a challenge as in RFC 6750 §3.1. `facts` are for the log."""
        text = detail.rstrip(".")
        challenge = f'{self.challenge}, error="invalid_token", error_description="{text}"'
        return Unauthenticated(detail, challenge=challenge, facts=facts)


def _strip_scheme(value: bytes, *, is_required: bool) -> bytes | None:
    """The token after the word `Bearer`, in any case (RFC 6750 §2.1, RFC 9110 §11.1); None if the value is for another
    scheme. In a header other than `Authorization` the word may be missing."""
    if value.startswith(b"Bearer "):
        return value[7:].strip()
    scheme, blank, token = value.strip().partition(b" ")
    if scheme.lower() == b"bearer":
        return token.strip()
    return None if is_required or blank else value


def _is_time(value: Json) -> bool:
    """Whether a value is a NumericDate (RFC 7519 §2). JSON allows numbers that are too large for a clock or a float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_TIME


def _read_scopes(claims: Mapping[str, Json], name: str | None) -> list[str]:
    """The scopes of a token: from a text with blanks between them (RFC 8693 §4.2), or from a list."""
    found = next((claims[key] for key in _SCOPES if key in claims), None) if name is None else find_claim(claims, name)
    if isinstance(found, str):
        return found.split()
    return [scope for scope in found if isinstance(scope, str)] if isinstance(found, list) else []


def _describe(header: str | None, cookie: str | None, description: str) -> Mapping[str, Json]:
    more: dict[str, Json] = {"description": description} if description else {}
    if cookie is not None:
        return {"type": "apiKey", "in": "cookie", "name": cookie, **more}
    if header is not None and header.lower() != "authorization":
        return {"type": "apiKey", "in": "header", "name": header, **more}
    return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", **more}
