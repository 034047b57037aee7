"""Signed tokens: which are right, and what is refused of all the others."""

import base64
import gc
import hashlib
import hmac
import json
import time
import tracemalloc
from collections.abc import Sequence
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import RSAAlgorithm

from app.edge import bearer
from app.edge.bearer import MAX_TOKEN, BearerTokens, TokenRules
from app.edge.identity import Identity
from app.edge.jwk import make_secret, read_keys
from app.edge.key_sets import ASYMMETRIC, KeySet
from app.edge.request import Caller, Request
from app.errors import KeysUnavailable, Unauthenticated
from app.formats.fields import Pair
from tests.issuer import (
    AUDIENCE,
    EC_KEY,
    ED_KEY,
    ISSUER,
    OTHER_RSA_KEY,
    RSA_KEY,
    SECRET,
    make_claims,
    make_jwk,
    make_jwks,
    sign,
)

CALLER = Caller(address="127.0.0.1", scheme="http", lane="fast")
PEM = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def make_scheme(keys: KeySet | None = None, **rules: Any) -> BearerTokens:
    given = {"issuer": ISSUER, "audience": (AUDIENCE,), "algorithms": frozenset(ASYMMETRIC), **rules}
    return BearerTokens("users", TokenRules(**given), keys or KeySet(read_keys(make_jwks())))


def ask(scheme: BearerTokens, fields: Sequence[Pair]) -> Identity | None:
    request = Request("GET", b"/", b"", fields, "1.1", 0.0, CALLER)
    found = scheme.identify(request)
    assert found is None or isinstance(found, Identity)
    return found


def show(token: str | bytes) -> list[Pair]:
    return [(b"authorization", b"Bearer " + (token.encode() if isinstance(token, str) else token))]


def refuse(scheme: BearerTokens, fields: Sequence[Pair]) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        ask(scheme, fields)
    return caught.value


def write(header: object, claims: object = None, signature: bytes = b"x") -> str:
    """A token that no library would make."""
    parts = [json.dumps(part).encode() if not isinstance(part, bytes) else part for part in (header, claims)]
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (*parts, signature)).decode()


def forge(algorithm: str, key: bytes) -> str:
    """An HMAC with something that everybody knows, in spite of what libraries say."""
    head = write({"alg": algorithm, "kid": "rsa"}, make_claims()).rpartition(".")[0]
    digest = hmac.new(key, head.encode(), hashlib.sha256).digest()
    return head + "." + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("key", "kid", "algorithm"),
    [
        (RSA_KEY, "rsa", "RS256"),
        (RSA_KEY, "rsa", "RS512"),
        (RSA_KEY, "rsa", "PS256"),
        (EC_KEY, "ec", "ES256"),
        (ED_KEY, "ed", "EdDSA"),
        (RSA_KEY, None, "RS256"),
    ],
)
def test_a_right_token_says_who_calls(key: Any, kid: str | None, algorithm: str) -> None:
    header = {} if kid is None else {"kid": kid}
    token = jwt.encode(make_claims(tenant="acme"), key, algorithm, headers=header)
    identity = ask(make_scheme(), show(token))
    assert identity is not None
    assert (identity.scheme, identity.subject, *identity.scopes) == ("users", "sue", "orders:read")
    assert identity.claims["tenant"] == "acme"


def test_a_request_without_a_token_is_nobodys() -> None:
    for fields in ([], [(b"authorization", b"Basic c3VlOng=")], [(b"authorization", b"")], [(b"x-auth", b"Bearer x")]):
        assert ask(make_scheme(), fields) is None


HOSTILE: dict[str, str | bytes] = {
    "empty": "",
    "a word": "abc",
    "dots": "..",
    "many dots": "." * 100,
    "two parts": sign().rpartition(".")[0],
    "no signature": sign().rpartition(".")[0] + ".",
    "five parts, encrypted": "a.b.c.d.e",
    "blanks": "a b c",
    "two tokens": f"{sign()}, {sign()}",
    "no base64": "!!!.???.***",
    "not UTF-8": b"\xff\xfe.\xff.\xff",
    "control characters": b"a\x01.b.c",
    "header of no JSON": write(b"{", make_claims()),
    "header is a list": write([], make_claims()),
    "header is deep": write(b"[" * 3000, make_claims()),
    "no alg": write({"typ": "JWT"}, make_claims()),
    "alg none": write({"alg": "none"}, make_claims(), b""),
    "alg None": write({"alg": "None"}, make_claims(), b""),
    "alg NONE with a kid": write({"alg": "NONE", "kid": "rsa"}, make_claims(), b""),
    "alg is empty": write({"alg": ""}, make_claims()),
    "alg is a list": write({"alg": ["RS256"], "kid": "rsa"}, make_claims()),
    "alg null": write({"alg": None, "kid": "rsa"}, make_claims()),
    "HMAC with the public key": forge("HS256", PEM),
    "HMAC with its JWK": forge("HS256", json.dumps(make_jwk()).encode()),
    "HMAC with nothing": forge("HS256", b""),
    "ES256 with the RSA key": write({"alg": "ES256", "kid": "rsa"}, make_claims(), b"x" * 64),
    "ES256 of zeros": write({"alg": "ES256", "kid": "ec"}, make_claims(), bytes(64)),
    "RS256 with the EC key": sign(kid="ec"),
    "another key": sign(key=OTHER_RSA_KEY),
    "another key in the header": sign(key=OTHER_RSA_KEY, jwk=make_jwk("rsa", OTHER_RSA_KEY)),
    "another key by a URL": sign(key=OTHER_RSA_KEY, jku="https://evil.example/keys", x5u="https://evil.example/c"),
    "unknown kid": sign(kid="other"),
    "kid is a path": sign(kid="../../../../dev/null"),
    "kid is SQL": sign(kid="x' UNION SELECT 'a"),
    "kid is long": sign(kid="k" * 1000),
    "kid is a number": write({"alg": "RS256", "kid": 7}, make_claims()),
    "kid is a list": write({"alg": "RS256", "kid": ["rsa"]}, make_claims()),
    "crit": sign(crit=["exp"]),
    "crit of b64": write({"alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": False}, b"", b"x"),
    "crit is empty": write({"alg": "RS256", "kid": "rsa", "crit": []}, make_claims()),
    "expired": sign(make_claims(exp=int(time.time()) - 60)),
    "expired long ago": sign(make_claims(exp=0)),
    "expires in the past": sign(make_claims(exp=-1e300)),
    "no exp": sign(make_claims(exp=None)),
    "exp is a text": sign(make_claims(exp="99999999999")),
    "exp is true": sign(make_claims(exp=True)),
    "exp is a list": sign(make_claims(exp=[])),
    "exp is too large for a float": sign(make_claims(exp=10**400)),
    "exp is beyond all clocks": sign(make_claims(exp=1e300)),
    "nbf is too large for a float": sign(make_claims(nbf=-(10**400))),
    "exp is infinite": sign(make_claims(exp=float("inf"))),
    "exp is NaN": sign(make_claims(exp=float("nan"))),
    "nbf to come": sign(make_claims(nbf=int(time.time()) + 3600)),
    "nbf is a text": sign(make_claims(nbf="0")),
    "iat to come": sign(make_claims(iat=int(time.time()) + 3600)),
    "no iss": sign(make_claims(iss=None)),
    "another iss": sign(make_claims(iss="https://evil.example/")),
    "iss without its slash": sign(make_claims(iss=ISSUER.rstrip("/"))),
    "no aud": sign(make_claims(aud=None)),
    "another aud": sign(make_claims(aud="shop")),
    "aud is longer": sign(make_claims(aud="orders2")),
    "aud is empty": sign(make_claims(aud=[])),
    "aud has a number": sign(make_claims(aud=["orders", 1])),
    "aud is a mapping": sign(make_claims(aud={"orders": 1})),
    "sub is a number": sign(make_claims(sub=7)),
    "claims are a list": write({"alg": "RS256", "kid": "rsa"}, []),
    "too long": sign(make_claims(pad="x" * MAX_TOKEN)),
    "changed claims": ".".join(
        [sign().split(".")[0], write(make_claims(sub="root")).split(".")[0], sign().split(".")[2]]
    ),
    "changed signature": sign()[:-8] + "AAAAAAAA",
}


@pytest.mark.parametrize("token", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_token_is_refused_and_nothing_of_it_is_remembered(token: str | bytes) -> None:
    scheme = make_scheme()
    error = refuse(scheme, show(token))
    assert error.challenge.startswith('Bearer realm="users", error="invalid_token", error_description="')
    assert error.challenge.isascii()
    assert not scheme._known
    assert not any(part in error.detail for part in ("evil", "root", "UNION", "dev/null"))


@pytest.mark.parametrize(
    ("claims", "detail", "facts"),
    [
        ({"exp": None}, "The token lacks the claim exp.", {}),
        ({"iss": None}, "The token lacks the claim iss.", {}),
        ({"aud": None}, "The token lacks the claim aud.", {}),
        (
            {"iss": ISSUER[:-1] + "\n"},
            "The token is from another issuer.",
            {"wanted": ISSUER, "got": ISSUER[:-1]},
        ),
        ({"aud": ["a", "b"]}, "The token is for another audience.", {"wanted": AUDIENCE, "got": '["a", "b"]'}),
        ({"aud": "x" * 1000}, "The token is for another audience.", {"wanted": AUDIENCE, "got": "x" * 512}),
    ],
)
def test_a_claim_that_is_wrong_or_missing_is_named_and_only_operators_see_it(
    claims: dict[str, Any], detail: str, facts: dict[str, str]
) -> None:
    error = refuse(make_scheme(), show(sign(make_claims(**claims))))
    assert (error.detail, dict(error.facts)) == (detail, {"detail": detail, **facts})
    assert facts.get("got", "nothing") not in error.challenge


def test_of_a_token_with_a_wrong_signature_no_claim_counts() -> None:
    error = refuse(make_scheme(), show(sign(make_claims(iss="evil"), key=OTHER_RSA_KEY)))
    assert dict(error.facts) == {"detail": "The signature of the token is wrong."}


def test_a_token_without_the_word_bearer_is_told_so() -> None:
    error = refuse(make_scheme(), [(b"authorization", sign().encode())])
    assert error.detail == "The header Authorization does not begin with the word Bearer."
    assert ask(make_scheme(), [(b"authorization", b"Basic c3VlOng=")]) is None


@pytest.mark.parametrize(
    "fields",
    [
        [*show(sign()), *show(sign())],
        [*show(sign()), (b"authorization", b"Basic eDp5")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"bearer  ")],
    ],
)
def test_several_tokens_and_an_empty_one_are_refused(fields: list[Pair]) -> None:
    refuse(make_scheme(), fields)


@pytest.mark.parametrize("word", [b"bearer ", b"BEARER ", b"Bearer   "])
def test_the_word_bearer_is_taken_in_any_case(word: bytes) -> None:
    assert ask(make_scheme(), [(b"authorization", word + sign().encode())])


def test_a_token_may_come_in_a_header_of_its_own_or_in_a_cookie() -> None:
    rules = TokenRules(issuer=ISSUER, audience=(AUDIENCE,), algorithms=frozenset(ASYMMETRIC))
    keys, token = KeySet(read_keys(make_jwks())), sign().encode()
    by_header = BearerTokens("a", rules, keys, header="X-Token")
    by_cookie = BearerTokens("a", rules, keys, cookie="session")
    assert ask(by_header, [(b"x-token", token)])
    assert ask(by_header, [(b"x-token", token + b" \t")])
    assert ask(by_header, [(b"x-token", b"Bearer " + token)])
    assert ask(by_cookie, [(b"cookie", b"a=b; session=" + token)])
    assert ask(by_header, show(token)) is ask(by_cookie, show(token)) is None
    refuse(by_cookie, [(b"cookie", b"session=%b; session=%b" % (token, token))])
    refuse(by_header, [(b"x-token", token), (b"x-token", token)])
    assert (by_header.describe()["in"], by_cookie.describe()["in"]) == ("header", "cookie")


@pytest.mark.parametrize(
    ("claims", "name", "scopes"),
    [
        ({"scope": "a b  c"}, None, {"a", "b", "c"}),
        ({"scope": ["a", "b", 7]}, None, {"a", "b"}),
        ({"scope": None, "scp": "a"}, None, {"a"}),
        ({"scope": None, "scp": ["a"]}, None, {"a"}),
        ({"scope": "a", "roles": ["b"]}, "roles", {"b"}),
        ({"realm_access": {"roles": ["b"]}}, "realm_access.roles", {"b"}),
        ({"scope": 7}, None, set()),
        ({"scope": None}, None, set()),
    ],
)
def test_scopes_are_a_text_or_a_list(claims: dict[str, Any], name: str | None, scopes: set[str]) -> None:
    identity = ask(make_scheme(scopes_claim=name), show(sign(make_claims(**claims))))
    assert identity is not None
    assert identity.scopes == scopes


def test_what_a_scheme_allows_is_let_pass() -> None:
    late = sign(make_claims(exp=int(time.time()) - 5, nbf=int(time.time()) + 5))
    assert ask(make_scheme(leeway=30.0), show(late))
    refuse(make_scheme(), show(late))
    assert ask(make_scheme(requires_expiry=False), show(sign(make_claims(exp=None))))
    assert ask(make_scheme(audience=("shop", AUDIENCE)), show(sign(make_claims(aud=["x", AUDIENCE]))))
    refuse(make_scheme(algorithms=frozenset(("ES256",))), show(sign()))


def test_a_secret_verifies_hmac_and_nothing_else() -> None:
    scheme = make_scheme(KeySet(make_secret(SECRET)), algorithms=frozenset(("HS256",)))
    for header in ({}, {"kid": "any"}):
        assert ask(scheme, show(jwt.encode(make_claims(), SECRET, "HS256", headers=header)))
    refuse(scheme, show(jwt.encode(make_claims(), SECRET + b"x", "HS256")))
    refuse(scheme, show(sign()))
    refuse(scheme, show(write({"alg": "none"}, make_claims(), b"")))


def test_a_token_is_verified_once_until_the_keys_change() -> None:
    keys = KeySet(read_keys(make_jwks()))
    scheme, fields = make_scheme(keys), show(sign())
    first = ask(scheme, fields)
    assert ask(scheme, fields) is first
    keys.replace(read_keys(make_jwks(make_jwk("rsa", OTHER_RSA_KEY))))
    refuse(scheme, fields)
    assert not scheme._known


def test_a_token_is_never_remembered_past_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    scheme, fields = make_scheme(), show(sign(make_claims(exp=int(time.time()) + 100)))
    first = ask(scheme, fields)
    assert ask(scheme, fields) is first
    later = time.time() + 101
    monkeypatch.setattr(time, "time", lambda: later)
    assert ask(scheme, fields) is not first  # it was verified again, by the clock of PyJWT
    assert len(scheme._known) == 1
    assert scheme._bytes == next(iter(scheme._known.values())).size


def test_the_memory_for_right_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bearer, "MAX_REMEMBERED", 5)
    scheme = make_scheme(KeySet(make_secret(SECRET)), algorithms=frozenset(("HS256",)))
    for number in range(12):
        assert ask(scheme, show(jwt.encode(make_claims(sub=str(number)), SECRET, "HS256")))
    assert [known.identity.subject for known in scheme._known.values()] == ["7", "8", "9", "10", "11"]
    monkeypatch.setattr(bearer, "MAX_BYTES", 3 * max(known.size for known in scheme._known.values()))
    assert ask(scheme, show(jwt.encode(make_claims(sub="12"), SECRET, "HS256")))
    assert len(scheme._known) == 3
    assert scheme._bytes == sum(known.size for known in scheme._known.values())
    assert all(known.size > len(sent) + len(known.identity.claims) for sent, known in scheme._known.items())


def test_the_memory_for_right_tokens_is_bounded_whatever_they_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bearer, "MAX_BYTES", 1 << 20)
    scheme = make_scheme(KeySet(make_secret(SECRET)), algorithms=frozenset(("HS256",)))
    tokens = [jwt.encode(make_claims(sub=str(number), deep=[[]] * 1900), SECRET, "HS256") for number in range(100)]
    tracemalloc.start()
    for token in tokens:
        assert ask(scheme, show(token))
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert scheme._known
    assert grown < 2 << 20


def test_wrong_tokens_do_not_grow_the_memory() -> None:
    scheme = make_scheme(KeySet(make_secret(SECRET)), algorithms=frozenset(("HS256",)))
    head, _, signature = jwt.encode(make_claims(), SECRET, "HS256").rpartition(".")

    def send(count: int) -> None:
        for number in range(count):
            refuse(scheme, show(f"{head}.{number:08}{signature[8:]}"))

    send(100)
    tracemalloc.start()
    send(2000)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    send(2000)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000


async def test_a_key_that_is_not_known_is_fetched_and_waited_for() -> None:
    keys = KeySet(url="https://id.example.com/keys")
    scheme, fields = make_scheme(keys), show(sign())
    request = Request("GET", b"/", b"", fields, "1.1", 0.0, CALLER)

    async def fetch() -> None:
        keys.replace(read_keys(make_jwks()))

    async def fail() -> None:
        keys.has_failed = True

    async def find_nothing() -> None:
        keys.has_failed = False

    for outcome, error in ((fail, KeysUnavailable), (find_nothing, Unauthenticated)):
        keys.fetch = outcome
        wait = scheme.identify(request)
        assert callable(wait)
        with pytest.raises(error):
            await wait()
    keys.fetch = fetch
    wait = scheme.identify(request)
    assert callable(wait)
    assert (await wait()).subject == "sue"
    assert ask(scheme, fields)


@pytest.mark.parametrize(
    "keys",
    [
        None,
        [],
        {},
        {"keys": {}},
        {"keys": []},
        {"keys": [7, None, "a", {}]},
        {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}]},
        {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]},
        {"keys": [{"kty": "RSA", "n": 7, "e": []}]},
        {"keys": [{"kty": ["RSA"]}]},
        {"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]},
        {"keys": [make_jwk(use="enc")]},
        {"keys": [make_jwk(key_ops=["sign"])]},
        {"keys": [make_jwk(alg="HS256")]},
        {"keys": [make_jwk(alg="ES256")]},
        {"keys": [make_jwk(kid=None, kty="EC")]},
        {"keys": [make_jwk("small", rsa.generate_private_key(public_exponent=65537, key_size=1024))]},  # noqa: S505 - that it is refused is the test
        {"keys": [make_jwk("curve", ec.generate_private_key(ec.SECP256K1()))]},
    ],
)
def test_a_set_without_a_key_that_can_be_used_is_refused(keys: Any) -> None:
    with pytest.raises(ValueError, match=r"^it "):
        read_keys(keys)


def test_of_a_private_key_only_the_public_part_is_kept() -> None:
    private = json.loads(RSAAlgorithm.to_jwk(RSA_KEY))
    (key,) = read_keys({"keys": [{**private, "key_ops": ["sign", "verify"]}]})
    assert isinstance(key.key, rsa.RSAPublicKey)


def test_nothing_shows_a_secret() -> None:
    assert SECRET.decode() not in repr(make_secret(SECRET))
