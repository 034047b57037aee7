"""What the gateway shows to servers, and asks of theirs: each kind against a real server that is configured for it."""

import asyncio
import datetime
import ssl
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trustme
from nats.aio.msg import Msg
from structlog.testing import capture_logs

from app.errors import NoResponders
from app.formats.messages import Reply
from app.nats.credentials import Credentials, Login
from app.nats.link import HEARTBEAT_INTERVAL, Link
from tests.credentials import Certificate, Key, Operator, make_tls_config, write_certificate
from tests.harness import NatsServer, connect, eventually, run_nats, run_nats_cluster, run_slow_proxy

SECRET = "s3cret"  # noqa: S105 - for tests


def address(server: NatsServer, scheme: str = "nats", host: str = "127.0.0.1") -> str:
    return f"{scheme}://{host}:{server.url.rpartition(':')[2]}"


async def ready(link: Link) -> None:
    await eventually(lambda: link.reason is None)
    assert isinstance(await link.request("nobody", b"", b"", time.monotonic() + 5), NoResponders)


async def in_trouble(link: Link, words: str) -> None:
    await eventually(lambda: words in str(link.reason))


# Who we are


async def test_user_and_password(tmp_path: Path) -> None:
    with run_nats(tmp_path, f"authorization {{user: u, password: {SECRET}}}") as server:
        async with Link([server.url], max_in_flight=1, credentials=Credentials(user="u", password=SECRET)) as link:
            await ready(link)


async def test_a_user_whose_server_wants_no_password(tmp_path: Path) -> None:
    with run_nats(tmp_path, "authorization {users: [{user: u}]}") as server:
        async with Link([server.url], max_in_flight=1, credentials=Credentials(user="u")) as link:
            await ready(link)


async def test_a_token(tmp_path: Path) -> None:
    with run_nats(tmp_path, f"authorization {{token: {SECRET}}}") as server:
        async with Link([server.url], max_in_flight=1, credentials=Credentials(token=SECRET)) as link:
            await ready(link)


async def test_an_nkey(tmp_path: Path) -> None:
    key, file = Key(), tmp_path / "user.nk"
    file.write_text(f"{key.seed}\n")
    with run_nats(tmp_path, f"authorization {{users: [{{nkey: {key.public}}}]}}") as server:
        async with Link([server.url], max_in_flight=1, credentials=Credentials(nkey_seed=file)) as link:
            await ready(link)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
async def test_a_creds_file(tmp_path: Path, line_end: str) -> None:
    operator, file = Operator(), tmp_path / "user.creds"
    file.write_bytes(operator.make_creds().replace("\n", line_end).encode())
    with run_nats(tmp_path, operator.make_config()) as server:
        async with Link([server.url], max_in_flight=1, credentials=Credentials(creds=file)) as link:
            await ready(link)


async def test_each_of_several_servers_is_shown_the_same(tmp_path: Path) -> None:
    config = f"authorization {{user: u, password: {SECRET}}}"
    with run_nats(tmp_path / "1", config) as one, run_nats(tmp_path / "2", config) as two:
        credentials = Credentials(user="u", password=SECRET)
        async with Link([one.url, two.url], max_in_flight=1, credentials=credentials) as link:
            for _ in range(2):
                await ready(link)
                connection = link._connection
                first = one if link.server == one.url.removeprefix("nats://") else two
                first.kill()
                await eventually(partial(lambda old: link._connection is not old, connection))
                await ready(link)
                first.start()


# What goes wrong is told, and told without secrets; when it is mended, nothing needs to be started again


def make_creds_file(directory: Path, text: str) -> Credentials:
    file = directory / "user.creds"
    file.write_text(text)
    return Credentials(creds=file)


async def test_a_wrong_password_is_told_without_it_and_heals(tmp_path: Path) -> None:
    credentials = Credentials(user="someone", password=SECRET)
    with capture_logs() as logs, run_nats(tmp_path, "authorization {user: someone, password: other}") as server:
        async with Link([server.url], max_in_flight=1, credentials=credentials) as link:
            await in_trouble(link, "authorization violation")
            assert SECRET not in f"{link.reason} {link!r} {credentials!r} {logs}"
            assert [entry["event"] for entry in logs] == ["connect-failed"]
            server.reload(f"authorization {{user: someone, password: {SECRET}}}")
            await ready(link)
    assert SECRET not in str(logs)


async def test_expired_creds_are_told_and_new_ones_are_taken(tmp_path: Path) -> None:
    operator = Operator()
    text = operator.make_creds(int(time.time()) - 10)
    credentials = make_creds_file(tmp_path, text)
    with capture_logs() as logs, run_nats(tmp_path, operator.make_config()) as server:
        async with Link([server.url], max_in_flight=1, credentials=credentials) as link:
            await in_trouble(link, "NATS_CREDS: the user's JWT has expired")
            assert_no_part_of(text, f"{link.reason} {credentials!r} {logs}")
            make_creds_file(tmp_path, operator.make_creds())
            await ready(link)


async def test_creds_that_expire_while_connected_end_the_connection_with_that_reason(tmp_path: Path) -> None:
    operator = Operator()
    with capture_logs() as logs, run_nats(tmp_path, operator.make_config()) as server:
        credentials = make_creds_file(tmp_path, operator.make_creds(int(time.time()) + 3))
        async with Link([server.url], max_in_flight=1, credentials=credentials) as link:
            await ready(link)
            await in_trouble(link, "expired")
            # The server's clock may let it in once more, for the rest of that second.
            reasons = {entry["reason"] for entry in logs if entry["event"] == "disconnected"}
            assert reasons == {"the server said 'user authentication expired'"}
            make_creds_file(tmp_path, operator.make_creds())
            await ready(link)


async def test_creds_of_another_account_are_refused(tmp_path: Path) -> None:
    operator = Operator()
    credentials = make_creds_file(tmp_path, operator.make_creds(issuer=Operator().account))
    with run_nats(tmp_path, operator.make_config()) as server:
        async with Link([server.url], max_in_flight=1, credentials=credentials) as link:
            await in_trouble(link, "authorization violation")


def assert_no_part_of(text: str, shown: str) -> None:
    assert not [word for word in text.split() if len(word) > 20 and word.strip("-*") and word in shown]


@pytest.mark.parametrize(
    ("hurt", "words"),
    [
        (lambda file: file.unlink(), "NATS_CREDS: there is no such file"),
        (lambda file: (file.unlink(), file.mkdir()), "NATS_CREDS: must be the path of a file"),
        (lambda file: (file.unlink(), file.symlink_to(file)), "NATS_CREDS: the file can't be read"),
        (lambda file: file.write_text(""), "NATS_CREDS: must be a file with a NATS USER JWT"),
        (lambda file: file.write_bytes(b"\xff" * 100), "NATS_CREDS: must be a file with a NATS USER JWT"),
        (lambda file: file.write_text(file.read_text().replace("SEED", "")), "NATS_CREDS: must be a file with a NATS"),
        (
            lambda file: file.write_text(file.read_text().replace("\nSU", "\nSUS3CRET")),
            "NATS_CREDS: must be a file with",
        ),
    ],
    ids=["gone", "folder", "loop", "empty", "bytes", "no seed", "broken seed"],
)
async def test_a_file_that_goes_bad_is_told_without_what_is_in_it_and_heals(
    tmp_path: Path, hurt: Callable[[Path], object], words: str
) -> None:
    operator = Operator()
    text = operator.make_creds()
    credentials = make_creds_file(tmp_path, text)
    file = tmp_path / "user.creds"
    with capture_logs() as logs, run_nats(tmp_path, operator.make_config()) as server:
        async with Link([server.url], max_in_flight=1, credentials=credentials) as link:
            await ready(link)
            hurt(file)
            server.kill()
            server.start()
            await in_trouble(link, words)
            assert_no_part_of(f"{text} SUS3CRET", f"{link.reason} {logs}")
            if file.is_dir():
                file.rmdir()
            file.unlink(missing_ok=True)
            file.write_text(text)
            await ready(link)


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def other_authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def localhost(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Good for the name localhost, and for no IP address."""
    return write_certificate(tmp_path_factory.mktemp("localhost"), authority, authority.issue_cert("localhost"))


@pytest.fixture(scope="module")
def client(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return write_certificate(tmp_path_factory.mktemp("client"), authority, authority.issue_cert("client.test"))


@pytest.mark.parametrize("scheme", ["nats", "tls"])
async def test_tls_with_an_authority_of_one_s_own(tmp_path: Path, localhost: Certificate, scheme: str) -> None:
    with run_nats(tmp_path, make_tls_config(localhost)) as server:
        url = address(server, scheme, "localhost")
        async with Link([url], max_in_flight=1, credentials=Credentials(tls_ca=localhost.ca)) as link:
            await ready(link)


async def test_a_server_that_leaves_the_choice_is_spoken_to_in_tls_where_that_is_asked_for(
    tmp_path: Path, localhost: Certificate
) -> None:
    with run_nats(tmp_path, f"allow_non_tls: true\n{make_tls_config(localhost)}") as server:
        url = address(server, "nats", "localhost")
        async with Link([url], max_in_flight=1, credentials=Credentials(tls_ca=localhost.ca)) as link:
            await ready(link)
            connection = link._connection
            assert connection is not None
            assert connection._transport is not None
            assert connection._transport.get_extra_info("ssl_object") is not None


async def test_replies_of_all_sizes_come_over_tls(tmp_path: Path, localhost: Certificate) -> None:
    async def echo(msg: Msg) -> None:
        await msg.respond(msg.data)

    with run_nats(tmp_path, make_tls_config(localhost)) as server:
        url = address(server, "tls", "localhost")
        context = ssl.create_default_context(cafile=localhost.ca)
        async with (
            Link([url], max_in_flight=1000, credentials=Credentials(tls_ca=localhost.ca)) as link,
            connect(url, context) as peer,
        ):
            await peer.subscribe("echo", cb=echo)
            await peer.flush()
            await ready(link)
            connection = link._connection
            assert connection is not None
            parsed = connection._parser.parsed

            async def ask(payload: bytes) -> None:
                outcome = await link.request("echo", b"", payload, time.monotonic() + 20)
                assert isinstance(outcome, Reply)
                assert outcome.payload == payload

            for size in (0, 1, 100, 16_383, 16_384, 16_385, 65_536, 300_000, 900_000):
                await ask(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
            await asyncio.gather(*(ask(b"%d" % number * 1000) for number in range(100)))
            await asyncio.gather(*(ask(bytes([number]) * 200_000) for number in range(30)))
            assert link._connection is connection
            # Of 8 MB; all but what comes in one read with a PING of the server is taken off the wire before.
            assert connection._parser.parsed - parsed < 2_000_000


async def test_a_client_certificate(tmp_path: Path, localhost: Certificate, client: Certificate) -> None:
    with run_nats(tmp_path, make_tls_config(localhost, verify=True)) as server:
        url = address(server, "tls", "localhost")
        credentials = Credentials(tls_ca=localhost.ca, tls_cert=client.cert, tls_key=client.key)
        async with Link([url], max_in_flight=1, credentials=credentials) as link:
            await ready(link)


async def test_a_client_certificate_that_is_missing_or_refused_is_told(
    tmp_path: Path, localhost: Certificate, other_authority: trustme.CA
) -> None:
    stranger = write_certificate(tmp_path / "stranger", other_authority, other_authority.issue_cert("client.test"))
    with run_nats(tmp_path, make_tls_config(localhost, verify=True)) as server:
        url = address(server, "tls", "localhost")
        for certificate, key in ((None, None), (stranger.cert, stranger.key)):
            credentials = Credentials(tls_ca=localhost.ca, tls_cert=certificate, tls_key=key)
            async with Link([url], max_in_flight=1, credentials=credentials) as link:
                await in_trouble(link, "the server asks for a client certificate, or refuses ours")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_certificate_for_another_name_is_refused(tmp_path: Path, authority: trustme.CA, host: str) -> None:
    files = write_certificate(tmp_path / "other", authority, authority.issue_cert("other.test"))
    with run_nats(tmp_path, make_tls_config(files)) as server:
        url = address(server, "tls", host)
        async with Link([url], max_in_flight=1, credentials=Credentials(tls_ca=files.ca)) as link:
            words = "IP address" if host[0] == "1" else "name"
            await in_trouble(link, f"the server's certificate is for another {words}")


async def test_a_wrong_authority_is_told_and_the_right_one_is_taken(
    tmp_path: Path, authority: trustme.CA, other_authority: trustme.CA, localhost: Certificate
) -> None:
    file = tmp_path / "ca.pem"
    other_authority.cert_pem.write_to_path(file)
    with run_nats(tmp_path / "nats", make_tls_config(localhost)) as server:
        url = address(server, "tls", f"u:{SECRET}@localhost")
        async with Link([url], max_in_flight=1, credentials=Credentials(tls_ca=file)) as link:
            for text in ("-----BEGIN CERTIFICATE-----\n", ""):
                other_authority.cert_pem.write_to_path(file)
                await in_trouble(link, "the server's certificate is not trusted; see NATS_TLS_CA")
                assert SECRET not in str(link.reason)
                file.write_text(text)
                await in_trouble(link, "NATS_TLS_CA: must be a file with certificates in PEM form")
            authority.cert_pem.write_to_path(file)
            await ready(link)


async def test_without_an_authority_of_ones_own_those_of_the_system_count(
    tmp_path: Path, localhost: Certificate
) -> None:
    with run_nats(tmp_path, make_tls_config(localhost)) as server:
        async with Link([address(server, "nats", "localhost")], max_in_flight=1) as link:
            await in_trouble(link, "the server's certificate is not trusted; see NATS_TLS_CA")


@pytest.mark.parametrize(("days", "words"), [(-1, "has expired"), (1, "is not valid yet")])
async def test_a_certificate_out_of_its_time_is_refused_and_a_new_one_is_taken(
    tmp_path: Path, authority: trustme.CA, days: int, words: str
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    start, end = (now, now + datetime.timedelta(days=9)) if days > 0 else (now - datetime.timedelta(days=9), now)
    shift = datetime.timedelta(days=days)
    leaf = authority.issue_cert("localhost", not_before=start + shift, not_after=end + shift)
    files = write_certificate(tmp_path / "tls", authority, leaf)
    with run_nats(tmp_path / "nats", make_tls_config(files)) as server:
        url = address(server, "tls", "localhost")
        async with Link([url], max_in_flight=1, credentials=Credentials(tls_ca=files.ca)) as link:
            await in_trouble(link, f"the server's certificate {words}")
            write_certificate(tmp_path / "tls", authority, authority.issue_cert("localhost"))
            server.reload(make_tls_config(files) + "\n")
            await ready(link)


@pytest.mark.parametrize("part", ["tls_ca", "tls_cert"])
async def test_with_a_setting_of_tls_nothing_is_said_in_clear_text(
    own_nats: NatsServer, localhost: Certificate, client: Certificate, part: str
) -> None:
    if part == "tls_ca":
        credentials = Credentials(user="u", password=SECRET, tls_ca=localhost.ca)
    else:
        credentials = Credentials(user="u", password=SECRET, tls_cert=client.cert, tls_key=client.key)
    async with Link([own_nats.url], max_in_flight=1, credentials=credentials) as link:
        await in_trouble(link, "the server does not speak tls")


async def test_a_slow_connection_over_tls_that_still_takes_bytes_is_left_alone(
    tmp_path: Path, localhost: Certificate
) -> None:
    """7 MB through a proxy of 0.5 MB/s: more than the kernel takes, so that some waits between TLS and the kernel."""
    with run_nats(tmp_path, make_tls_config(localhost)) as server:
        async with run_slow_proxy(int(server.url.rpartition(":")[2])) as port:
            url = f"tls://localhost:{port}"
            async with Link([url], max_in_flight=10, credentials=Credentials(tls_ca=localhost.ca)) as link:
                await ready(link)
                connection = link._connection
                assert connection is not None
                deadline = time.monotonic() + 30
                sent = [asyncio.create_task(link.request("s", b"", b"x" * 1_000_000, deadline)) for _ in range(7)]
                await asyncio.sleep(0.2)
                assert connection.outgoing._count_buffered() > 1_000_000
                await asyncio.sleep(2 * HEARTBEAT_INTERVAL + 1)
                assert link._connection is connection
                for task in sent:
                    task.cancel()


async def test_a_cluster_whose_certificates_have_a_name_and_no_address(tmp_path: Path, localhost: Certificate) -> None:
    """Its servers tell of each other as IP addresses; those are checked against the name that was configured."""
    with run_nats_cluster(tmp_path, 2, make_tls_config(localhost)) as (one, two):
        url = address(one, "tls", "localhost")
        async with Link([url], max_in_flight=1, credentials=Credentials(tls_ca=localhost.ca)) as link:
            await ready(link)
            connection = link._connection
            assert connection is not None
            await eventually(lambda: connection.servers)
            one.kill()
            await eventually(lambda: link.server == f"127.0.0.1:{two.url.rpartition(':')[2]}")
            await ready(link)


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "a.bnVsbA.c", "a.eyJleHAiOiJ4In0.c", "a.eyJleHAiOjB9.c"])
def test_a_jwt_that_says_nothing_of_its_end_is_not_taken_for_expired(text: str) -> None:
    assert not Login(jwt=text).is_expired
