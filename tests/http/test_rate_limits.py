"""`rate_limit` of a route file, over both lanes: who gets 429, and what each answer says of its limits."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import app.rates.client
import app.rates.storage
from app.edge.api_keys import digest_key
from app.pieces import run_at_once
from app.prepared import pack, prepare, unpack
from app.rates.storage import LIMIT
from app.routefile.load import RouteFile, load_route_file
from tests.harness import PATIENCE, Gateway, NatsServer, replying, responder, run_gateway
from tests.redis import RedisServer, run_redis

KEYS = f"""\
version: 1
keys:
  - {{name: sue, sha256: {digest_key(b"sues-key")}, claims: {{tenant: acme}}}}
  - {{name: joe, sha256: {digest_key(b"joes-key")}, claims: {{tenant: acme}}}}
  - {{name: bob, sha256: {digest_key(b"bobs-key")}, claims: {{tenant: other}}}}
"""
LIMITS = """\
rate_limits:
  public: {average: 2, period: 1h}
  busy: {average: 1, period: 1m, burst: 3, by: route}
  keys: {average: 2, period: 1h, by: key}
  tenants: {average: 3, period: 1h, by: 'claim:tenant'}
"""
ROUTES = """\
version: 1
auth: {partners: {type: api-key, header: X-API-Key, file: keys.yaml}}
cors: {allow_origins: https://app.example}
defaults: {auth: none, rate_limit: public}
routes:
  - {name: one, method: GET, path: /one, subject: r.one}
  - {name: two, method: GET, path: /two, subject: r.two}
  - {name: free, method: GET, path: /free, subject: r.free, rate_limit: none}
  - {name: busy, method: [GET, POST], path: '/busy/{id}', subject: 'r.busy.{id}', rate_limit: busy}
  - {name: keys, method: GET, path: /keys, subject: r.keys, auth: partners, rate_limit: [busy, keys, tenants]}
  - {name: guarded, method: GET, path: /guarded, subject: r.guarded, auth: partners}
"""
APP = "https://app.example"


def load(folder: Path, limits: str = LIMITS) -> RouteFile:
    (folder / "keys.yaml").write_text(KEYS)
    (folder / "routes.yaml").write_text(ROUTES + limits)
    return load_route_file(folder / "routes.yaml")


@pytest.fixture
async def gateway(shared_nats: NatsServer, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with (
        responder(shared_nats.url, "r.>", replying(b"hi")),
        run_gateway(shared_nats.url, routes=load(tmp_path), trusted_proxies=("127.0.0.1",)) as gateway,
    ):
        yield gateway


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage that answers has time for it, however busy the machine is."""
    monkeypatch.setattr(app.rates.storage, "LIMIT", PATIENCE)
    monkeypatch.setattr(app.rates.client, "LIMIT", PATIENCE)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with run_redis() as server:
        yield server


async def ask(gateway: Gateway, path: str, times: int, **headers: str) -> list[int]:
    return [(await gateway.get(path, **headers)).status_code for _ in range(times)]


async def test_more_than_the_limit_gets_429_and_each_answer_says_what_is_left(gateway: Gateway) -> None:
    for left, full in ((1, 1800), (0, 3600)):
        response = await gateway.get("/one")
        told = re.fullmatch(r'"public";r=(\d+);t=(\d+)', response.headers["ratelimit"])
        assert (response.status_code, response.text) == (200, "hi")
        assert response.headers["ratelimit-policy"] == '"public";q=2;w=3600'
        assert told is not None
        assert (int(told[1]), full - 100 < int(told[2]) <= full) == (left, True)
        assert "retry-after" not in response.headers
    response = await gateway.get("/two")
    problem = response.json()
    assert (response.status_code, problem["type"], problem["status"]) == (429, "/problems/rate-limited", 429)
    assert (problem["delivered"], problem["retryable"]) == ("no", True)
    assert 1700 < int(response.headers["retry-after"]) <= 1800
    assert response.headers["ratelimit"].startswith('"public";r=0;t=')
    free = await gateway.get("/free")
    assert (free.status_code, "ratelimit" in free.headers) == (200, False)


async def test_each_address_has_its_own_and_a_64_of_ipv6_is_one(gateway: Gateway) -> None:
    assert await ask(gateway, "/one", 3) == [200, 200, 429]
    for address, other in (("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::2")):
        assert await ask(gateway, "/one", 2, x_forwarded_for=address) == [200, 200]
        assert await ask(gateway, "/one", 1, x_forwarded_for=other) == [429]
    assert await ask(gateway, "/one", 1, x_forwarded_for="2001:db8:0:1::1") == [200]


async def test_any_problem_of_such_a_route_has_the_fields_and_a_page_may_read_them(gateway: Gateway) -> None:
    for path, method, status in (("/busy/a.b", "GET", 422), ("/busy/1", "POST", 200), ("/busy/1", "GET", 200)):
        response = await gateway.client.request(method, path, headers={"Origin": APP})
        assert response.status_code == status
        assert response.headers["ratelimit-policy"] == '"busy";q=1;w=60'
    response = await gateway.get("/busy/1", origin=APP)
    assert response.status_code == 429
    assert response.headers["access-control-allow-origin"] == APP
    assert {"ratelimit", "ratelimit-policy", "retry-after"} <= set(
        response.headers["access-control-expose-headers"].split(", ")
    )


async def test_a_preflight_is_not_counted(gateway: Gateway) -> None:
    fields = {"Origin": APP, "Access-Control-Request-Method": "GET"}
    for _ in range(5):
        assert (await gateway.client.request("OPTIONS", "/one", headers=fields)).status_code == 204
    assert await ask(gateway, "/one", 1) == [200]


async def test_several_limits_count_by_route_by_key_and_by_claim(shared_nats: NatsServer, tmp_path: Path) -> None:
    limits = LIMITS.replace("burst: 3", "burst: 100")
    async with (
        responder(shared_nats.url, "r.>", replying(b"hi")),
        run_gateway(shared_nats.url, routes=load(tmp_path, limits)) as gateway,
    ):
        response = await gateway.get("/keys", x_api_key="sues-key")
        assert [part.partition(";")[0] for part in response.headers["ratelimit"].split(", ")] == [
            '"busy"',
            '"keys"',
            '"tenants"',
        ]
        assert await ask(gateway, "/keys", 2, x_api_key="sues-key") == [200, 429]
        assert await ask(gateway, "/keys", 2, x_api_key="joes-key") == [200, 429]
        assert await ask(gateway, "/keys", 2, x_api_key="bobs-key") == [200, 200]


async def test_wrong_keys_count_for_the_address_that_they_come_from(gateway: Gateway) -> None:
    assert await ask(gateway, "/guarded", 4, x_api_key="guess") == [401, 401, 429, 429]
    assert await ask(gateway, "/guarded", 1, x_api_key="sues-key") == [429]
    assert await ask(gateway, "/guarded", 1, x_api_key="sues-key", x_forwarded_for="192.0.2.9") == [200]


async def test_who_is_over_the_limit_is_refused_before_the_body_is_read(gateway: Gateway) -> None:
    await ask(gateway, "/busy/1", 3)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /busy/1 HTTP/1.1\r\nHost: t\r\nContent-Length: 900000\r\n\r\n")
    assert (await reader.readuntil(b"\r\n"))[9:12] == b"429"
    writer.close()


async def test_tokens_come_back_with_time(shared_nats: NatsServer, tmp_path: Path) -> None:
    limits = LIMITS.replace("public: {average: 2, period: 1h}", "public: {average: 2, period: 1s, burst: 1}")
    async with (
        responder(shared_nats.url, "r.>", replying(b"hi")),
        run_gateway(shared_nats.url, routes=load(tmp_path, limits)) as gateway,
    ):
        answers = await asyncio.gather(*(gateway.get("/one") for _ in range(20)))
        refused = [response for response in answers if response.status_code == 429]
        assert {response.headers["retry-after"] for response in refused} == {"1"}
        while (await gateway.get("/one")).status_code != 200:
            pass


async def test_a_reload_forgets_only_what_a_limit_has_counted_that_changes(gateway: Gateway, tmp_path: Path) -> None:
    swap = gateway.parts.serving.swap
    await ask(gateway, "/one", 2)
    await ask(gateway, "/busy/1", 3)
    await swap(run_at_once(unpack(pack(load(tmp_path)))))
    assert (await ask(gateway, "/two", 1), await ask(gateway, "/busy/1", 1)) == ([429], [429])
    await swap(prepare(load(tmp_path, LIMITS.replace("average: 2, period: 1h}", "average: 4, period: 1h}"))))
    assert (await ask(gateway, "/two", 5), await ask(gateway, "/busy/1", 1)) == ([200] * 4 + [429], [429])


async def test_gateways_with_a_storage_count_together(
    shared_nats: NatsServer, tmp_path: Path, redis: RedisServer
) -> None:
    redis.ask("FLUSHALL")
    file = load(tmp_path)
    async with (
        responder(shared_nats.url, "r.>", replying(b"hi")),
        run_gateway(shared_nats.url, routes=file, rate_limit_storage=redis.url) as one,
        run_gateway(shared_nats.url, routes=load(tmp_path), rate_limit_storage=redis.url) as other,
    ):
        assert await ask(one, "/one", 1) == [200]
        response = await other.get("/two")
        assert (response.status_code, response.headers["ratelimit"][:14]) == (200, '"public";r=0;t')
        response = await one.get("/two")
        assert (response.status_code, response.json()["type"]) == (429, "/problems/rate-limited")
        assert 1700 < int(response.headers["retry-after"]) <= 1800
        assert await ask(other, "/one", 1) == [429]
        answer = await one.client.post("/busy/1", content=b"a body that waits")
        assert (answer.status_code, answer.headers["ratelimit"]) == (200, '"busy";r=2;t=60')
        assert await ask(one, "/keys", 3, x_api_key="bobs-key") == [200, 200, 429]


@pytest.mark.parametrize(("fallback", "statuses"), [("open", [200, 200, 429]), ("closed", [503, 503, 503])])
async def test_without_the_storage_requests_are_counted_here_or_refused_and_nobody_hangs(
    shared_nats: NatsServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fallback: str,
    statuses: list[int],
) -> None:
    monkeypatch.setattr(app.rates.storage, "PAUSE", 0.1)
    with run_redis() as redis:
        async with (
            responder(shared_nats.url, "r.>", replying(b"hi")),
            run_gateway(
                shared_nats.url,
                routes=load(tmp_path),
                rate_limit_storage=redis.url,
                rate_limit_fallback=fallback,
            ) as gateway,
        ):
            assert await ask(gateway, "/one", 1) == [200]
            redis.freeze()
            monkeypatch.setattr(app.rates.storage, "LIMIT", LIMIT)
            assert await ask(gateway, "/one", 3) == statuses
            assert await ask(gateway, "/free", 1) == [200]
            if fallback == "closed":
                response = await gateway.get("/one")
                assert response.json()["type"] == "/problems/limits-unavailable"
                assert (response.json()["retryable"], response.headers["retry-after"]) == (True, "1")
            redis.thaw()
            monkeypatch.setattr(app.rates.storage, "LIMIT", PATIENCE)
            redis.ask("FLUSHALL")
            answers: list[int] = []
            while 200 not in answers:
                answers += await ask(gateway, "/one", 1)
                await asyncio.sleep(0.01)


async def test_a_gateway_starts_while_its_storage_is_away(
    shared_nats: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.rates.storage, "PAUSE", 0.1)
    with run_redis() as redis:
        redis.stop()
        async with (
            responder(shared_nats.url, "r.>", replying(b"hi")),
            run_gateway(
                shared_nats.url,
                routes=load(tmp_path),
                rate_limit_storage=redis.url,
                rate_limit_fallback="closed",
            ) as gateway,
        ):
            assert await ask(gateway, "/one", 1) == [503]
            redis.start()
            statuses: list[int] = []
            while 200 not in statuses:
                statuses += await ask(gateway, "/one", 1)
                await asyncio.sleep(0.01)
            assert set(statuses) <= {200, 503}
