"""The declaration of a scheme of signed tokens in a route file."""

import ipaddress
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from ..edge.key_sets import ASYMMETRIC, SYMMETRIC
from .names import HeaderName, PlainName
from .strict import StrictModel, check_with
from .types import Duration, read_list

LEEWAY = 10.0  # seconds by which two clocks may differ

_ALGORITHMS = (*ASYMMETRIC, *SYMMETRIC)
_TEXT = {"type": "string", "minLength": 1}

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"
]
Texts = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    Field(min_length=1),
    BeforeValidator(read_list),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}),
]
FileName = Annotated[str, Field(min_length=1)]


def is_loopback(host: str) -> bool:
    """Whether a host is this machine. Nobody else can read or change such traffic, so it needs no TLS."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_url(text: str) -> None:
    try:
        url = urlsplit(text)
        is_right = url.scheme in ("https", "http") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        is_right = False
    if not is_right or not text.isascii() or not text.isprintable() or " " in text or url.username or url.fragment:
        raise ValueError("must be a URL such as https://id.example.com/keys, without a user and a fragment")
    if url.scheme == "http" and not is_loopback(url.hostname or ""):
        raise ValueError("must begin with https://, or anybody on the way could choose the keys")


class JwtModel(StrictModel):
    """Callers with a token (JWT) that an issuer has signed."""

    type: Literal["jwt"] = Field(description="The kind of credential that callers send.")
    issuer: Annotated[str, Field(min_length=1)] = Field(description="The claim `iss` of the tokens.")
    audience: Texts = Field(description="One text or a list. The claim `aud` must contain one of them.")
    jwks_url: Annotated[str, check_with(_check_url)] | None = Field(
        None,
        description="Where the issuer publishes its public keys, a JWK set: `https://`, or `http://` on this machine.",
    )
    jwks_file: FileName | None = Field(
        None, description="A file with the public keys, a JWK set, relative to the folder of the route file."
    )
    secret_file: FileName | None = Field(
        None, description="A file with a secret that the issuer has too, of 32 bytes or more, for HS256."
    )
    algorithms: list[Algorithm] | None = Field(
        None,
        min_length=1,
        description="The signature algorithms that are accepted. Default: all that fit the keys, or only HS256 with a "
        "`secret_file`.",
    )
    leeway: Duration | None = Field(
        None, description="How much the clocks of the issuer and the gateway may differ. Default: 10s."
    )
    header: HeaderName | None = Field(
        None,
        description="The request header that has the token. Default: Authorization, where it comes after `Bearer`.",
    )
    cookie: PlainName | None = Field(None, description="The cookie that has the token, instead of a header.")
    scopes_claim: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="The claim with the scopes: a list, or a text with blanks between them. Default: `scope`, else "
        "`scp`.",
    )
    requires_expiry: bool = Field(True, description="Whether a token must say in `exp` when it expires.")
    description: str = Field("", description="For the documentation; CommonMark.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(key is not None for key in (self.jwks_url, self.jwks_file, self.secret_file)) != 1:
            raise ValueError("must have exactly one of `jwks_url`, `jwks_file` and `secret_file`")
        if self.header is not None and self.cookie is not None:
            raise ValueError("can have `header` or `cookie`, not both")
        if any((name in SYMMETRIC) is (self.secret_file is None) for name in self.algorithms or ()):
            raise ValueError("HS256, HS384 and HS512 go with a `secret_file`, and the others with public keys")
        return self

    @property
    def allowed(self) -> frozenset[str]:
        """The accepted signature algorithms."""
        return frozenset(self.algorithms or (ASYMMETRIC if self.secret_file is None else ("HS256",)))

    @property
    def file(self) -> str | None:
        """The name of the file that the scheme needs, if any."""
        return self.jwks_file or self.secret_file
