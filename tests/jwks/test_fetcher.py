"""Keys of an issuer, fetched from a real server that may hang, lie, redirect or send without end."""

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator

import httpx
import pytest
import trustme

from app.edge.key_sets import KeySet
from app.jwks import client, fetcher
from app.jwks.fetcher import MAX_ANSWER, FetchFailed, JwksFetcher
from tests.harness import PATIENCE, eventually
from tests.issuer import (
    EC_KEY,
    Answer,
    answering,
    hang,
    make_jwk,
    make_jwks,
    run_issuer,
    trickle,
)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LIMIT", 0.5)
    monkeypatch.setattr(fetcher, "FIRST_RETRY", 0.05)
    monkeypatch.setattr(fetcher, "LAST_RETRY", 0.1)


@contextlib.asynccontextmanager
async def fetching(keys: KeySet) -> AsyncIterator[JwksFetcher]:
    async with JwksFetcher() as running:
        running.use([keys])
        yield running


def list_kids(keys: KeySet) -> list[str | None]:
    return [key.kid for key in keys.keys]


async def test_keys_are_there_without_a_request() -> None:
    async with run_issuer() as issuer:
        keys = KeySet(url=issuer.url)
        async with fetching(keys):
            await eventually(lambda: list_kids(keys) == ["rsa", "ec", "ed"])
            assert (keys.generation, keys.has_failed) == (1, False)


HOSTILE: dict[str, Answer] = {
    "hangs": hang,
    "trickles": trickle,
    "redirects": answering(b"", status=302, headers=((b"location", b"http://127.0.0.1:1/keys"),)),
    "moved for good": answering(make_jwks(), status=301, headers=((b"location", b"/other"),)),
    "no content": answering(b"", status=204),
    "an error": answering(make_jwks(), status=500),
    "a page": answering(b"<html>"),
    "nothing": answering(b""),
    "no object": answering([make_jwk()]),
    "no keys": answering({"keys": []}),
    "secrets": answering({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "rsa"}]}),
    "deep JSON": answering(b"[" * 100_000),
    "a key twice": answering(b'{"keys": [], "keys": []}'),
    "not UTF-8": answering(b'{"keys": "\xff"}'),
    "a little too much": answering(b" " * (MAX_ANSWER + 1)),
    "100 MiB": answering(b" " * 1024 * 1024, times=100),
    "compressed": answering(make_jwks(), headers=((b"content-encoding", b"gzip"),)),
}


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
async def test_the_keys_stay_whatever_the_issuer_says_later(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetcher, "REFRESH", 0.05)
    async with run_issuer() as issuer:
        keys = KeySet(url=issuer.url)
        async with fetching(keys):
            await eventually(lambda: keys.keys)
            issuer.answer = answer
            await eventually(lambda: keys.has_failed)
            assert list_kids(keys) == ["rsa", "ec", "ed"]
            assert keys.generation == 1
            issuer.answer = answering(make_jwks(make_jwk("new", EC_KEY)))
            await eventually(lambda: list_kids(keys) == ["new"])
            assert (keys.generation, keys.has_failed) == (2, False)


async def test_an_issuer_that_is_away_at_the_start_is_asked_again() -> None:
    async with run_issuer() as issuer:
        issuer.answer = answering(b"", status=503)
        keys = KeySet(url=issuer.url)
        async with fetching(keys):
            await eventually(lambda: keys.has_failed)
            issuer.answer = answering(make_jwks())
            await eventually(lambda: keys.keys)


async def test_the_same_keys_again_are_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetcher, "REFRESH", 0.02)
    async with run_issuer() as issuer:
        keys = KeySet(url=issuer.url)
        async with fetching(keys):
            await eventually(lambda: issuer.asked > 3)
            assert keys.generation == 1


async def test_for_a_key_that_is_not_known_there_is_one_fetch_in_a_while() -> None:
    async with run_issuer() as issuer:
        keys = KeySet(url=issuer.url)
        async with fetching(keys):
            await eventually(lambda: keys.keys)
            assert keys.fetch is not None
            issuer.answer = answering(make_jwks(make_jwk("new", EC_KEY)))
            await asyncio.gather(*(keys.fetch() for _ in range(50)))
            assert (list_kids(keys), issuer.asked) == (["new"], 2)
            await keys.fetch()
            assert issuer.asked == 2


async def test_thousands_that_wait_for_a_key_go_on_a_few_at_a_time_so_that_others_come_between() -> None:
    async with run_issuer() as issuer:
        keys = KeySet(url=issuer.url)
        async with fetching(keys):
            await eventually(lambda: keys.keys)
            fetch = keys.fetch
            assert fetch is not None
            turns: list[int] = [0]

            def count() -> None:
                turns.append(0)
                asyncio.get_running_loop().call_soon(count)

            async def wait() -> None:
                await fetch()
                turns[-1] += 1

            issuer.answer = hang
            waiting = [asyncio.create_task(wait()) for _ in range(2000)]
            await eventually(lambda: issuer.asked == 2)
            count()
            await asyncio.gather(*waiting)
            assert sum(turns) == 2000
            assert max(turns) <= fetcher.WAKES


async def test_who_asks_when_all_fetches_have_ended_does_not_wait() -> None:
    async with run_issuer() as issuer:
        keys = KeySet(url=issuer.url)
        async with fetching(keys):
            await eventually(lambda: keys.keys)
        assert keys.fetch is not None
        await asyncio.wait_for(keys.fetch(), PATIENCE)


async def test_a_request_before_the_first_answer_waits_for_it() -> None:
    async with run_issuer() as issuer:
        gate = asyncio.Event()
        right = issuer.answer

        async def answer_later(send: object) -> None:
            await gate.wait()
            await right(send)  # type: ignore[arg-type]

        issuer.answer = answer_later
        keys = KeySet(url=issuer.url)
        async with fetching(keys):
            assert keys.fetch is not None
            waiting = asyncio.ensure_future(keys.fetch())
            await eventually(lambda: issuer.asked)
            assert not waiting.done()
            gate.set()
            await waiting
            assert (len(keys.keys), issuer.asked) == (3, 1)


async def test_after_a_reload_a_source_that_stays_goes_on_and_one_that_is_gone_ends() -> None:
    async with run_issuer() as issuer, run_issuer() as other:
        keys, fresh, elsewhere = KeySet(url=issuer.url), KeySet(url=issuer.url), KeySet(url=other.url)
        async with fetching(keys) as running:
            await eventually(lambda: keys.keys)
            running.use([fresh, elsewhere, KeySet()])
            assert len(fresh.keys) == 3  # at once
            await eventually(lambda: elsewhere.keys)
            assert issuer.asked == 1
            before = asyncio.all_tasks()
            running.use([fresh])
            await eventually(lambda: len(asyncio.all_tasks()) < len(before))


async def test_leaving_it_ends_those_who_wait() -> None:
    async with run_issuer() as issuer:
        issuer.answer = hang
        keys = KeySet(url=issuer.url)
        async with fetching(keys):
            assert keys.fetch is not None
            waiting = asyncio.ensure_future(keys.fetch())
            await eventually(lambda: issuer.asked)
        await asyncio.wait_for(waiting, 1)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "nothing://127.0.0.1:1", "http://[::1"])
async def test_a_proxy_that_can_not_be_used_is_told_and_nobody_waits(
    proxy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    keys = KeySet(url="https://127.0.0.1:1/keys")
    async with fetching(keys):
        assert keys.fetch is not None
        for _ in range(2):
            await asyncio.wait_for(keys.fetch(), 5)
        assert keys.has_failed
    assert "HTTPS_PROXY or a similar variable can't be used" in capsys.readouterr().out


async def test_the_log_says_when_keys_come_first_when_they_change_and_after_a_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher, "REFRESH", 0.02)
    async with run_issuer() as issuer:
        keys = KeySet(url=f"{issuer.url}?apikey=s3cret")
        async with fetching(keys):
            await eventually(lambda: issuer.asked > 3)
            issuer.answer = answering(make_jwks(make_jwk("new", EC_KEY)))
            await eventually(lambda: keys.generation == 2)
            issuer.answer = answering(b"", status=404)
            await eventually(lambda: keys.has_failed)
            issuer.answer = answering(make_jwks(make_jwk("new", EC_KEY)))
            await eventually(lambda: not keys.has_failed)
        output = capsys.readouterr().out
        told = [json.loads(line) for line in output.splitlines() if "keys-" in line]
    assert [(line["event"], line.get("keys"), line.get("reason"), line["url"]) for line in told] == [
        ("keys-fetched", 3, None, issuer.url),
        ("keys-fetched", 1, None, issuer.url),
        ("keys-not-fetched", None, "the answer has status 404, not 200", issuer.url),
        ("keys-fetched", 1, None, issuer.url),
    ]
    assert "s3cret" not in output


UNTRUSTED = "its certificate is not trusted (unable to get local issuer certificate)"


async def speak_no_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(b"no HTTP\r\n\r\n")
    writer.close()


async def test_why_nobody_answers_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(tls)
    async with (
        await asyncio.start_server(speak_no_http, "127.0.0.1", 0) as plain,
        await asyncio.start_server(speak_no_http, "127.0.0.1", 0, ssl=tls) as strange,
    ):
        port, secure = (server.sockets[0].getsockname()[1] for server in (plain, strange))
        for url, reason in (
            ("http://127.0.0.1:1/keys", "connection refused"),
            ("http://localhost:1/keys", "connection refused"),
            (f"http://127.0.0.1:{port}/keys", "it does not speak HTTP, or closed the connection"),
            (f"https://127.0.0.1:{port}/keys", "the TLS handshake failed"),
            (
                f"https://localhost:{secure}/keys",
                UNTRUSTED,
            ),
        ):
            async with client.IssuerClient(f"{url}?apikey=s3cret") as asked:
                with pytest.raises(FetchFailed) as caught:
                    await asked.fetch_keys()
            assert str(caught.value) == f"no answer: {reason}", url


def test_a_reason_is_that_of_the_first_cause_and_has_nothing_of_the_address() -> None:
    for kind, error, words in (
        (httpx.ConnectError, socket.gaierror(-2, "https://id.example/?s3cret"), "its host can't be found"),
        (httpx.ConnectTimeout, TimeoutError("s3cret"), "timed out"),
        (httpx.ReadError, ConnectionResetError("s3cret"), "the connection was reset"),
        (httpx.ReadError, OSError("s3cret"), "it can't be reached"),
        (httpx.DecodingError, ValueError("s3cret"), "DecodingError"),
    ):
        failure = kind("s3cret")
        failure.__cause__ = error
        assert client.describe_failure(failure) == words
