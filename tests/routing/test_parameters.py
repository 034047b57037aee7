import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import InvalidParameter
from app.routing.parameters import Parameter, Type, write_value

TYPES: tuple[Type, ...] = ("string", "integer", "number", "boolean")


def parse(text: str, **rules: Any) -> object:
    return Parameter(name="x", location="query", **rules).parse(text)


def refuse(text: str, **rules: Any) -> str:
    with pytest.raises(InvalidParameter) as caught:
        parse(text, **rules)
    return caught.value.detail


# Values


@given(st.text())
def test_a_string_is_its_text(text: str) -> None:
    assert parse(text) == text


@given(st.integers(-(2**63), 2**63 - 1))
def test_an_integer_is_its_decimal_digits(number: int) -> None:
    value = parse(str(number), type="integer")
    assert (value, type(value)) == (number, int)


@given(st.integers(min_value=2**63) | st.integers(max_value=-(2**63) - 1))
def test_an_integer_has_64_bits(number: int) -> None:
    assert refuse(str(number), type="integer") == (
        "Query parameter 'x' is not an integer such as 7: it has more than 64 bits."
    )


def test_a_number_may_have_more_digits_than_an_integer_and_is_a_float_then() -> None:
    for text in ("9223372036854775808", "-9223372036854775809", "92233720368547758080"):
        assert parse(text, type="number") == float(text)
    assert parse("9223372036854775807", type="number") == 2**63 - 1


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_written_as_in_json(number: float) -> None:
    assert parse(json.dumps(number), type="number") == number


@given(st.text(), st.sampled_from(TYPES))
@example("9223372036854775809", "number")
def test_a_text_is_refused_or_means_what_json_means(text: str, kind: Type) -> None:
    try:
        value = parse(text, type=kind)
    except InvalidParameter:
        return
    meant = text if kind == "string" else json.loads(text)
    is_long = isinstance(meant, int) and not -(2**63) <= meant < 2**63
    assert value == (float(meant) if is_long else meant)


@pytest.mark.parametrize(
    "text",
    ["", " ", " 7", "7 ", "07", "+7", "-0", "--7", "7.0", "1e3", "0x7", "1_000", "٧", "７", "7\n", "None", "9" * 20],
)
def test_what_is_no_integer_is_refused(text: str) -> None:
    assert "is not an integer" in refuse(text, type="integer")


@pytest.mark.parametrize(
    "text", ["", ".5", "5.", "1e", "+1", "01", "NaN", "Infinity", "-Infinity", "1e400", "1,5", "٧"]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    assert "is not a number" in refuse(text, type="number")


@pytest.mark.parametrize("text", ["", "True", "TRUE", "1", "0", "yes", "on", "t", " true", "null"])
def test_what_is_no_boolean_is_refused(text: str) -> None:
    assert "is not true or false" in refuse(text, type="boolean")


# Rules


@pytest.mark.parametrize(
    ("rules", "good", "bad", "reason"),
    [
        ({"type": "integer", "minimum": 2}, "2", "1", "it is less than the minimum of 2"),
        ({"type": "integer", "maximum": 2}, "2", "3", "it is greater than the maximum of 2"),
        ({"type": "number", "minimum": 1.5}, "1.5", "1.4", "it is less than the minimum of 1.5"),
        ({"min_length": 2}, "😀😀", "😀", "it is shorter than 2 characters"),
        ({"max_length": 2}, "😀😀", "😀😀😀", "it is longer than 2 characters"),
        ({"enum": ("a", "b")}, "b", "c", "it is not one of"),
        ({"type": "integer", "enum": (1, 2)}, "2", "3", "it is not one of"),
        ({"type": "boolean", "enum": (True,)}, "true", "false", "it is not true"),
        ({"pattern": "a+"}, "aa", "aab", "it does not match"),
        ({"pattern": "a|b"}, "b", "xb", "it does not match"),
        ({"pattern": "[a-z]*"}, "", "A", "it does not match"),
        ({"pattern": "a"}, "a", "a\n", "it does not match"),
    ],
    ids=str,
)
def test_a_rule_holds_for_the_whole_value(rules: dict[str, Any], good: str, bad: str, reason: str) -> None:
    parse(good, **rules)
    detail = refuse(bad, **rules)
    assert detail.startswith(f"Query parameter 'x' breaks its rule: {reason}") or reason == "it is not true"


def test_a_value_is_not_repeated_to_its_sender() -> None:
    for rules in ({"type": "integer"}, {"max_length": 1}, {"enum": ("a",)}, {"pattern": "a"}):
        assert "hunter2" not in refuse("hunter2", **rules)


def test_the_documentation_has_the_rules_that_are_checked() -> None:
    parameter = Parameter(name="x", location="query", pattern="a|b", min_length=1, max_length=2, default="a")
    assert parameter.document == {
        "type": "string",
        "pattern": "^(?:a|b)$",
        "minLength": 1,
        "maxLength": 2,
        "default": "a",
    }
    many = Parameter(name="x", location="query", many=True, type="integer", enum=(1, 2), default=[1])
    assert many.document == {
        "type": "array",
        "items": {"type": "integer", "enum": [1, 2]},
        "maxItems": 256,
        "default": [1],
    }


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (7, "7"), (1.5, "1.5"), ("a", "a")])
def test_a_value_is_written_as_it_is_read(value: Any, text: str) -> None:
    assert write_value(value) == text


# Declarations


@pytest.mark.parametrize(
    ("declaration", "key", "reason"),
    [
        ({"name": "a b"}, (), "is named with letters"),
        ({"name": "a b", "location": "query"}, (), "is named with 1 to 64"),
        ({"name": "x" * 65, "location": "query"}, (), "is named with 1 to 64"),
        ({"name": "é", "location": "query"}, (), "is named with 1 to 64"),
        ({"name": "a b", "location": "header"}, (), "can't be a parameter"),
        ({"name": "Host", "location": "header"}, (), "can't be a parameter"),
        ({"name": "Nats-X", "location": "header"}, (), "can't be a parameter"),
        ({"name": "Authorization", "location": "header"}, (), "list it in `headers`"),
        ({"name": "x-request-timeout", "location": "header"}, (), "a meaning of its own"),
        ({"claim": "a"}, ("claim",), "only a parameter with `in: claim`"),
        ({"claim": "", "location": "claim"}, ("claim",), "the name of a claim"),
        ({"claim": "a\n", "location": "claim"}, ("claim",), "the name of a claim"),
        ({"many": True}, ("many",), "only a query parameter"),
        ({"many": True, "location": "header"}, ("many",), "only a query parameter"),
        ({"required": False}, ("required",), "is always there"),
        ({"default": "x"}, ("default",), "needs no default"),
        ({"default": "x", "required": True, "location": "query"}, ("default",), "needs no default"),
        ({"type": "integer", "pattern": "a"}, ("pattern",), "only a parameter of the type string"),
        ({"type": "boolean", "max_length": 1}, ("max_length",), "only a parameter of the type string"),
        ({"minimum": 1}, ("min",), "only a parameter of the type integer or number"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, ("max",), "no value would be valid"),
        ({"min_length": 2, "max_length": 1}, ("max_length",), "no value would be valid"),
        ({"pattern": "("}, ("pattern",), "not a regular expression that runs in linear time"),
        ({"pattern": "(?=a)b"}, ("pattern",), "no look-around"),
        ({"pattern": r"(a)\1"}, ("pattern",), "no back-references"),
        ({"enum": ()}, ("enum",), "no value would be valid"),
        ({"enum": ("a", 1)}, ("enum", 1), "not of the type string"),
        ({"type": "integer", "enum": (True,)}, ("enum", 0), "not of the type integer"),
        ({"type": "integer", "example": "7"}, ("example",), "not of the type integer"),
        ({"pattern": "a", "example": "b"}, ("example",), "breaks the rules"),
        ({"location": "query", "enum": ("a",), "default": "b"}, ("default",), "breaks the rules"),
        ({"location": "query", "many": True, "default": "b"}, ("default",), "is a list"),
        ({"location": "query", "default": ["b"]}, ("default",), "is one value"),
        (
            {"location": "query", "many": True, "type": "integer", "example": [1, "b"]},
            ("example", 1),
            "not of the type",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_declaration_is_told_with_its_key(
    declaration: dict[str, Any], key: tuple[str | int, ...], reason: str
) -> None:
    faults = Parameter(**{"name": "x", **declaration}).faults
    assert (key, True) in [(fault.key, reason in fault.text) for fault in faults]


@pytest.mark.parametrize(
    "declaration",
    [
        {"name": "orderId"},
        {"name": "_x-1"},
        {"name": "page[size]", "location": "query"},
        {"name": "$top", "location": "query"},
        {"name": "X-Tenant", "location": "header", "required": True},
        {"type": "number", "minimum": 1, "maximum": 1, "example": 1},
        {"location": "query", "many": True, "default": []},
        {"required": True},
    ],
    ids=str,
)
def test_a_declaration_that_holds_has_no_faults(declaration: dict[str, Any]) -> None:
    assert Parameter(**{"name": "x", **declaration}).faults == ()
