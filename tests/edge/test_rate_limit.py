from dataclasses import dataclass, field

import pytest

from app.edge.buckets import Limit
from app.edge.identity import Identity
from app.edge.rate_limit import MAX_KEY, Counter, RateLimit
from app.edge.request import Caller, Request
from app.errors import GatewayError, LimitsUnavailable, RateLimited
from app.formats.schemas import Json

ONE = {"average": 1, "period": 60.0, "burst": 1}


def make_request(address: str | None = "192.0.2.1", identity: Identity | None = None) -> Request:
    caller = Caller(address=address, scheme="http", lane="fast")
    request = Request(method="GET", path=b"/", query=b"", headers=(), version="1.1", received=0.0, caller=caller)
    request.identity = identity
    return request


def identify(subject: str, scheme: str = "users") -> Identity:
    return Identity(scheme, subject, frozenset(), {})


def check(policy: RateLimit, request: Request) -> GatewayError | None:
    """What a limit in memory says; it never waits."""
    try:
        assert policy.check(request) is None
    except GatewayError as error:
        return error
    return None


def are_one(by: str, *requests: Request) -> bool:
    """Whether these, by a limit of one request, are counted together."""
    policy = RateLimit(Counter(Limit("x", by=by, **ONE)), route="a")  # type: ignore[arg-type]
    return [check(policy, request) is None for request in requests] == [True, False]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        (None, None, True),
    ],
)
def test_by_ip_an_address_or_a_64_of_ipv6_counts_as_one(one: str | None, other: str | None, same: bool) -> None:
    assert are_one("ip", make_request(one), make_request(other)) is same


def test_by_key_each_identity_counts_as_one_wherever_it_is() -> None:
    sue, bob = identify("sue"), identify("bob")
    assert are_one("key", make_request("192.0.2.1", sue), make_request("192.0.2.2", sue))
    assert not are_one("key", make_request(identity=sue), make_request(identity=bob))
    assert not are_one("key", make_request(identity=sue), make_request(identity=identify("sue", "partners")))


def test_by_claim_each_value_counts_as_one_and_those_without_it_together() -> None:
    def request(**claims: Json) -> Request:
        return make_request(identity=Identity("users", "sue", frozenset(), claims))

    assert are_one("claim:tenant", request(tenant="a", x=1), request(tenant="a", x=2))
    assert not are_one("claim:tenant", request(tenant="1"), request(tenant=1))
    assert are_one("claim:realm.tenant", request(realm={"tenant": ["a"]}), request(realm={"tenant": ["a"]}))
    assert are_one("claim:tenant", request(), request(other=1))
    assert are_one("claim:tenant", request(tenant="x" * 9000), request(tenant="x" * 9000))
    assert not are_one("claim:tenant", request(tenant="x" * 9000 + "a"), request(tenant="x" * 9000 + "b"))


def test_by_route_all_callers_count_together_and_other_routes_apart() -> None:
    assert are_one("route", make_request("192.0.2.1"), make_request("192.0.2.2"))
    counter = Counter(Limit("x", 1, 60.0, 1, "route"))
    for name in ("a", "b"):
        assert check(RateLimit(counter, route=name), make_request()) is None


def test_routes_that_name_a_limit_count_a_caller_together() -> None:
    counter = Counter(Limit("x", 1, 60.0, 1, "ip"))
    assert check(RateLimit(counter, route="a"), make_request()) is None
    assert isinstance(check(RateLimit(counter, route="b"), make_request()), RateLimited)


def test_what_is_kept_of_a_caller_is_short_and_plain() -> None:
    counter = Counter(Limit("x", 1, 60.0, 1, "key"))
    for name in ("sue", "x" * 9000, "\udc80", "é" * 40):
        check(RateLimit(counter, route="a"), make_request(identity=identify(name)))
    assert len(counter.buckets) == 4
    assert all(len(key) <= MAX_KEY and key.isascii() for key in counter.buckets._full)


def test_each_answer_says_what_is_left_and_a_refusal_when_to_come_again() -> None:
    policy = RateLimit(Counter(Limit("public", 6, 60.0, 2, "ip")), route="a")
    for left, full in ((1, 10), (0, 20), (0, 20)):
        request = make_request()
        error = check(policy, request)
        assert request.added == (
            (b"ratelimit-policy", b'"public";q=6;w=60'),
            (b"ratelimit", b'"public";r=%d;t=%d' % (left, full)),
        )
    assert isinstance(error, RateLimited)
    assert error.headers == ((b"retry-after", b"10"),)
    assert "'public' allows no more requests from this address now: 6 each 60s, and at most 2 at once" in error.detail


@pytest.mark.parametrize(("period", "policy"), [(0.5, b"q=200;w=1"), (1.0, b"q=100;w=1"), (1.5, b"q=133;w=2")])
def test_a_period_is_told_in_whole_seconds(period: float, policy: bytes) -> None:
    request = make_request()
    check(RateLimit(Counter(Limit("x", 100, period, 1, "ip")), route="a"), request)
    assert request.added[0] == (b"ratelimit-policy", b'"x";' + policy)


@pytest.mark.parametrize(
    ("left", "fields", "wait"),
    [
        (2.0, "r=2;t=0", None),
        (1.5, "r=1;t=900", None),
        (0.0, "r=0;t=3600", None),
        (-0.5, "r=0;t=2700", b"900"),
        (-0.00001, "r=0;t=1801", b"1"),
        (-1.0, "r=0;t=3600", b"1800"),
    ],
)
async def test_the_seconds_are_whole_and_enough(left: float, fields: str, wait: bytes | None) -> None:
    counter = Counter(Limit("x", 2, 3600.0, 2, "ip"))
    counter.storage = Answers(left)
    asked = RateLimit(counter, route="a").check(request := make_request())
    assert asked is not None
    error: RateLimited | None = None
    try:
        await asked()
    except RateLimited as refused:
        error = refused
    assert request.added[1] == (b"ratelimit", f'"x";{fields}'.encode())
    assert (error and error.headers) == (((b"retry-after", wait),) if wait else None)


@dataclass
class Answers:
    """A storage that says this, in the place of a server."""

    left: float | None = 1.0
    is_closed: bool = False
    is_away: bool = False
    asked: list[str] = field(default_factory=list)

    async def take(self, limit: Limit, key: str) -> float | None:
        self.asked.append(f"{limit.name} {key}")
        return self.left


def make_counter(storage: Answers) -> Counter:
    counter = Counter(Limit("x", 1, 60.0, 1, "ip"))
    counter.storage = storage
    return counter


async def test_a_storage_is_waited_for_and_its_answer_counts() -> None:
    storage = Answers()
    policy = RateLimit(make_counter(storage), route="a")
    for left, expected in ((1.0, None), (0.0, None), (-1.0, RateLimited)):
        storage.left = left
        wait = policy.check(request := make_request())
        assert wait is not None
        if expected is None:
            await wait()
        else:
            with pytest.raises(expected):
                await wait()
        assert request.added[1][1].startswith(b'"x";r=%d;' % max(0, left))
    assert storage.asked == ["x 192.0.2.1"] * 3


async def test_without_its_storage_a_request_is_counted_here_or_refused() -> None:
    for is_closed, expected in ((False, RateLimited), (True, LimitsUnavailable)):
        for is_away in (False, True):
            policy = RateLimit(make_counter(Answers(None, is_closed, is_away)), route="a")

            async def ask(policy: RateLimit = policy) -> None:
                if wait := policy.check(make_request()):
                    await wait()

            if not is_closed:
                await ask()
            with pytest.raises(expected):
                await ask()
