import time

import pytest

from app.yamltree import Mark, YamlError, parse_yaml


def read(text: str) -> object:
    tree = parse_yaml(text.encode())
    assert tree.faults == []
    return tree.data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("7", 7),
        ("-7", -7),
        ("+7", 7),
        ("0o17", 15),
        ("0xff", 255),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("~", None),
        ("null", None),
        ("", None),
        ("'7'", "7"),
        ("!!str 7", "7"),
        ("!!int '7'", 7),
        # All of these mean something else in YAML 1.1.
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("n", "n"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0b1", "0b1"),
        ("2026-11-24", "2026-11-24"),
        ("012", 12),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("=", "="),
        ("<<", "<<"),
    ],
)
def test_a_scalar_is_what_the_core_schema_of_yaml_1_2_says(text: str, value: object) -> None:
    found = read(text)
    assert (found, type(found)) == (value, type(value))


def test_keys_are_texts_whatever_they_look_like() -> None:
    assert read("{404: a, true: b, ~: c, 1.5: d, no: e}") == {"404": "a", "true": "b", "~": "c", "1.5": "d", "no": "e"}


def test_every_key_and_value_has_its_place() -> None:
    tree = parse_yaml(b"a:\n  - b: 1\n    'c':   2\n  - [x, \"y\"]\n")
    assert tree.data == {"a": [{"b": 1, "c": 2}, ["x", "y"]]}
    assert tree.values == {
        (): Mark(1, 1),
        ("a",): Mark(2, 3),
        ("a", 0): Mark(2, 5),
        ("a", 0, "b"): Mark(2, 8),
        ("a", 0, "c"): Mark(3, 12),
        ("a", 1): Mark(4, 5),
        ("a", 1, 0): Mark(4, 6),
        ("a", 1, 1): Mark(4, 9),
    }
    assert tree.keys == {("a",): Mark(1, 1), ("a", 0, "b"): Mark(2, 5), ("a", 0, "c"): Mark(3, 5)}


def test_columns_count_characters() -> None:
    assert parse_yaml("{é😀: x}".encode()).values["é😀",] == Mark(1, 6)


def test_a_key_that_stands_twice_is_a_fault_at_its_second_place() -> None:
    tree = parse_yaml(b"a: 1\nb: {c: 1, c: 2}\na: 3\n'a': 4\n")
    assert [(fault.mark, fault.path, fault.text) for fault in tree.faults] == [
        (Mark(2, 11), ("b", "c"), "the key 'c' stands twice, first in line 2"),
        (Mark(3, 1), ("a",), "the key 'a' stands twice, first in line 1"),
        (Mark(4, 1), ("a",), "the key 'a' stands twice, first in line 1"),
    ]


@pytest.mark.parametrize(
    ("text", "mark", "reason"),
    [
        ("a: !python/object x", Mark(1, 4), "the tag !python/object is not known here"),
        ("a: !!binary eA==", Mark(1, 4), "the tag tag:yaml.org,2002:binary is not known here"),
        ("a: !!int x", Mark(1, 4), "'x' is not of the type that its tag says"),
        ("a: " + "9" * 4301, Mark(1, 4), "9999999999999999999999999999999999999999 is too large for a number"),
        ("a: 1e400", Mark(1, 4), "1e400 is too large for a number"),
        ("? [a]\n: b", Mark(1, 3), "a key must be a text"),
        ("? {a: b}\n: c", Mark(1, 3), "a key must be a text"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_what_json_could_not_say_is_a_fault_at_its_place(text: str, mark: Mark, reason: str) -> None:
    (fault,) = parse_yaml(text.encode()).faults
    assert fault.mark == mark
    assert reason in fault.text


@pytest.mark.parametrize(
    ("data", "mark"),
    [
        (b"a: [", Mark(2, 1)),
        (b"a: b: c", Mark(1, 5)),
        (b"\ta: 1", Mark(1, 1)),
        (b"a: 1\n b: 2", Mark(2, 3)),
        (b"a: *x", Mark(1, 4)),
        (b"a: 1\n---\nb: 2", Mark(2, 1)),
        (b"a: 1\nb: \xff", Mark(2, 1)),
        (b"a: 1\nb: \x07", Mark(2, 1)),
        (b"%YAML 2.0\n---\na: 1", Mark(1, 1)),
        (b"a: &x [*x]", Mark(1, 4)),
        (b"[" * 200_000, Mark(1, 65)),
        (b"[" * 200_000 + b"]" * 200_000, Mark(1, 65)),
        (b"- " * 200_000, Mark(1, 129)),
        (b"{a: " * 200_000, Mark(1, 257)),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_yaml_is_told_with_its_line(data: bytes, mark: Mark) -> None:
    with pytest.raises(YamlError) as caught:
        parse_yaml(data)
    assert caught.value.mark.line == mark.line
    assert str(caught.value)


def test_aliases_mean_what_they_point_at() -> None:
    assert read("a: &x {b: [1]}\nc: *x\nd: [*x]") == {"a": {"b": [1]}, "c": {"b": [1]}, "d": [{"b": [1]}]}


def test_a_bomb_of_aliases_is_refused_before_it_takes_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """10^12 nodes. To count up to the real limit takes a machine that is busy half a minute."""
    monkeypatch.setattr("app.yamltree.MAX_NODES", 200_000)
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    started = time.monotonic()
    with pytest.raises(YamlError, match="too large"):
        parse_yaml("\n".join(lines).encode())
    assert time.monotonic() - started < 30


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert parse_yaml(b"\xef\xbb\xbfa: 1").data == {"a": 1}


def test_json_is_read_too() -> None:
    assert read('{"a": [1, 2.5, true, null, "\\u00e9\\n"]}') == {"a": [1, 2.5, True, None, "é\n"]}
