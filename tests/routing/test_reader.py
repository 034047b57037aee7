import re
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidParameter, UriTooLong
from app.formats.fields import Pair
from app.routing.parameters import MAX_MANY, Parameter
from app.routing.reader import ParameterReader

texts = st.text(st.characters(exclude_categories=["Cs"]))


def read(
    *parameters: Parameter,
    segments: tuple[bytes, ...] = (),
    query: bytes = b"",
    headers: tuple[Pair, ...] = (),
    tokens: str = "",
) -> tuple[dict[str, str], dict[str, Any]]:
    path = [parameter.name for parameter in parameters if parameter.location == "path"]
    reader = ParameterReader(parameters, path=path, tokens=frozenset(tokens.split()))
    found = reader.read(segments, query, headers)
    return dict(found[0]), dict(found[1])


def in_query(name: str = "q", **rules: Any) -> Parameter:
    return Parameter(name=name, location="query", **rules)


def in_header(name: str = "X-H", **rules: Any) -> Parameter:
    return Parameter(name=name, location="header", **rules)


# The query


@given(texts)
def test_every_text_comes_through_a_query(text: str) -> None:
    for encoded in (quote(text, safe=""), quote_plus(text, safe=""), quote(text, safe="é/?:@!$'()*,;=")):
        assert read(in_query(), query=b"q=" + encoded.encode()) == ({}, {"q": text})


@given(st.lists(st.tuples(st.sampled_from(["q", "r", "other"]), texts)))
def test_a_query_is_read_as_browsers_write_it(pairs: list[tuple[str, str]]) -> None:
    _, values = read(in_query(many=True), in_query("r", many=True), query=urlencode(pairs).encode())
    for name in ("q", "r"):
        expected = [value for key, value in pairs if key == name]
        assert values.get(name, []) == expected


@given(st.binary())
def test_a_query_of_any_bytes_is_read_or_refused(query: bytes) -> None:
    try:
        _, values = read(in_query(), in_query("r", many=True), query=query)
    except InvalidParameter:
        return
    assert values.keys() <= {"q", "r"}


@pytest.mark.parametrize(
    ("query", "value"),
    [
        (b"q=", ""),
        (b"q", ""),
        (b"&&q=a&", "a"),
        (b"q=a+b", "a b"),
        (b"q=a%2Bb", "a+b"),
        (b"q=a=b", "a=b"),
        (b"q=a;b", "a;b"),
        (b"%71=a", "a"),
        (b"%ff=x&q=a", "a"),
        (b"q=\xc3\xa9", "é"),
    ],
)
def test_odd_queries_have_one_meaning(query: bytes, value: str) -> None:
    assert read(in_query(), query=query)[1] == {"q": value}


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (b"q=%", "has a '%' that is not followed by two hex digits"),
        (b"q=%4", "has a '%'"),
        (b"q=%u0041", "has a '%'"),
        (b"q=%ff", "is not valid UTF-8"),
        (b"q=\xff", "is not valid UTF-8"),
        (b"q=%ed%a0%80", "is not valid UTF-8"),
        (b"q=a&q=a", "stands in the request more than once"),
        (b"q&q", "stands in the request more than once"),
        (b"q=a&%71=b", "stands in the request more than once"),
    ],
)
def test_a_query_that_breaks_is_refused_by_name(query: bytes, reason: str) -> None:
    with pytest.raises(InvalidParameter, match=f"^Query parameter 'q' {re.escape(reason)}"):
        read(in_query(), query=query)


def test_what_is_not_declared_is_not_read() -> None:
    assert read(in_query(), query=b"x=%zz&Q=1&q%20=1&%FF") == ({}, {})
    assert read(query=b"q=%zz") == ({}, {})


def test_an_absent_parameter_is_left_out_or_has_its_default_or_is_asked_for() -> None:
    assert read(in_query(), in_query("d", type="integer", default=5), in_header("X-D", default="x")) == (
        {},
        {"d": 5, "X-D": "x"},
    )
    for parameter in (in_query(required=True), in_header("q", required=True)):
        with pytest.raises(InvalidParameter, match=r"parameter 'q' is missing\.$"):
            read(parameter, query=b"Q=1", headers=((b"q-", b"1"),))


def test_only_so_many_values_are_taken() -> None:
    query = b"&".join([b"q=1"] * MAX_MANY)
    assert read(in_query(many=True, type="integer"), query=query)[1] == {"q": [1] * MAX_MANY}
    with pytest.raises(InvalidParameter, match=f"more than {MAX_MANY} times"):
        read(in_query(many=True, type="integer"), query=query + b"&q=1")


# Headers


def test_a_header_parameter_is_found_and_keeps_its_spelling() -> None:
    assert read(in_header(), headers=((b"x-h", b"caf\xc3\xa9"), (b"x-other", b"1"))) == ({}, {"X-H": "café"})


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (((b"x-h", b"a"), (b"x-h", b"a")), "stands in the request more than once"),
        (((b"x-h", b"\xff"),), "is not valid UTF-8"),
        (((b"x-h", b"a\x01"),), "has a control character"),
        (((b"x-h", b"a\nb"),), "has a control character"),
    ],
)
def test_a_header_that_breaks_is_refused_by_name(headers: tuple[Pair, ...], reason: str) -> None:
    with pytest.raises(InvalidParameter, match=f"^Header parameter 'X-H' {reason}"):
        read(in_header(), headers=headers)


def test_a_percent_sign_in_a_header_is_a_percent_sign() -> None:
    assert read(in_header(), headers=((b"x-h", b"%41"),))[1] == {"X-H": "%41"}


# The path, and the subject


def test_a_path_parameter_in_the_subject_is_a_token_and_has_its_type() -> None:
    tokens, values = read(Parameter(name="id", type="integer"), segments=(b"7",), tokens="id")
    assert (tokens, values) == ({"id": "7"}, {"id": 7})
    for segment in (b"07", b"a", b"", b"7%2E0", b"%37%20"):
        with pytest.raises(InvalidParameter, match=r"^Path parameter 'id' "):
            read(Parameter(name="id", type="integer"), segments=(segment,), tokens="id")


@given(texts.filter(bool))
def test_a_path_parameter_outside_of_the_subject_is_any_text(text: str) -> None:
    assert read(Parameter(name="id"), segments=(quote(text, safe="").encode(),)) == ({}, {"id": text})


@pytest.mark.parametrize("segment", [b"", b"%", b"%zz", b"%ff"])
def test_a_path_parameter_outside_of_the_subject_is_still_a_text(segment: bytes) -> None:
    with pytest.raises(InvalidParameter, match=r"^Path parameter 'id' "):
        read(Parameter(name="id"), segments=(segment,))


@pytest.mark.parametrize("text", ["a.b", "*", ">", "a b", "", "\u200b", "\x00", "a/b"])
@pytest.mark.parametrize("location", ["query", "header"])
def test_a_token_is_one_token_wherever_it_comes_from(text: str, location: str) -> None:
    parameter = in_query() if location == "query" else in_header("q")
    sent: dict[str, Any] = {"query": b"q=" + quote(text, safe="").encode()}
    if location == "header":
        sent = {"headers": ((b"q", text.encode()),)}
    with pytest.raises(InvalidParameter, match=f"^{location.capitalize()} parameter 'q' "):
        read(parameter, tokens="q", **sent)


def test_a_token_is_not_too_long() -> None:
    assert read(in_query(), query=b"q=" + b"x" * 128, tokens="q")[0] == {"q": "x" * 128}
    with pytest.raises(UriTooLong, match=r"^Query parameter 'q' has more than 128 characters"):
        read(in_query(), query=b"q=" + b"x" * 129, tokens="q")


@pytest.mark.parametrize(
    ("rules", "query", "token"),
    [
        ({"default": "eu"}, b"", "eu"),
        ({"default": 7, "type": "integer"}, b"", "7"),
        ({"default": True, "type": "boolean"}, b"", "true"),
        ({"type": "boolean"}, b"q=false", "false"),
        ({"type": "integer"}, b"q=-7", "-7"),
    ],
)
def test_a_token_is_the_text_of_its_value(rules: dict[str, Any], query: bytes, token: str) -> None:
    assert read(in_query(**rules), query=query, tokens="q")[0] == {"q": token}
