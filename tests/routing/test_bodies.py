import contextlib
import time
from typing import Any

import pytest

from app.errors import InvalidBody, UnsupportedMediaType
from app.formats.fields import Pair
from app.formats.schemas import Schema
from app.routing.bodies import (
    AT_ONCE,
    COST_AT_ONCE,
    LISTED_AT_ONCE,
    MAX_FAULTS,
    MAX_SEEN,
    BodyRules,
    Check,
    is_media_range,
    read_body,
)
from tests.pace import find_slowness

LENGTH = (b"content-length", b"3")


@pytest.mark.parametrize("text", ["application/json", "image/*", "*/*", "application/vnd.api+json", "a/b.c-d_e"])
def test_a_media_range_is_two_words(text: str) -> None:
    assert is_media_range(text)


@pytest.mark.parametrize("text", ["", "json", "a/", "/b", "a/b/c", "a b/c", "A/b", "*/b", "a/b;q=1", "a/b\n", "é/b"])
def test_what_is_no_media_range_is_none(text: str) -> None:
    assert not is_media_range(text)


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        ([LENGTH, (b"content-type", b"application/json")], True),
        ([LENGTH, (b"content-type", b"Application/JSON;charset=utf-8")], True),
        ([LENGTH, (b"content-type", b" application/json ; a=b")], True),
        ([LENGTH, (b"content-type", b"image/png")], True),
        ([LENGTH, (b"content-type", b"image/")], True),
        ([LENGTH, (b"content-type", b"image")], False),
        ([LENGTH, (b"content-type", b"text/plain")], False),
        ([LENGTH, (b"content-type", b"application/json, text/plain")], False),
        ([LENGTH, (b"content-type", b"application/json"), (b"content-type", b"text/plain")], False),
        ([LENGTH, (b"content-type", b"")], False),
        ([LENGTH], False),
        ([(b"transfer-encoding", b"chunked")], False),
        ([(b"content-length", b"0")], True),
        ([(b"content-length", b"00")], True),
        ([], True),
    ],
    ids=str,
)
def test_a_body_that_is_announced_must_be_of_a_listed_type(fields: list[Pair], fits: bool) -> None:
    """Whatever was announced before."""
    rules = BodyRules(["application/json", "image/*"], None, keeps_encoding=False)
    BodyRules([], None, keeps_encoding=False).check_head(fields)
    for before in (b"application/json", b"image/png", b"application/json"):
        if fits:
            rules.check_head(fields)
        else:
            with pytest.raises(UnsupportedMediaType, match="accepts a body of the type application/json, im") as caught:
                rules.check_head(fields)
            assert caught.value.headers == ((b"accept", b"application/json, image/*"),)
        rules.check_head([LENGTH, (b"content-type", before)])


def test_only_a_few_types_are_remembered_and_no_long_one() -> None:
    rules = BodyRules(["text/plain"], None, keeps_encoding=False)
    rules.check_head([LENGTH, (b"content-type", b"text/plain; " + b"x" * 100)])
    assert not rules._seen
    for number in range(1000):
        rules.check_head([LENGTH, (b"content-type", b"text/plain; x=%d" % number)])
    assert len(rules._seen) == MAX_SEEN


@pytest.mark.parametrize(
    ("types", "reason"),
    [
        ([b"application/x-www-form-urlencoded"], " The body has the type application/x-www-form-urlencoded."),
        ([b"Text/Plain; charset=x"], " The body has the type text/plain."),
        ([], " The request has no Content-Type."),
        ([b"text/plain", b"text/csv"], ""),
        ([b"<script>"], ""),
        ([b"a/" + b"x" * 100], ""),
    ],
)
def test_a_refusal_names_the_type_of_the_body(types: list[bytes], reason: str) -> None:
    rules = BodyRules(["application/json"], None, keeps_encoding=False)
    with pytest.raises(UnsupportedMediaType) as caught:
        rules.check_head([LENGTH, *((b"content-type", kind) for kind in types)])
    assert caught.value.detail == f"This route accepts a body of the type application/json.{reason}"


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"x", b"identity, gzip", b"GZIP"])
def test_an_encoded_body_needs_a_service_that_is_told(encoding: bytes) -> None:
    fields = [LENGTH, (b"content-encoding", encoding)]
    BodyRules([], None, keeps_encoding=True).check_head(fields)
    for rules in (BodyRules([], None, keeps_encoding=False), BodyRules([], Schema(True), keeps_encoding=True)):
        with pytest.raises(UnsupportedMediaType, match="no Content-Encoding"):
            rules.check_head(fields)


@pytest.mark.parametrize("encoding", [b"", b"identity", b" Identity "])
def test_no_encoding_is_no_encoding(encoding: bytes) -> None:
    BodyRules([], None, keeps_encoding=False).check_head([LENGTH, (b"content-encoding", encoding)])


def test_a_body_is_looked_at_only_where_there_is_a_schema() -> None:
    BodyRules([], None, keeps_encoding=False).check_body(b"\xff")
    rules = BodyRules([], Schema({"type": "object"}), keeps_encoding=False)
    rules.check_body(b"{}")
    with pytest.raises(InvalidBody) as caught:
        rules.check_body(b"[]")
    assert caught.value.errors == (("", 'it is not of type "object"'),)
    with pytest.raises(InvalidBody, match="can't be read as JSON") as caught:
        rules.check_body(b"\xff")
    assert caught.value.errors == (("", "it is not UTF-8"),)


@pytest.mark.parametrize("depth", [10, 255, 256, 900, 5000])
@pytest.mark.parametrize("schema", [{"type": "object"}, {"items": {"$ref": "#"}, "maxItems": 0}, {"const": 1}], ids=str)
def test_a_deep_body_is_refused_and_breaks_nothing(depth: int, schema: Any) -> None:
    body = b"[" * depth + b"]" * depth
    rules = BodyRules([], Schema(schema), keeps_encoding=False)
    try:
        check = rules.check_body(body)
    except InvalidBody:
        return
    assert check is not None
    assert not check.schema.is_valid(read_body(body))


def test_only_so_many_faults_are_told() -> None:
    rules = BodyRules([], Schema({"items": {"type": "string"}}), keeps_encoding=False)
    with pytest.raises(InvalidBody) as caught:
        rules.check_body(b"[" + b",".join([b"1"] * 1000) + b"]")
    assert len(caught.value.errors) == MAX_FAULTS


PLAIN: Any = {"items": {"type": "integer"}}
ANY_OF: Any = {"items": {"anyOf": [{"type": "integer"}]}}
REFERENCE: Any = {"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n"}
NAMES: Any = {"allOf": [{"properties": {"a": {"propertyNames": False}}}]}


@pytest.mark.parametrize(
    ("document", "body", "size", "is_left"),
    [
        (PLAIN, b"[]", AT_ONCE, False),
        (PLAIN, b"[]", AT_ONCE + 1, True),
        (PLAIN, b"[null]", LISTED_AT_ONCE, False),
        (PLAIN, b"[null]", LISTED_AT_ONCE + 1, True),
        (ANY_OF, b"[1]", 3, False),
        (ANY_OF, b"[null]", 6, True),
        (REFERENCE, b"1", 1, False),
        (REFERENCE, b"null", 4, True),
        (NAMES, b'{"a":{"b":1}}', 13, True),
        (ANY_OF, b"[", 1, False),
    ],
)
def test_only_what_takes_no_time_is_done_at_once(document: Any, body: bytes, size: int, is_left: bool) -> None:
    schema, body = Schema(document), body.ljust(size)
    try:
        check = BodyRules([], schema, keeps_encoding=False).check_body(body)
    except InvalidBody:
        check = None
    assert check == (Check(schema, body) if is_left else None)


def test_the_more_work_a_schema_makes_the_shorter_is_a_body_that_is_checked_at_once() -> None:
    for cost, most in ((1, AT_ONCE), (20, AT_ONCE), (40, AT_ONCE // 2), (COST_AT_ONCE + 1, 0)):
        rules = BodyRules([], Schema({"type": "string"}, cost=cost), keeps_encoding=False)
        if most:
            assert rules.check_body(b'"%b"' % (b"x" * (most - 2))) is None
        assert isinstance(rules.check_body(b'"%b"' % (b"x" * most)), Check)


NAMES_OF_MANY = [f"p{number}" for number in range(1000)]
MANY_FAULTS: dict[str, Any] = {
    "required": {"items": {"required": NAMES_OF_MANY}},
    "some required": {"items": {"required": NAMES_OF_MANY[:390]}},
    "few required": {"items": {"required": NAMES_OF_MANY[:30]}},
    "required and described": {"items": {"required": NAMES_OF_MANY, "properties": dict.fromkeys(NAMES_OF_MANY, True)}},
    "limits": {"items": {"allOf": [{"minimum": number + 1} for number in range(400)]}},
    "a long enum": {"items": {"enum": [f"{number:0100}" for number in range(1000)]}},
    "a branch": {"items": {"if": {"type": "string"}, "else": {"allOf": [{"const": n + 1} for n in range(300)]}}},
}


@pytest.mark.parametrize("name", MANY_FAULTS)
def test_no_body_with_many_faults_delays_others(name: str) -> None:
    rules = BodyRules([], Schema(MANY_FAULTS[name]), keeps_encoding=False)
    for item in (b"0", b"{}"):
        for size in (50, 100, 200, 400, 600, 800, 1200, 1600, 2000):
            body = b"[%b]" % b",".join([item] * (size // (len(item) + 1)))
            most = 0.05 * find_slowness()
            began = time.process_time()
            with contextlib.suppress(InvalidBody):
                rules.check_body(body)
            assert time.process_time() - began < most, size
