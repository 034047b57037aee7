import sys
from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations, compress, product
from types import FrameType
from typing import TYPE_CHECKING, SupportsIndex
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import app.routing.table
from app.routing.routes import Route
from app.routing.table import MAX_CONFLICTS, RouteTable, TableError
from app.routing.words import METHODS
from tests.harness import GREET_ROUTES

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def make_route(path: str, *methods: str, name: str = "") -> Route:
    """A route named after its path, on a subject of all its path parameters."""
    parameters = [segment for segment in path.split("/") if segment.startswith("{")]
    return Route(
        name=name or path.strip("/").translate(str.maketrans("/.", "__", "{}~")).lower(),
        methods=methods or ("GET",),
        path=path,
        subject=".".join(["test", *parameters]),
    )


def find(table: RouteTable, path: bytes, method: str = "GET") -> tuple[str, list[bytes]] | None:
    match = table.match(method, path)
    return None if match is None else (match[0].path, match[1])


# Matching


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/a", ("/a", [])),
        (b"/a/b", ("/a/b", [])),
        (b"/a/x", ("/a/{x}", [b"x"])),
        (b"/a/b/c", ("/a/b/c", [])),
        (b"/a/b/d", ("/a/{x}/d", [b"b"])),
        (b"/a/x/c", ("/a/{x}/{y}", [b"x", b"c"])),
        (b"/a/b/x", ("/a/{x}/{y}", [b"b", b"x"])),
        (b"/a/x/d", ("/a/{x}/d", [b"x"])),
        (b"/a/b/c/d", None),
        (b"/b", None),
        (b"/A", None),
        (b"/", None),
        (b"", None),
        (b"*", None),
    ],
)
def test_a_literal_goes_before_a_parameter_and_a_dead_end_is_left_again(
    path: bytes, expected: tuple[str, list[bytes]] | None
) -> None:
    table = RouteTable([make_route(p) for p in ("/a/{x}/{y}", "/a/{x}/d", "/a/b/c", "/a/{x}", "/a/b", "/a")])
    assert find(table, path) == expected


def test_a_value_of_a_dead_end_is_not_kept() -> None:
    table = RouteTable([make_route("/a/{x}/b/{y}/c"), make_route("/a/l/{z}/{y}/d")])
    assert find(table, b"/a/l/b/2/c") == ("/a/{x}/b/{y}/c", [b"l", b"2"])
    assert find(table, b"/a/l/b/2/d") == ("/a/l/{z}/{y}/d", [b"b", b"2"])
    assert find(table, b"/a/l/b/2/e") is None


@pytest.mark.parametrize(
    "path", [b"/greet/sue/", b"/greet//sue", b"//greet/sue", b"/greet", b"/greet/sue/x", b"/greet/sue//"]
)
def test_a_slash_more_or_less_makes_another_path(path: bytes) -> None:
    assert find(RouteTable([make_route("/greet/{name}")]), path) is None


def test_an_empty_segment_may_fill_a_parameter_and_is_refused_later() -> None:
    assert find(RouteTable([make_route("/greet/{name}")]), b"/greet/") == ("/greet/{name}", [b""])


@pytest.mark.parametrize("path", [b"/greet%2Fsue", b"/greet%2fsue", b"%2Fgreet%2Fsue", b"/%2Fgreet/sue"])
def test_an_encoded_slash_never_separates(path: bytes) -> None:
    assert find(RouteTable([make_route("/greet/{name}"), make_route("/sue")]), path) is None


def test_an_encoded_slash_stays_within_its_parameter() -> None:
    assert find(RouteTable([make_route("/greet/{name}")]), b"/greet/a%2Fb") == ("/greet/{name}", [b"a%2Fb"])


@pytest.mark.parametrize("path", [b"/%67reet/sue", b"/%67%72%65%65%74/sue", b"/gree%74/sue"])
def test_an_encoded_literal_is_the_same_literal(path: bytes) -> None:
    assert find(RouteTable([make_route("/greet/{name}")]), path) == ("/greet/{name}", [b"sue"])


@pytest.mark.parametrize(
    "path", [b"/%2567reet/sue", b"/gree%7/sue", b"/greet%/sue", b"/greet%00/sue", b"/greet%20/sue"]
)
def test_a_literal_is_decoded_once(path: bytes) -> None:
    assert find(RouteTable([make_route("/greet/{name}")]), path) is None


def test_values_are_raw_and_in_the_order_of_the_path() -> None:
    table = RouteTable([make_route("/a/{z}/{b}/{m}")])
    assert find(table, b"/a/%41/\xff/..") == ("/a/{z}/{b}/{m}", [b"%41", b"\xff", b".."])


def test_each_method_finds_its_own_route() -> None:
    table = RouteTable([make_route("/a/{x}", "GET", name="read"), make_route("/a/{x}", "PUT", "DELETE", name="write")])
    assert [match and match[0].name for match in (table.match(method, b"/a/1") for method in METHODS)] == [
        "read",
        None,
        "write",
        None,
        "write",
    ]


def test_head_matches_as_get_does() -> None:
    table = RouteTable([make_route("/a", "GET"), make_route("/b", "POST")])
    found = table.match("HEAD", b"/a")
    assert found is not None
    assert found == table.match("GET", b"/a")
    assert table.match("HEAD", b"/b") is None


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "CONNECT", "get", "", "GET "])
def test_no_other_method_matches(method: str) -> None:
    assert RouteTable([make_route("/a", *METHODS)]).match(method, b"/a") is None


segment_texts = st.sampled_from(["a", "b", "{x}"])
ends: st.SearchStrategy[tuple[str, ...]] = st.sampled_from([(), (), ("{x...}",)])
shapes = st.tuples(st.sampled_from(["a", "b"]), st.lists(segment_texts, max_size=3), ends).map(
    lambda parts: (parts[0], *parts[1], *parts[2])
)
path_segments = st.sampled_from([b"a", b"b", b"%61", b"c", b"", b"a%2Fb", b"%62"])


def number_parameters(shape: Sequence[str]) -> str:
    return "/" + "/".join(text.replace("x", f"p{n}") for n, text in enumerate(shape))


def list_kinds(route: Route, length: int) -> list[int]:
    """Of each segment of a path of this length: 0 for a literal, 1 for a parameter, 2 for the tail."""
    kinds = [(2 if "..." in text else 1) if "{" in text else 0 for text in route.segments]
    return kinds + [2] * (length - len(kinds))


def can_have(route: Route, length: int) -> bool:
    return len(route.segments) == length or (route.tail is not None and len(route.segments) <= length)


def match_naively(routes: Sequence[Route], method: str, path: bytes) -> tuple[str, list[bytes]] | None:
    """All that match; of them the one that has a literal where the others have their first parameter, or a parameter
    where they have their tail."""
    parts = path.split(b"/")[1:]
    candidates: list[tuple[list[int], str, list[bytes]]] = []
    for route in routes:
        if method not in route.methods or not can_have(route, len(parts)):
            continue
        kinds = list_kinds(route, len(parts))
        last = len(route.segments) - 1
        given = [*parts[:last], b"/".join(parts[last:])]
        if all(
            kind or unquote_to_bytes(part) == text.encode()
            for kind, text, part in zip(kinds, route.segments, given, strict=False)
        ):
            candidates.append((kinds, route.path, list(compress(given, kinds))))
    return min(candidates)[1:] if candidates else None


@given(
    declared=st.dictionaries(shapes, st.sets(st.sampled_from(METHODS[:3]), min_size=1), max_size=12),
    paths=st.lists(st.lists(path_segments, max_size=4), min_size=1, max_size=8),
)
def test_the_table_matches_as_a_naive_search_of_all_routes_does(
    declared: dict[tuple[str, ...], set[str]], paths: list[list[bytes]]
) -> None:
    routes = [make_route(number_parameters(shape), *sorted(methods)) for shape, methods in declared.items()]
    assume(not any(crosses(one, other) or spell_one_path_twice(one, other) for one, other in combinations(routes, 2)))
    table = RouteTable(routes)
    for method, parts in product(METHODS[:3], paths):
        path = b"/".join([b"", *parts])
        assert find(table, path, method) == match_naively(routes, method, path)


def crosses(one: Route, other: Route) -> bool:
    """Whether some request could mean both, and neither is more literal in every segment where they differ."""
    length = max(len(one.segments), len(other.segments))
    if not set(one.methods) & set(other.methods) or not (can_have(one, length) and can_have(other, length)):
        return False
    if any("{" not in a + b and a != b for a, b in zip(one.segments, other.segments, strict=False)):
        return False
    kinds = list(zip(list_kinds(one, length), list_kinds(other, length), strict=True))
    return all(a == b for a, b in kinds) or (any(a < b for a, b in kinds) and any(a > b for a, b in kinds))


def spell_one_path_twice(one: Route, other: Route) -> bool:
    """Whether one has a tail where the other has a parameter, and all else is the same."""
    return one.path != other.path and one.path.replace("...", "") == other.path.replace("...", "")


@given(st.lists(st.tuples(shapes, st.sampled_from(METHODS[:2])), max_size=8))
def test_routes_conflict_only_where_neither_is_the_more_literal_one(
    declared: list[tuple[tuple[str, ...], str]],
) -> None:
    routes = [make_route(number_parameters(shape), method, name=f"r{n}") for n, (shape, method) in enumerate(declared)]
    assume(not any(spell_one_path_twice(one, other) for one, other in combinations(routes, 2)))
    if not any(crosses(one, other) for one, other in combinations(routes, 2)):
        assert RouteTable(routes).routes == tuple(routes)
    else:
        with pytest.raises(TableError, match=r"^routes 'r\d' and 'r\d' both match (paths of )?(GET|POST) /"):
            RouteTable(routes)


# Tails


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/f/a", ("/f/{x...}", [b"a"])),
        (b"/f/a/b%2Fc//d/", ("/f/{x...}", [b"a/b%2Fc//d/"])),
        (b"/f/", ("/f/{x...}", [b""])),
        (b"/f", None),
        (b"/f/me", ("/f/me", [])),
        (b"/f/me/x", ("/f/{x...}", [b"me/x"])),
        (b"/f/by/7/x/y", ("/f/by/{id}/{x...}", [b"7", b"x/y"])),
        (b"/f/by/7/all", ("/f/by/{id}/all", [b"7"])),
        (b"/f/by/7", ("/f/{x...}", [b"by/7"])),
        (b"/%66/a/b", ("/f/{x...}", [b"a/b"])),
        (b"/g/1/2", ("/g/{one}/{two}", [b"1", b"2"])),
        (b"/g/1/2/3", ("/g/{x...}", [b"1/2/3"])),
    ],
)
def test_a_tail_takes_the_rest_of_the_path_where_nothing_is_more_literal(
    path: bytes, expected: tuple[str, list[bytes]] | None
) -> None:
    paths = ("/f/{x...}", "/f/me", "/f/by/{id}/{x...}", "/f/by/{id}/all", "/g/{one}/{two}", "/g/{x...}")
    table = RouteTable([make_route(p, name=f"r{n}") for n, p in enumerate(paths)])
    assert find(table, path) == find(table, path, "HEAD") == expected
    assert find(table, path, "POST") is None


def test_a_tail_can_not_stand_beside_a_parameter_in_its_place() -> None:
    with pytest.raises(TableError, match="a tail and a parameter can't be in the same place"):
        RouteTable([make_route("/f/{x...}", "GET", name="a"), make_route("/f/{x}", "POST", name="b")])


# Cost


class CountingSegment(bytes):
    """A segment that counts how often it is hashed or compared."""

    looks = 0

    def __hash__(self) -> int:
        CountingSegment.looks += 1
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        CountingSegment.looks += 1
        return super().__eq__(other)


class CountingPath(bytes):
    def split(self, sep: "ReadableBuffer | None" = None, maxsplit: SupportsIndex = -1) -> list[bytes]:
        return [CountingSegment(segment) for segment in super().split(sep, maxsplit)]


def count_steps(action: Callable[[], object]) -> int:
    """How many calls an action makes in app.routing.table, of Python and of C, and how often it looks at a segment."""
    calls = 0

    def count(frame: FrameType, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call") and frame.f_globals["__name__"] == app.routing.table.__name__

    CountingSegment.looks = 0
    profile = sys.getprofile()
    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(profile)
    return calls + CountingSegment.looks


@cache
def make_table(count: int) -> RouteTable:
    """`count` routes that share prefixes, suffixes and parameters, and one more."""
    kinds = ["/v{n}/orders/{{id}}", "/v/orders{n}/{{id}}", "/w/{{id}}/orders{n}", "/v/{{id}}/{{x}}/o{n}"]
    paths = [kinds[n % 4].format(n=n) for n in range(count)]
    return RouteTable([*(make_route(path) for path in paths), make_route("/v/orders/{id}/lines")])


@pytest.mark.parametrize(
    "path", [b"/v/orders/7/lines", b"/v/orders5/7", b"/v0/orders/1", b"/v/1/2/o3", b"/v/1/2/o", b"/w"]
)
def test_a_match_takes_as_many_steps_among_ten_thousand_routes_as_among_ten(path: bytes) -> None:
    few, many = make_table(10), make_table(10_000)
    counting = CountingPath(path)
    assert find(many, path) == find(few, path)
    assert count_steps(lambda: many.match("GET", counting)) == count_steps(lambda: few.match("GET", counting))


def test_twice_as_many_routes_that_could_overlap_take_twice_as_many_steps_to_build() -> None:
    def build(count: int) -> int:
        declared = [make_route(f"/v/orders{n}/{{id}}/x{n}") for n in range(count)]
        declared += [make_route(f"/v/{{a}}/{{b}}/o{n}") for n in range(count)]
        return count_steps(lambda: RouteTable(declared))

    assert build(400) == pytest.approx(2 * build(200), rel=0.02)


def test_a_path_longer_than_any_route_ends_where_the_routes_end() -> None:
    table = make_table(10)
    long, longer = CountingPath(b"/v/1/2" + b"/x" * 50), CountingPath(b"/v/1/2" + b"/x" * 5_000)
    assert count_steps(lambda: table.match("GET", longer)) == count_steps(lambda: table.match("GET", long))


# What a path allows


@pytest.mark.parametrize(
    ("methods", "allowed"),
    [
        (["GET"], ("GET", "HEAD", "OPTIONS")),
        (["POST"], ("POST", "OPTIONS")),
        (["DELETE", "GET"], ("GET", "HEAD", "DELETE", "OPTIONS")),
        (["DELETE", "PUT", "POST"], ("POST", "PUT", "DELETE", "OPTIONS")),
        (list(METHODS), ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")),
    ],
)
def test_a_path_allows_its_methods_and_head_beside_get_and_options(
    methods: list[str], allowed: tuple[str, ...]
) -> None:
    assert RouteTable([make_route("/a/{x}", *methods)]).allowed(b"/a/1") == allowed


def test_methods_of_several_routes_are_allowed_together() -> None:
    table = RouteTable([make_route("/a/{x}", "DELETE"), make_route("/a/b", "POST"), make_route("/a/{x}/c")])
    assert table.allowed(b"/a/b") == ("POST", "DELETE", "OPTIONS")
    assert table.allowed(b"/a/c") == ("DELETE", "OPTIONS")


@pytest.mark.parametrize("path", [b"/b", b"/a/", b"/", b"", b"*"])
def test_an_unknown_path_allows_nothing(path: bytes) -> None:
    assert RouteTable([make_route("/a", *METHODS)]).allowed(path) == ()


# What a table refuses


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/a", "/a"),
        ("/a/{x}", "/a/{x}"),
        ("/a/{x}/c", "/a/b/{y}"),
        ("/a/b/{y}", "/a/{x}/c"),
        ("/a/{x}/{y}/d", "/a/b/{y}/{z}"),
    ],
)
def test_two_routes_that_match_the_same_are_refused_by_name(one: str, other: str) -> None:
    routes = [make_route(one, "GET", "POST", name="first"), make_route(other, "PUT", "POST", name="second")]
    if one == "/a/{x}/{y}/d":  # /a/b/{y}/{z}: more literal in the second segment, less in the last
        assert crosses(*routes)
    with pytest.raises(TableError, match=r"^routes 'first' and 'second' both match POST /a") as caught:
        RouteTable(routes)
    assert [(index, fault.key) for index, fault in caught.value.faults] == [(1, ("path",))]


@pytest.mark.parametrize(("one", "other"), [("/a/{x}", "/a/{y}"), ("/a/{x}/b/{y}", "/a/{y}/b/{x}")])
def test_two_routes_that_name_the_parameters_of_one_path_differently_are_refused(one: str, other: str) -> None:
    with pytest.raises(TableError, match=r"^routes 'first' and 'second' name the parameters of one path differently$"):
        RouteTable([make_route(one, "GET", name="first"), make_route(other, "PUT", name="second")])


BESIDE = [("/a/me", "/a/{x}"), ("/a/{x}/c", "/a/{x}/{y}"), ("/a/b/{y}", "/a/{x}/{y}")]


@pytest.mark.parametrize(("more", "less"), BESIDE)
def test_a_more_literal_route_may_stand_beside_another_and_goes_before_it(more: str, less: str) -> None:
    path = more.replace("{x}", "1").replace("{y}", "2").encode()
    for routes in ([more, less], [less, more]):
        match = RouteTable([make_route(template) for template in routes]).match("GET", path)
        assert match
        assert match[0].path == more


def test_all_conflicts_are_told_at_once_up_to_a_bound() -> None:
    with pytest.raises(TableError) as caught:
        RouteTable(
            [make_route("/a"), make_route("/a", name="b"), make_route("/a"), make_route("/docs")], reserved=["docs"]
        )
    assert [index for index, _ in caught.value.faults] == [1, 2, 2, 3]
    with pytest.raises(TableError) as caught:
        RouteTable([make_route("/a") for _ in range(2 * MAX_CONFLICTS)])
    assert MAX_CONFLICTS <= len(caught.value.faults) <= MAX_CONFLICTS + 2


def test_two_routes_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^two routes have the name 'same'$"):
        RouteTable([make_route("/a", name="same"), make_route("/b", name="same")])


@pytest.mark.parametrize("path", ["/docs", "/docs/{x}", "/docs/a/b"])
def test_a_route_under_a_reserved_first_segment_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"^route 'mine': the gateway itself uses /docs"):
        RouteTable([make_route("/fine"), make_route(path, name="mine")], reserved=["livez", "docs"])


@pytest.mark.parametrize("path", ["/docs2", "/doc", "/a/docs", "/Docs"])
def test_only_the_whole_first_segment_is_reserved(path: str) -> None:
    assert RouteTable([make_route(path)], reserved=["docs"]).routes[0].path == path


def test_what_stands_before_the_first_slash_is_not_overlooked() -> None:
    table = RouteTable([Route(name="r", methods=("GET",), path="/a", subject="a")])
    assert table.match("GET", b"/a")
    assert table.match("GET", b"x/a") is None


def test_the_packaged_route_is_the_greeter_that_the_readme_calls() -> None:
    assert find(RouteTable(GREET_ROUTES), b"/greet/sue") == ("/greet/{name}", [b"sue"])
    assert [route.subject for route in GREET_ROUTES] == ["greet.{name}"]
