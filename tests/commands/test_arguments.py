"""What several commands take."""

import pytest

from app.commands.arguments import parse_claims, parse_scopes
from app.commands.endings import CommandError
from app.formats.schemas import Json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("acme", "acme"),
        ("", ""),
        ("a=b", "a=b"),
        ("5", 5),
        ("1.5", 1.5),
        ("true", True),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ('{"id": "o1"}', {"id": "o1"}),
        ('"5"', "5"),
        ("007", "007"),
        ("True", "True"),
        ("NaN", "NaN"),
        ("[1", "[1"),
        ('{"a": 1, "a": 2}', '{"a": 1, "a": 2}'),
    ],
)
def test_the_value_of_a_claim_is_json_or_else_a_text(text: str, value: Json) -> None:
    parsed = parse_claims([f"n={text}"])["n"]
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize(
    ("texts", "fault"),
    [
        (["tenant"], "--claim 'tenant': a claim is NAME=VALUE"),
        (["=x"], "--claim '=x': a claim is NAME=VALUE"),
        (["a=1", "b=2", "a=3"], "--claim 'a=3': the claim a is given twice; for several values write a='[1, 2]'"),
    ],
)
def test_a_claim_without_a_name_and_one_that_stands_twice_are_refused(texts: list[str], fault: str) -> None:
    with pytest.raises(CommandError) as caught:
        parse_claims(texts)
    assert str(caught.value) == fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a:read,b", "give each scope by itself: --scope a:read --scope b"),
        ("a b", "give each scope by itself: --scope a --scope b"),
        ("a,", "give each scope by itself: --scope a"),
        (" a, b ", "give each scope by itself: --scope a --scope b"),
        ("", "a scope is 1 to 128 printable"),
        (",", "a scope is 1 to 128 printable"),
        ('a"', "a scope is 1 to 128 printable"),
    ],
)
def test_several_scopes_in_one_and_what_is_no_scope_are_refused(text: str, fault: str) -> None:
    with pytest.raises(CommandError) as caught:
        parse_scopes(["a:write", text])
    assert str(caught.value).startswith(f"--scope '{text}': {fault}")
    assert parse_scopes(["a:write", "b"]) == ["a:write", "b"]
