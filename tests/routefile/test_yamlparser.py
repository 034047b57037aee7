import tracemalloc

import pytest

from app.routefile.yamlparser import parse_yaml
from app.routefile.yamltree import Mark, YamlError


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


@pytest.mark.parametrize(
    ("text", "place", "value"),
    [
        ("a:\n  subject: {id}.x\n", Mark(2, 12), '"{id}.x"'),
        ("subject: {id}.{x}\nb: 1\n", Mark(1, 10), '"{id}.{x}"'),
        ("routes:\n  - {name: a, path: {rest...}/x}\n", Mark(2, 21), '"{rest...}/x"'),
    ],
)
def test_a_parameter_without_quotes_at_the_beginning_of_a_value_is_told_in_our_words(
    text: str, place: Mark, value: str
) -> None:
    with pytest.raises(YamlError) as caught:
        parse_yaml(text.encode())
    assert (caught.value.mark, str(caught.value)) == (
        place,
        f"a value that begins with '{{' must be in quotes: {value}",
    )


def test_keys_are_texts_whatever_they_look_like() -> None:
    assert read("{404: a, true: b, ~: c, 1.5: d, no: e}") == {"404": "a", "true": "b", "~": "c", "1.5": "d", "no": "e"}


def test_every_key_and_value_has_its_place() -> None:
    tree = parse_yaml(b"a:\n  - b: 1\n    'c':   2\n  - [x, \"y\"]\n")
    assert tree.data == {"a": [{"b": 1, "c": 2}, ["x", "y"]]}
    values = {
        (): Mark(1, 1),
        ("a",): Mark(2, 3),
        ("a", 0): Mark(2, 5),
        ("a", 0, "b"): Mark(2, 8),
        ("a", 0, "c"): Mark(3, 12),
        ("a", 1): Mark(4, 5),
        ("a", 1, 0): Mark(4, 6),
        ("a", 1, 1): Mark(4, 9),
    }
    assert {path: tree.locate(path) for path in values} == values
    keys = {("a",): Mark(1, 1), ("a", 0, "b"): Mark(2, 5), ("a", 0, "c"): Mark(3, 5)}
    assert {path: tree.locate_key(path) for path in keys} == keys
    assert [tree.locate(path) for path in (("b",), ("a", 2), ("a", 0, "b", "x"), ("a", 0, 0))] == [None] * 4
    assert [tree.locate_key(path) for path in ((), ("b",), ("a", 0), ("a", 0, "b", "x"))] == [None] * 4


def test_columns_count_characters() -> None:
    assert parse_yaml("{é😀: x}".encode()).locate(("é😀",)) == Mark(1, 6)


def test_a_key_that_stands_twice_is_a_fault_at_its_second_place() -> None:
    tree = parse_yaml(b"a: 1\nb: {c: 1, c: 2}\na: 3\n'a': 4\n")
    assert [(fault.mark, fault.path, fault.text) for fault in tree.faults] == [
        (Mark(2, 11), ("b", "c"), "the key 'c' appears twice, first in line 2"),
        (Mark(3, 1), ("a",), "the key 'a' appears twice, first in line 1"),
        (Mark(4, 1), ("a",), "the key 'a' appears twice, first in line 1"),
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


def build_bomb(inner: str) -> bytes:
    """It means 10^12 times what is inside."""
    lines = [f"a0: &a0 {inner}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (build_bomb("[x, x, x, x, x, x, x, x, x, x]"), 5),
        (build_bomb("{x: y}"), 6),
        (b"a: &x " + b"x" * 1_000_000 + b"\nb: [" + b"*x, " * 100_000 + b"]", 2),
        (b"- &x [" + b"y, " * 1000 + b"]\n" + b"- [" + b"*x, " * 1000 + b"]\n" + b"- *x\n" * 1_000, 2),
    ],
    ids=["lists", "mappings", "a long text", "wide"],
)
def test_a_bomb_of_aliases_is_refused_at_its_place_before_it_takes_time_or_memory(data: bytes, line: int) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(
            YamlError, match=r"too large: with the alias '(a.|x)' the file has far more values"
        ) as caught:
            parse_yaml(data)
        assert tracemalloc.get_traced_memory()[1] < 20 * len(data) + 10_000_000
    finally:
        tracemalloc.stop()
    assert caught.value.mark.line == line


def test_ten_thousand_routes_may_share_blocks_by_aliases() -> None:
    head = "blocks:\n- &reply {errors: {" + ", ".join(f"{code}: {code}" for code in range(400, 430)) + "}}\n"
    tree = parse_yaml((head + "routes:\n" + "- {name: a, method: GET, path: /a, reply: *reply}\n" * 10_000).encode())
    assert isinstance(tree.data, dict)
    routes = tree.data["routes"]
    assert isinstance(routes, list)
    assert len(routes) == 10_000
    assert tree.locate(("routes", 9_999, "reply", "errors", "429")) == tree.locate(("blocks", 0, "errors", "429"))


def test_a_list_that_is_long_without_aliases_has_a_bound_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.routefile.yamlparser.MAX_WEIGHT", 1_000)
    assert parse_yaml(b"- x\n" * 900).data == ["x"] * 900
    with pytest.raises(YamlError, match="too large"):
        parse_yaml(b"- x\n" * 1_100)


@pytest.mark.parametrize("text", ["a: &x [*x]", "a: &x {b: [c, *x]}", "&x a: *y", "- &x 1\n- &x 2"])
def test_an_anchor_is_there_once_before_its_aliases_and_around_none_of_them(text: str) -> None:
    with pytest.raises(YamlError, match=r"the alias 'x' is part of|has no anchor|a second anchor 'x'"):
        parse_yaml(text.encode())


def test_depth_counts_through_aliases() -> None:
    deep = "[" * 32 + "1" + "]" * 32
    assert parse_yaml(f"- &x {deep}\n- {'[' * 31}*x{']' * 31}".encode()).faults == []
    with pytest.raises(YamlError, match="nested more than 64 deep") as caught:
        parse_yaml(f"- &x {deep}\n- {'[' * 32}*x{']' * 32}".encode())
    assert caught.value.mark == Mark(2, 35)


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert parse_yaml(b"\xef\xbb\xbfa: 1").data == {"a": 1}


def test_json_is_read_too() -> None:
    assert read('{"a": [1, 2.5, true, null, "\\u00e9\\n"]}') == {"a": [1, 2.5, True, None, "é\n"]}
