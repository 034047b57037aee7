import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.formats.schemas import MAX_MESSAGE, Schema, SchemaError, list_keyword_faults, parse_json

values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(values)
def test_every_json_value_is_read_as_it_is(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(json.dumps(value, ensure_ascii=False, indent=1).encode()) == value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is not JSON: expecting value, line 1, column 1"),
        (b"{\n  x}", "it is not JSON: expecting property name enclosed in double quotes, line 2, column 3"),
        (b"1 2", "it is not JSON: extra data"),
        (b"'a'", "it is not JSON"),
        (b"[1,]", "it is not JSON"),
        (b"\xff", "it is not UTF-8"),
        ("é".encode("utf-16"), "it is not UTF-8"),
        (b"\xef\xbb\xbf1", "it begins with a byte order mark"),
        (b'{"a": 1, "b": 2, "a": 1}', "it has a key twice in one object"),
        (b'[{"a": {"b": 1, "\\u0062": 2}}]', "it has a key twice in one object"),
        (b"NaN", "it has NaN, which is not JSON"),
        (b"[-Infinity]", "it has -Infinity, which is not JSON"),
        (b'["\\ud800"]', "it has half of a surrogate pair"),
        (b'{"\\udc00": 1}', "it has half of a surrogate pair"),
        (b"[" * 1_000_000, "it is nested too deeply"),
        (b'{"a":' * 1_000_000, "it is nested too deeply"),
        (b"9" * 4301, "it has an integer of more than 4,300 digits$"),
        (b'{"a": [-%b]}' % (b"9" * 10_000), "it has an integer of more than 4,300 digits$"),
        (b"[" * 65 + b"]" * 65, "it is nested too deeply$"),
        (b'{"":[' * 33 + b"]}" * 33, "it is nested too deeply$"),
        (b"[[]," + b"[" * 64 + b"]" * 64 + b"]", "it is nested too deeply$"),
        (b"[" * 65 + b'"', "it is not JSON"),
        (b"[}" * 1000, "it is not JSON"),
        (b'"' + b'\\"' * 500_000, "it is not JSON"),
        (b"[" * 65 + b'"\\', "it is not JSON"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_i_json_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}"):
        parse_json(data)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 64 + b"]" * 64,
        b'{"a":' * 64 + b"1" + b"}" * 64,
        b"[" + b",".join([b"[[]]"] * 1000) + b"]",
        json.dumps(["[" * 1000, '"[{' * 1000, "\\" * 999, {"}\\]": "{" * 100}, "\n["] * 65).encode(),
        b"9" * 4300,
    ],
    ids=lambda data: repr(data)[:30],
)
def test_what_is_deep_enough_or_only_looks_deep_is_read(data: bytes) -> None:
    assert parse_json(data) == json.loads(data)


def test_a_surrogate_pair_is_one_character() -> None:
    assert parse_json(b'"\\ud83d\\ude00"') == "😀"


def test_problems_have_a_pointer_and_never_the_value() -> None:
    schema = Schema(
        {
            "type": "object",
            "properties": {
                "a/b~c": {"items": {"type": "integer", "minimum": 5}},
                "secret": {"maxLength": 2, "pattern": "^[a-z]*$", "format": "email"},
            },
            "required": ["x"],
        }
    )
    faults = dict(schema.find_faults({"a/b~c": [1, "hunter2"], "secret": "hunter2 is long"}, limit=20))
    assert set(faults) == {"/a~1b~0c/0", "/a~1b~0c/1", "/secret", ""}
    assert "hunter2" not in str(faults)
    assert faults["/a~1b~0c/0"] == "it is less than the minimum of 5"


def test_problems_are_bounded_in_number_and_length() -> None:
    schema = Schema({"items": {"type": "integer"}, "additionalProperties": False})
    assert len(schema.find_faults(["x"] * 1000, limit=7)) == 7
    ((_, text),) = Schema({"required": ["k" * 10_000]}).find_faults({}, limit=5)
    assert len(text) == MAX_MESSAGE
    deep = Schema({"additionalProperties": {"additionalProperties": {"additionalProperties": {"type": "null"}}}})
    ((pointer, _),) = deep.find_faults({"a": {"~" * 300: {"/" * 300: 1}}}, limit=5)
    assert pointer == "/a/" + "~0" * 300


def test_the_first_problem_or_none() -> None:
    schema = Schema({"type": "integer", "maximum": 5})
    assert schema.find_fault(5) is None
    assert schema.find_fault(6) == "it is greater than the maximum of 5"


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"type": "objct"}, ("type",)),
        ({"properties": {"a": {"minimum": "x"}}}, ("properties", "a", "minimum")),
        ({"pattern": "("}, ("pattern",)),
        ({"items": {"pattern": "(?=a)"}}, ("items", "pattern")),
        ({"pattern": "(?<!a)b"}, ("pattern",)),
        ({"pattern": r"(a)\1"}, ("pattern",)),
        ({"pattern": "a{1,1000}{1,1000}"}, ("pattern",)),
        ({"$ref": "#/nowhere"}, ()),
        ({"$ref": "https://example.com/schema.json"}, ()),
        ({"$ref": "file:///etc/passwd"}, ()),
        ({"$schema": "https://example.com/draft"}, ()),
        ([], ()),
        ("x", ()),
        (5, ()),
    ],
    ids=str,
)
def test_what_is_no_schema_is_refused_with_its_place(document: Any, path: tuple[str, ...]) -> None:
    with pytest.raises(SchemaError) as caught:
        Schema(document)
    assert caught.value.path == path
    assert str(caught.value)


def test_a_pattern_that_would_take_for_ever_takes_no_time() -> None:
    schema = Schema({"pattern": "^(?:(a+)+)+$"})
    started = time.monotonic()
    assert schema.find_fault("a" * 100_000 + "b") is not None
    assert time.monotonic() - started < 5  # a backtracking engine would need longer than the universe has


def test_drafts_and_formats_are_heeded() -> None:
    old = Schema({"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 5, "exclusiveMaximum": True})
    assert old.find_fault(5)
    assert Schema({"format": "date"}).find_fault("2026-13-01")
    assert Schema({"format": "date"}).find_fault("2026-12-01") is None
    assert Schema({"format": "of-our-own"}).find_fault("x") is None


@pytest.mark.parametrize(
    ("value", "path", "text"),
    [
        ("objct", ("type",), "is not a type of JSON Schema, did you mean `object`?"),
        (["string", "nul"], ("type", 1), "is not a type of JSON Schema, did you mean `null`?"),
        (5, ("type",), "is not a type of JSON Schema; known are array, boolean, integer, null, number, object, string"),
    ],
)
def test_a_wrong_type_is_told_in_our_words(value: Any, path: tuple[str, ...], text: str) -> None:
    with pytest.raises(SchemaError) as caught:
        Schema({"type": value})
    assert (caught.value.path, str(caught.value)) == (path, text)


def test_all_wrong_keywords_are_told_by_the_draft_of_the_schema() -> None:
    wrong: Any = {"type": "objct", "properties": {"type": {"type": "string"}, "a": {"minimum": "x"}}, "maxLength": -1}
    assert {fault.path for fault in list_keyword_faults(wrong)} == {
        ("type",),
        ("properties", "a", "minimum"),
        ("maxLength",),
    }
    old: Any = {"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 7, "exclusiveMaximum": 5}
    assert [fault.path for fault in list_keyword_faults(old)] == [("exclusiveMaximum",)]
    assert list_keyword_faults({"$schema": "https://example.com/draft", "type": 5}) == []
