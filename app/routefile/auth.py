"""`auth` of a route file: the schemes at the top, and the rules of a route.

A scheme is built in two steps, so that the process that serves requests reads no file. A `SchemeSource` has the checked
contents of all files as JSON. `build_scheme` makes the scheme from it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, TypeAdapter, WithJsonSchema, model_validator

from ..edge.api_keys import ApiKeys, Key
from ..edge.auth import Authenticate
from ..edge.credentials import Place
from ..edge.identity import Scheme
from ..edge.policy import Policy
from ..formats.schemas import Json
from ..formats.words import suggest
from ..pieces import Steps
from .bearer import JwtModel
from .certificates import CertificateModel, build_certificates
from .keys import read_key
from .names import OPEN, HeaderName, PlainName, Scope
from .strict import StrictModel
from .types import Value


def _read_rules(value: object) -> object:
    if isinstance(value, str):
        return {"any": [value]}
    if not isinstance(value, dict):
        raise ValueError("must be a scheme, `none`, or a mapping such as `{any: [users, partners], scopes: [read]}`")
    return value


class ApiKeyModel(StrictModel):
    """Callers with an API key that a file lists. The key is in a header, a query parameter or a cookie."""

    type: Literal["api-key"] = Field(description="The kind of credential that callers send.")
    header: HeaderName | None = Field(None, description="The request header that has the key, such as `X-API-Key`.")
    query: PlainName | None = Field(
        None,
        description="The query parameter that has the key. Proxies may log it, and browsers remember it: a header is "
        "safer.",
    )
    cookie: PlainName | None = Field(None, description="The cookie that has the key.")
    file: Annotated[str, Field(min_length=1)] = Field(
        description="The file with the digests of the keys, relative to the folder of the route file. "
        "`nats-http keys` writes it."
    )
    description: str = Field("", description="For the documentation; CommonMark.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(name is not None for name in (self.header, self.query, self.cookie)) != 1:
            raise ValueError("must have exactly one of `header`, `query` and `cookie`")
        return self

    @property
    def place(self) -> tuple[Place, str]:
        """The place of the key in a request, and the name of the header, parameter or cookie."""
        if self.header is not None:
            return "header", self.header
        return ("query", self.query) if self.query is not None else ("cookie", self.cookie or "")


AnyScheme = ApiKeyModel | JwtModel | CertificateModel
KINDS: Mapping[str, type[ApiKeyModel] | type[JwtModel] | type[CertificateModel]] = {
    "api-key": ApiKeyModel,
    "jwt": JwtModel,
    "client-certificate": CertificateModel,
}
"""The kinds of schemes, by their `type`."""

SchemeModel = Annotated[AnyScheme, Field(discriminator="type")]


class AuthRulesModel(StrictModel):
    """Who may call a route."""

    any: list[str] = Field(min_length=1, description="Names of schemes. A caller must pass one of them.")
    scopes: list[Scope] = Field([], description="Scopes that the caller must have, all of them.")
    claims: dict[str, Value] = Field({}, description="Claims that the caller must have: a value, or one of a list.")


Auth = Annotated[
    AuthRulesModel,
    BeforeValidator(_read_rules),
    WithJsonSchema({"anyOf": [{"type": "string"}, AuthRulesModel.model_json_schema(by_alias=True)]}),
]


_SCHEME: TypeAdapter[AnyScheme] = TypeAdapter(SchemeModel)


@dataclass(frozen=True, slots=True)
class SchemeSource:
    """The declaration of a scheme, its name, and the checked contents of its files as JSON. `entries` may be secret."""

    name: str
    declared: Mapping[str, Json]
    entries: Sequence[Json] = field(default=(), repr=False)


def build_scheme(name: str, declared: object, entries: Iterable[Json]) -> Steps[Scheme]:
    """Make the scheme of a checked source. The generator yields between short steps and returns the scheme."""
    model = _SCHEME.validate_python(declared)
    if isinstance(model, JwtModel):
        from .issuers import build_bearer

        return build_bearer(name, model, list(entries))
    if isinstance(model, CertificateModel):
        return build_certificates(name, model, list(entries))
    keys: dict[bytes, Key] = {}
    for entry in entries:
        digest, key = read_key(entry, name)
        keys[digest] = key
        yield
    place, called = model.place
    return ApiKeys(keys, place=place, name=called, realm=name, description=model.description)


def make_auth(rules: AuthRulesModel, schemes: Mapping[str, Scheme]) -> list[Policy]:
    """The policy of a route, as a list. The list is empty if everybody may call the route."""
    if rules.any == [OPEN]:
        return []
    claims = {name: value if isinstance(value, list) else [value] for name, value in rules.claims.items()}
    return [Authenticate({name: schemes[name] for name in rules.any}, scopes=rules.scopes, claims=claims)]


def find_rule_faults(
    rules: AuthRulesModel | None, known: Sequence[str] | None
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Faults of `auth` of a route: the key path below `auth`, and a text. `known` has the names of all schemes. It is
    None if the file declares no `auth`."""
    if rules is None:
        if known is not None:
            yield (), "is missing: the file declares `auth`, so each route must say who may call it, or `auth: none`"
        return
    if OPEN in rules.any:
        if len(rules.any) > 1 or rules.scopes or rules.claims:
            yield (), "`none` lets everybody call: it can't be combined with schemes, scopes or claims"
        return
    for index, name in enumerate(rules.any):
        if name not in (known or ()):
            names = "".join(f"{scheme}, " for scheme in known or ())
            others = f"; known are {names}and `none` for everybody" if names else "; the file has no schemes"
            hint = suggest(name, known or ()) or others
            yield ("any", index), f"no scheme of this name is under `auth`{hint}"
