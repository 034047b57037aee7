"""Who may call a route, as soon as its schemes know who it is."""

import subprocess
import sys
from collections.abc import Mapping

import pytest

from app.edge.auth import Authenticate
from app.edge.identity import AsyncIdentify, Identity, find_claim
from app.edge.request import Caller, Request
from app.errors import Forbidden, GatewayError, KeysUnavailable, Unauthenticated
from app.formats.schemas import Json

CALLER = Caller(address="127.0.0.1", scheme="http", lane="fast")


class Fixed:
    """A scheme that always says the same."""

    query = None

    def __init__(self, name: str, said: Identity | AsyncIdentify | Exception | None = None) -> None:
        self.fields = frozenset((name.encode(),))
        self.challenge = f'Bearer realm="{name}"'
        self._said = said

    def identify(self, _: Request) -> Identity | AsyncIdentify | None:
        if isinstance(self._said, Exception):
            raise self._said
        return self._said

    def describe(self) -> Mapping[str, Json]:
        return {}


def make_identity(*scopes: str, scheme: str = "a", **claims: Json) -> Identity:
    return Identity(scheme, "sue", frozenset(scopes), claims)


def make_request() -> Request:
    return Request("GET", b"/", b"", (), "1.1", 0.0, CALLER)


def refuse(policy: Authenticate) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        policy.check(make_request())
    return caught.value


WRONG = Unauthenticated("Wrong.", challenge='Bearer realm="a", error="invalid_token"')


def test_one_credential_that_is_right_is_enough() -> None:
    for first in (None, WRONG, make_identity()):
        policy = Authenticate({"a": Fixed("a", first), "b": Fixed("b", make_identity(scheme="b"))})
        request = make_request()
        assert policy.check(request) is None
        assert request.identity is not None
        assert policy.fields == {b"a", b"b"}


def test_who_sends_nothing_gets_the_challenges_of_all_schemes() -> None:
    error = refuse(Authenticate({"a": Fixed("a"), "b": Fixed("b")}))
    assert (error.status, error.headers) == (
        401,
        ((b"www-authenticate", b'Bearer realm="a"'), (b"www-authenticate", b'Bearer realm="b"')),
    )


def test_who_sends_something_wrong_is_told_so() -> None:
    error = refuse(Authenticate({"a": Fixed("a", WRONG), "b": Fixed("b")}))
    assert error.detail == "Wrong."
    assert error.headers[0] == (b"www-authenticate", b'Bearer realm="a", error="invalid_token"')
    assert error.headers[1] == (b"www-authenticate", b'Bearer realm="b"')


def test_a_scheme_that_has_to_wait_is_waited_for_only_where_no_other_knows_the_caller() -> None:
    async def wait() -> Identity:
        raise AssertionError("nobody has to wait")

    policy = Authenticate({"a": Fixed("a", wait), "b": Fixed("b", make_identity(scheme="b"))})
    assert policy.check(make_request()) is None


async def test_what_is_waited_for_is_refused_or_let_pass_as_well() -> None:
    async def know() -> Identity:
        return make_identity("read")

    async def refuse_all() -> Identity:
        raise WRONG

    request = make_request()
    wait = Authenticate({"a": Fixed("a", know)}).check(request)
    assert wait is not None
    await wait()
    assert request.identity is not None
    wait = Authenticate({"a": Fixed("a", know)}, scopes=["write"]).check(request)
    assert wait is not None
    with pytest.raises(Forbidden):
        await wait()
    wait = Authenticate({"a": Fixed("a", refuse_all), "b": Fixed("b", refuse_all)}).check(request)
    assert wait is not None
    with pytest.raises(Unauthenticated):
        await wait()


async def test_an_issuer_that_is_away_is_no_harm_to_the_tokens_of_another() -> None:
    async def know() -> Identity:
        return make_identity(scheme="b")

    async def fail() -> Identity:
        raise KeysUnavailable

    async def refuse_all() -> Identity:
        raise WRONG

    for second, error in ((know, None), (refuse_all, KeysUnavailable)):
        wait = Authenticate({"a": Fixed("a", fail), "b": Fixed("b", second)}).check(make_request())
        assert wait is not None
        if error is None:
            await wait()
        else:
            with pytest.raises(error):
                await wait()


def test_all_scopes_are_asked_for_and_a_bearer_of_too_few_is_told_which() -> None:
    schemes = {"a": Fixed("a", make_identity("read", "list"))}
    assert Authenticate(schemes, scopes=["list", "read"]).check(make_request()) is None
    error = refuse(Authenticate(schemes, scopes=["read", "write"]))
    assert (error.status, error.detail) == (403, "The caller lacks a scope that this route asks for: write.")
    assert error.headers == (
        (b"www-authenticate", b'Bearer realm="a", error="insufficient_scope", scope="read write"'),
    )


@pytest.mark.parametrize(
    ("claim", "wanted", "is_right"),
    [
        ("acme", ["acme"], True),
        ("acme", ["other", "acme"], True),
        (["x", "acme"], ["acme"], True),
        (7, [7], True),
        (True, [True], True),
        ("acm", ["acme"], False),
        ("acme2", ["acme"], False),
        ("ACME", ["acme"], False),
        ([], ["acme"], False),
        ({"acme": 1}, ["acme"], False),
        (True, [1], False),
        (1, [True], False),
        ("7", [7], False),
        (None, ["acme"], False),
    ],
)
def test_a_claim_has_one_of_the_values(claim: Json, wanted: list[Json], is_right: bool) -> None:
    schemes = {"a": Fixed("a", make_identity(tenant=claim))}
    policy = Authenticate(schemes, claims={"tenant": wanted})
    if is_right:
        assert policy.check(make_request()) is None
    else:
        assert refuse(policy).status == 403


def test_a_claim_is_found_by_its_name_or_by_the_way_to_it() -> None:
    claims: dict[str, Json] = {"a": {"b": {"c": 1}}, "https://x.example/t": 2, "n": None}
    for path, value in (
        ("a.b.c", 1),
        ("https://x.example/t", 2),
        ("n", None),
        ("n.x", None),
        ("a.x", None),
        ("", None),
    ):
        assert find_claim(claims, path) == value


def test_what_verifies_tokens_is_not_loaded_without_a_scheme_of_tokens() -> None:
    code = "import sys, app.main; sys.exit(bool({'jwt', 'cryptography', 'httpx'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
