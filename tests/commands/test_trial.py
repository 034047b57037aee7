"""The request that `nats-http dev` offers to begin with: one that its route would send."""

from pathlib import Path

import pytest

from app.commands.trial import find_trial, write_pattern
from app.routefile.load import EXAMPLES, load_route_file
from app.routing.routes import Route
from app.settings import Settings

ADDRESS = "http://127.0.0.1:8000"


def find(folder: Path, *routes: str) -> str | None:
    path = folder / "routes.yaml"
    lines = (
        f"  - {{name: r{number}, {route if 'method' in route else f'method: GET, {route}'}}}\n"
        for number, route in enumerate(routes)
    )
    path.write_text("version: 1\nroutes:\n" + "".join(lines))
    trial = find_trial(load_route_file(path).table, Settings())
    return trial.write_command(ADDRESS) if trial else None


def test_of_the_examples_it_greets() -> None:
    trial = find_trial(load_route_file(EXAMPLES).table, Settings())
    assert trial is not None
    assert (trial.write_command(ADDRESS), trial.pattern) == (f"curl {ADDRESS}/greet/sue", "greet.*")


def test_a_rate_limit_does_not_count_it(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    route = "{name: a, method: GET, path: /a, subject: a, rate_limit: x}"
    path.write_text(f"version: 1\nrate_limits: {{x: {{average: 1, period: 1h}}}}\nroutes:\n  - {route}\n")
    file = load_route_file(path)
    assert find_trial(file.table, Settings()) is not None
    assert len(file.counters["x"].buckets) == 0


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ("type: integer, min: 5", "5"),
        ("type: integer, max: 0", "0"),
        ("type: integer", "1"),
        ("type: number, min: 0.5", "1"),
        ("type: boolean", "true"),
        ("enum: [open, sent]", "open"),
        ("example: José", "Jos%C3%A9"),
        ("example: 7, type: integer, min: 1", "7"),
        ("format: uuid", "123e4567-e89b-12d3-a456-426614174000"),
        ("format: date", "2026-01-31"),
        ("min_length: 5", "ididid"),
        ("max_length: 1", "1"),
        ("pattern: '[a-z]+'", "id"),
    ],
)
def test_a_parameter_has_what_its_rules_say(tmp_path: Path, rules: str, text: str) -> None:
    route = f"path: '/a/{{id}}', subject: 'a.{{id}}', params: {{id: {{{rules}}}}}"
    assert find(tmp_path, route) == f"curl {ADDRESS}/a/{text}"


def test_a_tail_keeps_its_slashes(tmp_path: Path) -> None:
    params = "params: {path: {example: a b/c}}"
    route = f"path: '/f/{{path...}}', subject: 'f.{{path}}', {params[:-2]}, token: escaped}}}}"
    assert find(tmp_path, route) == f"curl {ADDRESS}/f/a%20b/c"


@pytest.mark.parametrize(
    ("path", "subject", "pattern"),
    [("/a/{id}/b", "a.{id}.b", "a.*.b"), ("/f/{path...}", "f.x.{path...}", "f.x.>"), ("/a", "a.b", "a.b")],
)
def test_the_pattern_is_what_a_service_subscribes_to(path: str, subject: str, pattern: str) -> None:
    assert write_pattern(Route(name="a", methods=("GET",), path=path, subject=subject)) == pattern


def test_what_a_query_or_a_header_must_have_is_there_and_nothing_else(tmp_path: Path) -> None:
    params = "q: {in: query, required: true, enum: ['a b']}, n: {in: query, default: 3, type: integer}"
    route = f"path: /a, subject: a.q, payload: params, params: {{{params}, X-Tenant: {{in: header, required: true}}}}"
    assert find(tmp_path, route) == f"curl -H 'X-Tenant: X-Tenant' '{ADDRESS}/a?q=a%20b'"


def test_each_value_of_a_list_comes_as_the_route_wants_it(tmp_path: Path) -> None:
    params = "a: {in: query, required: true, many: true, example: [x, y]}"
    more = "b: {in: query, required: true, many: true, separator: ',', example: [x, y]}"
    route = f"path: /a, subject: a.q, payload: params, params: {{{params}, {more}}}"
    assert find(tmp_path, route) == f"curl '{ADDRESS}/a?a=x&a=y&b=x,y'"


def test_a_route_that_says_what_it_takes_goes_before_one_to_guess_at(tmp_path: Path) -> None:
    guessed = "path: '/a/{id}', subject: 'a.{id}'"
    assert find(tmp_path, guessed, "path: /all, subject: a.all") == f"curl {ADDRESS}/all"
    assert find(tmp_path, guessed) == f"curl {ADDRESS}/a/1"


def test_a_get_without_a_body_goes_before_all_else(tmp_path: Path) -> None:
    post = "method: POST, path: /p, subject: p, body_schema: {type: object, required: [n], examples: [{n: 1}]}"
    assert find(tmp_path, post, "path: '/g/{id}', subject: 'g.{id}'") == f"curl {ADDRESS}/g/1"
    assert find(tmp_path, post) == f"""curl -H 'Content-Type: application/json' -d '{{"n": 1}}' {ADDRESS}/p"""
    assert find(tmp_path, "method: POST, path: /p, subject: p, payload: none") == f"curl -X POST {ADDRESS}/p"


@pytest.mark.parametrize(
    "route",
    [
        "path: '/a/{id}', subject: 'a.{id}', params: {id: {pattern: '[0-9]{4}'}}",
        "path: /a, subject: a, allow_from: [10.0.0.0/8]",
        "method: DELETE, path: /a, subject: a",
        "method: POST, path: /a, subject: a, body_schema: {type: object, required: [n]}",
    ],
    ids=["a pattern", "other callers", "a deletion", "a body"],
)
def test_where_no_guess_is_right_there_is_none(tmp_path: Path, route: str) -> None:
    assert find(tmp_path, route) is None
