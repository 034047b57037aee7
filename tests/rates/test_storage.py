"""The storage against a real redis-server."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import app.rates.client
import app.rates.storage
from app.edge.buckets import Buckets, Limit
from app.rates.storage import LIMIT, MAX_ASKING, SharedStorage
from tests.certificates import Authority
from tests.harness import PATIENCE, eventually, reserve_port
from tests.redis import RedisServer, run_redis

HOURLY = Limit("hourly", average=10, period=3600.0, burst=4, by="ip")
QUICK = Limit("quick", average=20, period=1.0, burst=2, by="ip")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage that answers has time for it, however busy the machine is."""
    monkeypatch.setattr(app.rates.storage, "LIMIT", PATIENCE)
    monkeypatch.setattr(app.rates.client, "LIMIT", PATIENCE)


@pytest.fixture(scope="module")
def started() -> Iterator[RedisServer]:
    with run_redis() as server:
        yield server


@pytest.fixture
def redis(started: RedisServer) -> RedisServer:
    started.ask("FLUSHALL")
    return started


async def test_it_counts_as_the_buckets_in_memory_do(redis: RedisServer) -> None:
    buckets = Buckets(HOURLY)
    async with SharedStorage(redis.url, is_closed=False) as storage:
        for key in "aaabaaab":
            assert await storage.take(HOURLY, key) == pytest.approx(buckets.take(key, 1.0), abs=0.01)


async def test_two_gateways_count_together_and_databases_apart(redis: RedisServer) -> None:
    other_url = redis.url.removesuffix("/0").replace("redis:", "valkey:") + "/1"
    async with (
        SharedStorage(redis.url, is_closed=False) as one,
        SharedStorage(redis.url.replace("redis:", "valkey:"), is_closed=False) as two,
        SharedStorage(other_url, is_closed=False) as three,
    ):
        taken = [await storage.take(HOURLY, "a") for storage in (one, two, one, two, one, three)]
    assert taken == pytest.approx([3, 2, 1, 0, -1, 3], abs=0.01)


async def test_requests_at_once_never_take_more_than_there_is(redis: RedisServer) -> None:
    async with SharedStorage(redis.url, is_closed=False) as storage:
        taken = await asyncio.gather(*(storage.take(HOURLY, "a") for _ in range(3 * MAX_ASKING)))
    assert sum(left is not None and left >= 0 for left in taken) == HOURLY.burst


async def test_what_is_full_again_is_no_longer_kept(redis: RedisServer) -> None:
    async with SharedStorage(redis.url, is_closed=False) as storage:
        await storage.take(HOURLY, "a")
        left = int(redis.ask("PTTL nats-http:rate:hourly:a")[1:])
        assert 0 < left <= 360_000  # until the token is back
        redis.ask("FLUSHALL")
        await storage.take(QUICK, "a")
        await eventually(lambda: redis.ask("DBSIZE") == b":0")
        assert await storage.take(QUICK, "a") == pytest.approx(1, abs=0.01)


async def test_a_server_that_hangs_delays_requests_by_no_more_than_the_limit_and_then_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with run_redis() as redis:
        async with SharedStorage(redis.url, is_closed=False) as storage:
            assert await storage.take(HOURLY, "a") is not None
            redis.freeze()
            monkeypatch.setattr(app.rates.storage, "LIMIT", LIMIT)
            started = time.monotonic()
            taken = await asyncio.gather(*(storage.take(HOURLY, "a") for _ in range(4 * MAX_ASKING)))
            assert set(taken) == {None}
            assert time.monotonic() - started < PATIENCE / 2
            monkeypatch.setattr(app.rates.storage, "LIMIT", PATIENCE)
            monkeypatch.setattr(app.rates.storage, "PAUSE", PATIENCE)
            storage._note_failure("as before")
            assert await storage.take(HOURLY, "a") is None
            assert time.monotonic() - started < PATIENCE / 2
            redis.thaw()
            monkeypatch.setattr(app.rates.storage, "PAUSE", 0.01)
            storage._note_failure("as before")
            await eventually_answers(storage)


async def test_a_server_that_goes_and_comes_back_counts_again_and_the_log_says_both_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.rates.storage, "PAUSE", 0.1)
    with run_redis() as redis:
        async with SharedStorage(redis.url, is_closed=True) as storage:
            assert await storage.take(HOURLY, "a") is not None
            redis.stop()
            for _ in range(2):
                assert set(await asyncio.gather(*(storage.take(HOURLY, "a") for _ in range(50)))) == {None}
                await eventually(lambda: not storage.is_away)
            redis.start()
            await eventually_answers(storage)
    log = capsys.readouterr().out
    assert log.count("rate-limit-storage-away") == log.count("rate-limit-storage-back") == 1


async def test_callers_who_leave_at_once_do_not_keep_it_away(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SharedStorage(redis.url, is_closed=True) as storage:
        storage._note_failure("as before")
        monkeypatch.setattr(app.rates.storage, "PAUSE", 2 * PATIENCE)
        storage._retry_at = 0.0
        leaving = asyncio.create_task(storage.take(HOURLY, "a"))
        await asyncio.sleep(0)  # it asks
        leaving.cancel()
        await eventually(lambda: not storage.is_away)
        assert await storage.take(HOURLY, "a") is not None


async def test_what_the_server_refuses_is_as_if_it_were_away_and_no_password_is_told(
    redis: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with SharedStorage(redis.url.replace("//", "//:pass%20word@"), is_closed=True) as storage:
        assert await storage.take(HOURLY, "a") is None
        assert storage.is_away
    log = capsys.readouterr().out
    assert "rate-limit-storage-away" in log
    assert "word" not in log.replace("password", "")


@pytest.mark.parametrize(
    "answer",
    [
        b"$-1\r\n",
        b"$3\r\nabc\r\n",
        b"*1\r\n:1\r\n",
        b":abc\r\n",
        b"$-5\r\nx\r\n",
        b"*1\r\n" * 5000,
        b"+" + b"x" * 100_000,
        b":" + b"9" * 5000 + b"\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
async def test_what_is_no_answer_is_as_if_it_were_away(answer: bytes) -> None:
    replies = ((b"EVALSHA", answer), (b"HELLO", b"%1\r\n+proto\r\n:3\r\n"), (b"", b"+OK\r\n"))

    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            for command in data.split(b"*")[1:]:
                writer.write(next(reply for word, reply in replies if word in command))
        writer.close()

    server = await asyncio.start_server(lie, "127.0.0.1", 0)
    async with server, SharedStorage(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", is_closed=True) as it:
        assert await it.take(HOURLY, "a") is None
        assert it.is_away


async def test_it_is_reached_by_a_socket_of_this_machine_and_by_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    files = authority.write()
    ca = authority.write_client_ca()["tls_client_ca"]
    with reserve_port() as port:
        of_tls = f"--tls-port {port} --tls-cert-file {files['tls_cert']} --tls-key-file {files['tls_key']}"
        options = f"{of_tls} --tls-auth-clients no --tls-ca-cert-file {ca} --unixsocket {tmp_path / 'redis.sock'}"
        with run_redis(*options.split()) as redis:
            assert redis.ask("ACL SETUSER gateway on >secret ~nats-http:* +@all") == b"+OK"
            secure = f"rediss://gateway:secret@localhost:{port}/0"
            async with SharedStorage(f"redis+unix://{tmp_path / 'redis.sock'}", is_closed=True) as storage:
                assert await storage.take(HOURLY, "a") == pytest.approx(3, abs=0.01)
            async with SharedStorage(secure, is_closed=True) as storage:
                assert await storage.take(HOURLY, "a") is None  # nobody has signed for it whom the system trusts
            monkeypatch.setenv("SSL_CERT_FILE", str(ca))
            async with SharedStorage(secure.replace("rediss", "valkeys"), is_closed=True) as storage:
                assert await storage.take(HOURLY, "a") == pytest.approx(2, abs=0.01)
            assert redis.ask("DBSIZE") == b":1"


async def eventually_answers(storage: SharedStorage) -> None:
    while await storage.take(HOURLY, "b") is None:
        await eventually(lambda: not storage.is_away)
