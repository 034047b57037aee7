import re
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidParameter, UriTooLong
from app.formats.fields import Pair
from app.routing.parameters import MAX_MANY, Parameter
from app.routing.reader import MAX_FAULTS, MAX_PAIRS, ParameterReader
from app.routing.tokens import WRITERS

texts = st.text(st.characters(exclude_categories=["Cs"]))


def read(
    *parameters: Parameter,
    segments: tuple[bytes, ...] = (),
    query: bytes = b"",
    headers: tuple[Pair, ...] = (),
    tokens: str = "",
    is_strict: bool = False,
) -> tuple[dict[str, str], dict[str, Any]]:
    by_name = {parameter.name: parameter for parameter in parameters}
    path = [parameter.name for parameter in parameters if parameter.location == "path"]
    reader = ParameterReader(
        parameters,
        path=path,
        tokens={name: WRITERS[by_name[name].token] for name in tokens.split()},
        is_strict=is_strict,
    )
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
        (b"q=a&q=a", "is in the request more than once"),
        (b"q&q", "is in the request more than once"),
        (b"q=a&%71=b", "is in the request more than once"),
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
        (((b"x-h", b"a"), (b"x-h", b"a")), "is in the request more than once"),
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


# All that is wrong


def find_faults(*parameters: Parameter, **request: Any) -> tuple[tuple[str, str, str], ...]:
    with pytest.raises(InvalidParameter) as caught:
        read(*parameters, **request)
    return caught.value.parameters


def test_one_wrong_parameter_is_told_in_the_detail_and_listed() -> None:
    with pytest.raises(InvalidParameter) as caught:
        read(in_query(type="integer"), query=b"q=x")
    assert caught.value.detail == "Query parameter 'q' is not an integer such as 7."
    assert caught.value.parameters == (("q", "query", caught.value.detail),)


def test_all_wrong_parameters_are_told_at_once() -> None:
    parameters = (
        Parameter(name="id", type="integer"),
        Parameter(name="day", format="date"),
        in_query(required=True),
        in_query("r", many=True, maximum=5, type="integer"),
        in_header(enum=("a", "b")),
    )
    told = find_faults(
        *parameters, segments=(b"x", b"2026-02-30"), query=b"r=3&r=9&r=x", headers=((b"x-h", b"c"),), tokens="id day"
    )
    assert [(name, place) for name, place, _ in told] == [
        ("id", "path"),
        ("day", "path"),
        ("q", "query"),
        ("r", "query"),
        ("X-H", "header"),
    ]
    with pytest.raises(InvalidParameter, match="5 parameters are wrong"):
        read(*parameters, segments=(b"x", b"x"), query=b"r=9", headers=((b"x-h", b"c"),), tokens="id day")


def test_all_wrong_tokens_of_a_plain_path_are_told_at_once() -> None:
    told = find_faults(Parameter(name="a"), Parameter(name="b"), segments=(b"x.y", b""), tokens="a b")
    assert [(name, place) for name, place, _ in told] == [("a", "path"), ("b", "path")]


# Strictly


def test_a_strict_query_has_what_is_declared_and_nothing_else() -> None:
    assert read(in_query(), query=b"q=1&&", is_strict=True)[1] == {"q": "1"}
    assert read(is_strict=True) == ({}, {})
    assert find_faults(in_query("limit"), query=b"lmit=1&limit=2", is_strict=True) == (
        ("lmit", "query", "Query parameter 'lmit' is not known, did you mean 'limit'?"),
    )
    assert find_faults(Parameter(name="a"), segments=(b"x",), tokens="a", query=b"%FF%00=1&a", is_strict=True) == (
        ("\ufffd", "query", "Query parameter '\ufffd' is not known."),
        ("a", "query", "Query parameter 'a' is not known."),
    )


def test_only_so_many_unknown_parameters_are_told_and_each_once() -> None:
    query = b"&".join(b"x%d=1&x0=2" % number for number in range(MAX_PAIRS // 2))
    told = find_faults(in_query("limit"), query=query, is_strict=True)
    assert [name for name, _, _ in told] == [f"x{number}" for number in range(MAX_FAULTS)]


# Lists in one text


def test_a_list_can_stand_in_one_text() -> None:
    ids = in_query("id", many=True, separator=",", type="integer", maximum=9)
    assert read(ids, query=b"id=1,2%2C3")[1] == {"id": [1, 2, 3]}
    assert read(ids)[1] == {}
    assert read(in_query(many=True, separator=","), query=b"q=a,,b")[1] == {"q": ["a", "", "b"]}
    for query, wrong in (
        (b"id=1&id=2", "is in the request more than once"),
        (b"id=1,10", "breaks its rule"),
        (b"id=1,", "is not an integer"),
        (b"id=", "is not an integer"),
        (b"id=" + b",".join([b"1"] * (MAX_MANY + 1)), f"has more than {MAX_MANY} values"),
    ):
        with pytest.raises(InvalidParameter, match=f"^Query parameter 'id' {wrong}"):
            read(ids, query=query)


@pytest.mark.parametrize(
    ("format_", "right", "wrong"),
    [
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567"),
        ("date", "2026-11-26", "2026-02-30"),
        ("date-time", "2026-11-26T12:00:00Z", "2026-11-26"),
        ("email", "sue@example.com", "sue"),
        ("ipv4", "192.0.2.1", "192.0.2.256"),
        ("ipv6", "2001:db8::1", "2001:db8"),
        ("uri", "https://example.com/a", "/a"),
    ],
)
def test_a_format_is_checked(format_: Any, right: str, wrong: str) -> None:
    parameter = in_query(format=format_)
    assert parameter.faults == ()
    assert read(parameter, query=b"q=" + quote(right, safe="").encode())[1] == {"q": right}
    assert find_faults(parameter, query=b"q=" + quote(wrong, safe="").encode())[0][0] == "q"
