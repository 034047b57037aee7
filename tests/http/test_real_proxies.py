"""A gateway behind nginx and HAProxy as they are, which are at 127.0.0.1; callers come from 127.0.0.3."""

import asyncio
import contextlib
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tests.harness
from app.main import build_gateway
from app.observe.record import Observers, Record
from app.routefile.load import load_route_file
from app.settings import Settings
from tests.certificates import Authority, write_field
from tests.harness import PATIENCE, NatsServer, RawPeer, eventually, reserve_port, run_gateway, serve

pytestmark = pytest.mark.soak

CALLER, EVIL = "127.0.0.3", "203.0.113.66"
LIES = f"X-Forwarded-For: {EVIL}\r\nForwarded: for={EVIL}\r\n"
LIES_OF_ONE = f"X-Forwarded-For: {EVIL}\r\n"

NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{gateway};
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            {more}
        }}
    }}
}}
"""
HAPROXY = """
defaults
    mode {mode}
    timeout connect 5s
    timeout client 5s
    timeout server 5s
listen gateway
    bind 127.0.0.1:{port}
    {more}
"""
FORWARDED = "option forwardfor\n    server one 127.0.0.1:{gateway}"
V1 = "server one 127.0.0.1:{gateway} send-proxy check check-send-proxy inter 100"
V2 = "server one 127.0.0.1:{gateway} send-proxy-v2 check check-send-proxy inter 100"
WITH_TLVS = "server one 127.0.0.1:{gateway} send-proxy-v2 proxy-v2-options crc32c,unique-id\n    unique-id-format %rt"


def find(program: str) -> str:
    if path := shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin"):
        return path
    pytest.fail(f"these tests need {program}", pytrace=False)


@contextlib.contextmanager
def run(folder: Path, *command: str) -> Iterator[None]:
    with (folder / "output").open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            process.terminate()


@contextlib.contextmanager
def run_nginx(folder: Path, port: int, gateway: int, more: str) -> Iterator[None]:
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, port=port, gateway=gateway, more=more))
    with run(folder, find("nginx"), "-p", str(folder), "-c", str(configuration), "-e", f"{folder}/log"):
        yield


@contextlib.contextmanager
def run_haproxy(folder: Path, port: int, gateway: int, more: str) -> Iterator[None]:
    configuration = folder / "haproxy.cfg"
    mode = "http" if more == FORWARDED else "tcp"
    configuration.write_text(HAPROXY.format(mode=mode, port=port, more=more.format(gateway=gateway)))
    with run(folder, find("haproxy"), "-db", "-f", str(configuration)):
        yield


async def ask(port: int, lies: str, tls: ssl.SSLContext | None = None, *, path: str = "/livez") -> bytes:
    """The answer, once the proxy listens."""
    request = f"GET {path} HTTP/1.1\r\nHost: t\r\n{lies}Connection: close\r\n\r\n".encode()
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(CALLER, 0), ssl=tls)
                writer.write(request)
                answer = await reader.read()
                writer.close()
                return answer
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("more", "peer"),
    [('proxy_set_header Forwarded "";', CALLER), ("", None)],
    ids=["that removes Forwarded", "that passes Forwarded on"],
)
async def test_behind_nginx_the_caller_is_who_calls_nginx(
    shared_nats: NatsServer, tmp_path: Path, more: str, peer: str | None
) -> None:
    records: list[Record] = []
    observers = Observers(failure=(records.append,), other=(records.append,))
    async with run_gateway(shared_nats.url, observers=observers, trusted_proxies=("127.0.0.1",)) as gateway:
        with reserve_port() as port, run_nginx(tmp_path, port, gateway.port, more):
            assert (await ask(port, LIES)).startswith(b"HTTP/1.1 200 ")
    assert {record.peer for record in records} == {peer}


@pytest.mark.parametrize("more", [FORWARDED, V1, V2, WITH_TLVS], ids=["forwardfor", "v1", "v2", "v2 with TLVs"])
async def test_behind_haproxy_the_caller_is_who_calls_haproxy(
    shared_nats: NatsServer, tmp_path: Path, more: str
) -> None:
    """Its checks, which come by themselves, are not refused either."""
    records: list[Record] = []
    observers = Observers(failure=(records.append,), other=(records.append,))
    settings: dict[str, Any] = {"trusted_proxies": ("127.0.0.1",), "proxy_protocol": more != FORWARDED}
    async with run_gateway(shared_nats.url, observers=observers, **settings) as gateway:
        with reserve_port() as port, run_haproxy(tmp_path, port, gateway.port, more):
            for _ in range(5):
                assert (await ask(port, LIES_OF_ONE)).startswith(b"HTTP/1.1 200 "), (tmp_path / "output").read_text()
            await eventually(lambda: len(records) >= 5)
    assert {(record.status, record.peer) for record in records} == {(200, CALLER)}
    assert "DOWN" not in (tmp_path / "output").read_text()


@pytest.mark.parametrize("more", [V1, V2, WITH_TLVS], ids=["v1", "v2", "v2 with TLVs"])
async def test_haproxy_passes_tls_on_behind_its_header(shared_nats: NatsServer, tmp_path: Path, more: str) -> None:
    """Its checks, which end behind the header, are not refused either."""
    authority, records = Authority(tmp_path / "tls"), list[Record]()
    settings = {"nats_url": (shared_nats.url,), "trusted_proxies": ("127.0.0.1",), "proxy_protocol": True}
    observers = Observers(failure=(records.append,), other=(records.append,))
    parts = build_gateway(Settings.model_validate(settings | authority.write()), observers=observers)
    async with serve(parts, lane=tests.harness.LANE, tls=authority.trust()) as gateway:
        with reserve_port() as port, run_haproxy(tmp_path, port, gateway.port, more):
            for _ in range(5):
                answer = await ask(port, LIES_OF_ONE, authority.trust())
                assert answer.startswith(b"HTTP/1.1 200 "), (tmp_path / "output").read_text()
            await eventually(lambda: len(records) >= 5)
    assert {(record.status, record.peer) for record in records} == {(200, CALLER)}
    assert "DOWN" not in (tmp_path / "output").read_text()


MUTUAL = """
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend https
    bind 127.0.0.1:{port} ssl crt {folder}/both.pem ca-file {folder}/client-ca.pem verify optional
    http-request del-header Client-Cert
    http-request set-header Client-Cert :%[ssl_c_der,base64]: if {{ ssl_c_used }}
    default_backend gateway
backend gateway
    server one 127.0.0.1:{gateway}
"""


async def test_behind_haproxy_that_ends_tls_a_caller_is_known_by_its_certificate_and_by_no_other(
    shared_nats: NatsServer, tmp_path: Path
) -> None:
    """As docs/authentication.md has it. Others may know the certificate of a caller, but not have its key."""
    authority = Authority(tmp_path)
    files = authority.write() | authority.write_client_ca()
    (tmp_path / "both.pem").write_bytes(files["tls_cert"].read_bytes() + files["tls_key"].read_bytes())
    leaf = authority.ca.issue_cert("sue@example.org", common_name="billing")
    forged = f"Client-Cert: {write_field(ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())).decode()}"
    (tmp_path / "routes.yaml").write_text(
        "version: 1\nauth: {machines: {type: client-certificate, allow: [billing]}}\ndefaults: {auth: machines}\n"
        "routes: [{name: a, method: GET, path: /machines, subject: rp.a, identity: {X-Machine: sub}}]\n"
    )
    file = load_route_file(tmp_path / "routes.yaml")
    async with (
        RawPeer.connect(shared_nats.url, "rp.a") as peer,
        run_gateway(shared_nats.url, routes=file, trusted_proxies=("127.0.0.1",)) as gateway,
    ):
        configuration = tmp_path / "haproxy.cfg"
        with reserve_port() as port:
            configuration.write_text(MUTUAL.format(port=port, folder=tmp_path, gateway=gateway.port))
            with run(tmp_path, find("haproxy"), "-db", "-f", str(configuration)):
                path = "/machines"
                for lies in ("", f"{forged}\r\n"):
                    answer = await ask(port, lies, authority.trust(), path=path)
                    assert answer.startswith(b"HTTP/1.1 401 "), (tmp_path / "output").read_text()
                asking = asyncio.create_task(ask(port, "Client-Cert: x\r\n", authority.trust(leaf), path=path))
                message = await peer.next()
                assert b"\r\nX-Machine: billing\r\n" in message.headers
                peer.publish(message.reply, b"NATS/1.0\r\n\r\n")
                assert (await asking).startswith(b"HTTP/1.1 200 ")
