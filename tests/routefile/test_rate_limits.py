"""`rate_limits` and `rate_limit` in a route file: what they mean, and each mistake with its place."""

from pathlib import Path

import pytest

from app.edge.allow_from import AllowFrom
from app.edge.api_keys import digest_key
from app.edge.auth import Authenticate
from app.edge.buckets import Limit
from app.edge.content_length import RequireLength
from app.edge.rate_limit import RateLimit
from app.pieces import run_at_once
from app.prepared import pack, unpack
from app.routing.routes import Route
from tests.routefile.files import LEAST, load, load_route, read_faults

PUBLIC = Limit("public", 100, 1.0, 50, "ip")
HEAD = "rate_limits:\n  public: {average: 100, period: 1s, burst: 50, by: ip}\n  keys: {average: 5, by: key}\n"
AUTH = "auth: {partners: {type: api-key, header: X-API-Key, file: keys.yaml}}\n"
MORE = "  - {name: b, method: GET, path: /b, subject: b"


def find_limits(route: Route) -> list[Limit]:
    return [policy.limit for policy in route.policies if isinstance(policy, RateLimit)]


def write_keys(file: Path) -> None:
    key = f"{{name: sue, sha256: {digest_key(b'sues-key')}}}"
    file.with_name("keys.yaml").write_text(f"version: 1\nkeys: [{key}]\n")


@pytest.mark.parametrize(
    ("keys", "limit"),
    [
        ("average: 100, period: 1s, burst: 50, by: ip", PUBLIC),
        ("average: 100", Limit("public", 100, 1.0, 100, "ip")),
        ("average: 1, period: 500ms, by: route", Limit("public", 1, 0.5, 1, "route")),
        ("average: 1, period: 2m", Limit("public", 1, 120.0, 1, "ip")),
        ("average: 1, period: 24h", Limit("public", 1, 86400.0, 1, "ip")),
        ("average: 1, period: 1d", Limit("public", 1, 86400.0, 1, "ip")),
    ],
)
def test_a_limit_says_what_it_says(file: Path, keys: str, limit: Limit) -> None:
    route = load_route(file, "rate_limit: public", head=f"rate_limits: {{public: {{{keys}}}}}\n")
    assert find_limits(route) == [limit]


def test_defaults_are_for_routes_that_say_nothing_and_none_is_no_limit(file: Path) -> None:
    head = HEAD + "defaults: {rate_limit: [public]}\n"
    routes = load(file, LEAST + MORE + ", rate_limit: none}\n" + head).table.routes
    assert [find_limits(route) for route in routes] == [[PUBLIC], []]
    assert find_limits(load(file, LEAST + HEAD).table.routes[0]) == []


def test_limits_that_need_not_know_who_calls_are_asked_before_that(file: Path) -> None:
    write_keys(file)
    keys = "auth: partners\nrate_limit: [keys, public]\nallow_from: 10.0.0.0/8\ncontent_length: required"
    policies = load_route(file, keys, head=HEAD + AUTH).policies
    assert [type(policy) for policy in policies] == [AllowFrom, RateLimit, Authenticate, RateLimit, RequireLength]
    assert [policy.limit.name for policy in policies if isinstance(policy, RateLimit)] == ["public", "keys"]


def test_limits_are_for_the_routes_of_included_files_and_those_have_none_at_their_top(file: Path) -> None:
    file.with_name("b.yaml").write_text("version: 1\nroutes:\n" + MORE + ", rate_limit: public}\n")
    head = f"version: 1\n{HEAD}include: [b.yaml]\n"
    assert find_limits(load(file, head).table.routes[0]) == [PUBLIC]
    file.with_name("b.yaml").write_text(f"version: 1\n{HEAD}routes:\n{MORE}}}\n")
    (fault,) = read_faults(file, head)
    assert fault.endswith("2:1: rate_limits: only the file that includes this one may have it")


def test_routes_that_are_handed_on_count_together_as_before(file: Path) -> None:
    text = LEAST.replace("a}", "a, rate_limit: public}") + MORE + ", rate_limit: public}\n" + HEAD
    prepared = run_at_once(unpack(pack(load(file, text))))
    counters = [policy.counter for route in prepared.table.routes for policy in route.policies]  # type: ignore[attr-defined]
    assert counters == [prepared.counters["public"]] * 2
    assert prepared.counters["public"].limit == PUBLIC


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        (
            "rate_limit: publik",
            '8:17: routes[0].rate_limit: "publik": no limit of this name is under `rate_limits`, did',
        ),
        (
            "rate_limit: other",
            '8:17: routes[0].rate_limit: "other": no limit of this name is under `rate_limits`; known are ',
        ),
        ("rate_limit: [public, public]", '8:26: routes[0].rate_limit[1]: "public": is listed twice'),
        (
            "rate_limit: [public, none]",
            "8:17: routes[0].rate_limit: `none` means no limit: it can't be combined with a limit",
        ),
        ("rate_limit: []", "8:17: routes[0].rate_limit: must not be empty"),
        ("rate_limit:", "8:16: routes[0].rate_limit: must be a list"),
        ("rate_limit: 5", "8:17: routes[0].rate_limit: 5: must be a list"),
        (
            "rate_limit: keys",
            '8:17: routes[0].rate_limit: "keys": this limit is `by: key`, and everybody may call this',
        ),
    ],
)
def test_a_mistake_of_a_route_is_told_with_its_place(file: Path, keys: str, fault: str) -> None:
    text = f"version: 1\n{HEAD}routes:\n  - name: a\n    method: GET\n    {keys}\n    path: /a\n    subject: a\n"
    (told,) = read_faults(file, text)
    assert told.startswith(fault)


@pytest.mark.parametrize(
    ("limits", "fault"),
    [
        ("{public: {}}", "4:23: rate_limits.public.average: is missing"),
        ("{public: {average: 0}}", "4:33: rate_limits.public.average: 0: must be 1 or more"),
        ("{public: {average: 1000001}}", "4:33: rate_limits.public.average: 1000001: must be at most 1000000"),
        ("{public: {average: 1.5}}", "4:33: rate_limits.public.average: 1.5: must be a whole number"),
        ("{public: {average: 1, burst: 0}}", "4:43: rate_limits.public.burst: 0: must be 1 or more"),
        ("{public: {average: 1, burst: }}", "4:43: rate_limits.public.burst: must be a whole number"),
        ("{public: {average: 1, period: 1}}", "4:44: rate_limits.public.period: 1: "),
        ("{public: {average: 1, period: 0s}}", '4:44: rate_limits.public.period: "0s": a duration is a number'),
        ("{public: {average: 1, period: 25h}}", '4:44: rate_limits.public.period: "25h": must be a duration of at'),
        ("{public: {average: 1, by: kex}}", '4:40: rate_limits.public.by: "kex": must be `ip`, `key`, `route`, or a'),
        ("{public: {average: 1, by: 'claim:'}}", '4:40: rate_limits.public.by: "claim:": must be `ip`, `key`, `route'),
        ("{public: {average: 1, burts: 2}}", "4:36: rate_limits.public.burts: unknown key, did you mean `burst`?"),
        ("{none: {average: 1}}", "the name of a limit is 1 to 64 of letters, digits, `.`, `_` and `-`, and not `none`"),
        ("{'a b': {average: 1}}", "the name of a limit is 1 to 64 of letters, digits, `.`, `_` and `-`, and not"),
        ("{}", "4:14: rate_limits: must not be empty"),
        ("[]", "4:14: rate_limits: must be a mapping"),
    ],
)
def test_a_mistake_of_a_limit_is_told_with_its_place_and_once(file: Path, limits: str, fault: str) -> None:
    text = LEAST.replace("a}", "a, rate_limit: public}") if "public" in limits else LEAST
    (told,) = read_faults(file, text + f"rate_limits: {limits}\n")
    assert fault in told
