"""API keys: how one looks, and which of them a scheme knows."""

import time
import zlib
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pytest

from app.edge.api_keys import MAX_KEY, PREFIX, ApiKeys, Key, digest_key, make_key
from app.edge.credentials import Place
from app.edge.identity import Identity
from app.edge.request import Caller, Request
from app.errors import Unauthenticated
from app.formats.fields import Pair

RIGHT, OLD = b"nhg_right", b"nhg_old"
SUE = Identity("partners", "sue", frozenset(("orders:read",)), {"sub": "sue"})
CALLER = Caller(address="127.0.0.1", scheme="http", lane="fast")


def ask(fields: Sequence[Pair] = (), *, query: bytes = b"", place: Place = "header") -> Identity | None:
    """Whom a scheme knows by a request with these fields and this query."""
    known = {RIGHT: Key(SUE, float("inf")), OLD: Key(SUE, time.time() - 1), b"a b": Key(SUE, float("inf"))}
    keys = {bytes.fromhex(digest_key(text)): key for text, key in known.items()}
    scheme = ApiKeys(keys, place=place, name="X-API-Key" if place == "header" else "key", realm="partners")
    request = Request("GET", b"/", query, fields, "1.1", 0.0, CALLER)
    return scheme.identify(request)


def test_a_key_has_a_prefix_256_random_bits_and_a_checksum_that_scanners_can_verify() -> None:
    keys = {make_key() for _ in range(100)}
    assert len(keys) == 100
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    for key in keys:
        assert key.startswith(PREFIX)
        assert len(key) == len(PREFIX) + 43 + 6
        checksum = 0
        for digit in key[-6:]:
            checksum = checksum * 62 + digits.index(digit)
        assert checksum == zlib.crc32(key[:-6].encode())


@pytest.mark.parametrize(
    ("place", "fields", "query"),
    [
        ("header", [(b"x-api-key", RIGHT)], b""),
        ("header", [(b"x-other", b"x"), (b"x-api-key", RIGHT)], b""),
        ("header", [(b"x-api-key", RIGHT + b" \t ")], b""),
        ("query", [], b"key=nhg_right"),
        ("query", [], b"a=1&k%65y=nhg%5Fright&b="),
        ("query", [], b"key=a+b"),
        ("cookie", [(b"cookie", b"key=nhg_right")], b""),
        ("cookie", [(b"cookie", b'a=1;  key="nhg_right" ; b=2')], b""),
        ("cookie", [(b"cookie", b"a=1"), (b"cookie", b"key=nhg_right")], b""),
    ],
)
def test_a_key_that_is_known_has_its_identity(place: Place, fields: Sequence[Pair], query: bytes) -> None:
    assert ask(fields, query=query, place=place) is SUE


@pytest.mark.parametrize(
    ("place", "fields", "query"),
    [
        ("header", [], b"X-API-Key=nhg_right"),
        ("query", [(b"key", RIGHT)], b"keys=nhg_right&xkey=a&KEY=a"),
        ("cookie", [(b"cookie", b"keys=a; Key=a; key; =; ;;")], b"key=nhg_right"),
        ("cookie", [], b""),
    ],
)
def test_a_request_without_a_key_is_nobodys(place: Place, fields: Sequence[Pair], query: bytes) -> None:
    assert ask(fields, query=query, place=place) is None


@pytest.mark.parametrize(
    "values",
    [
        [b""],
        [b"nhg_righ"],
        [b"nhg_rightt"],
        [b"NHG_RIGHT"],
        [b"nhg_right, nhg_right"],
        [RIGHT, RIGHT],
        [RIGHT, b"nhg_wrong"],
        [b"nhg_wrong", RIGHT],
        [OLD],
        [b"\x00"],
        [b"\xff" * 40],
        [b"%s"],
        [b"n" * (MAX_KEY + 1)],
        [digest_key(RIGHT).encode()],
        [bytes.fromhex(digest_key(RIGHT))],
    ],
)
@pytest.mark.parametrize("place", ["header", "cookie"])
def test_a_wrong_key_is_refused_and_does_not_stand_in_the_error(place: Place, values: list[bytes]) -> None:
    pairs = [(b"x-api-key", v) if place == "header" else (b"cookie", b"key=%b" % v) for v in values]
    with pytest.raises(Unauthenticated) as caught:
        ask(pairs, place=place)
    assert "nhg_" not in caught.value.detail
    assert caught.value.status == 401


@pytest.mark.parametrize("query", [b"key=", b"key", b"key=a&key=nhg_right", b"key=nhg_right&k%65y=a", b"key=%zz"])
def test_a_wrong_key_in_the_query_is_refused(query: bytes) -> None:
    with pytest.raises(Unauthenticated):
        ask(query=query, place="query")


def test_a_valid_key_is_remembered_until_it_expires_and_a_wrong_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    digests: list[bytes] = []

    def digest(key: bytes) -> Any:
        digests.append(key)
        return sha256(key)

    monkeypatch.setattr("app.edge.api_keys.sha256", digest)
    keys = {sha256(RIGHT).digest(): Key(SUE, time.time() + 1000)}
    scheme = ApiKeys(keys, place="header", name="X-API-Key", realm="partners")

    def ask_again(key: bytes) -> Identity | None:
        return scheme.identify(Request("GET", b"/", b"", [(b"x-api-key", key)], "1.1", 0.0, CALLER))

    for wrong in (RIGHT + b"t", RIGHT[:-1], RIGHT.upper()) * 2:
        with pytest.raises(Unauthenticated, match="not valid"):
            ask_again(wrong)
    assert len(digests) == 6
    assert (ask_again(RIGHT), ask_again(bytes(bytearray(RIGHT)))) == (SUE, SUE)
    assert digests[6:] == [RIGHT]
    later = time.time() + 1001
    monkeypatch.setattr("app.edge.api_keys.time.time", lambda: later)
    with pytest.raises(Unauthenticated, match="expired"):
        ask_again(RIGHT)
