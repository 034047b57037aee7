"""The files of docs/behind-a-proxy.md, before a gateway, in the programs that they are for."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.routefile.load import load_route_file
from tests.certificates import Authority
from tests.harness import PATIENCE, NatsServer, RawPeer, eventually, reserve_port, run_gateway
from tests.process.test_authentication_page import DOCS, find_blocks

pytestmark = pytest.mark.soak

PAGE = (DOCS / "behind-a-proxy.md").read_text(encoding="utf-8")
HOST, CALLER, EVIL = "api.example.com", "127.0.0.3", "203.0.113.66"
LIES = {
    "X-Forwarded-For": EVIL,
    "X-Forwarded-Host": "evil",
    "X-Forwarded-Proto": "ftp",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": f"for={EVIL}",
    "Client-Cert": ":AAAA:",
}
ROUTES = """
version: 1
defaults: {headers: [X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Prefix]}
routes: [{name: order, method: GET, path: "/orders/{id}", subject: "pp.{id}"}]
"""
MACHINES = """
version: 1
auth: {machines: {type: client-certificate, allow: [billing]}}
defaults: {auth: machines}
routes: [{name: machine, method: GET, path: /machine, subject: pp.machine, identity: {X-Machine: sub}}]
"""
NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {file}
}}
"""
CADDY = "{{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n}}\n{file}"


@dataclass(frozen=True)
class Stage:
    """Where a proxy runs: its folder, which has the files of an authority, its port, and the port of the gateway."""

    folder: Path
    port: int
    gateway: int

    def fill(self, text: str) -> str:
        """A file of the page, with the addresses and the folders of this stage."""
        text = re.sub(r"(listen |address: \"|bind )(127.0.0.1)?:?443", rf"\g<1>127.0.0.1:{self.port}", text)
        text = text.replace("127.0.0.1:8000", f"127.0.0.1:{self.gateway}")
        return re.sub(r"/etc/(tls|traefik)|/var/log/nginx", str(self.folder), text)


def find(program: str) -> str:
    path = f"{sys.prefix}/proxies/bin:{os.environ['PATH']}:/usr/sbin"
    if found := shutil.which(program, path=path):
        return found
    pytest.fail(f"these tests need {program}: `make sweep` installs it", pytrace=False)


def find_block(language: str, word: str) -> str:
    (block,) = [block for block in find_blocks(PAGE, language) if word in block]
    return block


def write_nginx(stage: Stage, change: Callable[[str], str]) -> list[str]:
    file = stage.folder / "nginx.conf"
    file.write_text(NGINX.format(folder=stage.folder, file=stage.fill(change(find_block("nginx", "upstream gateway")))))
    return [find("nginx"), "-p", str(stage.folder), "-c", str(file), "-e", "stderr"]


def run_caddyfile(stage: Stage, block: str) -> list[str]:
    file = stage.folder / "Caddyfile"
    if "\ttls {" in block:
        own = block.replace("\ttls {", "\ttls /etc/tls/fullchain.pem /etc/tls/privkey.pem {", 1)
    else:
        own = block.replace(" {", " {\n\ttls /etc/tls/fullchain.pem /etc/tls/privkey.pem", 1)
    own = re.sub(r"^(\S+\.com) ", rf"https://\1:{stage.port} ", own)
    file.write_text(CADDY.format(file=stage.fill(own)))
    return [find("caddy"), "run", "--config", str(file), "--adapter", "caddyfile"]


def write_caddy(stage: Stage, change: Callable[[str], str]) -> list[str]:
    return run_caddyfile(stage, change(find_block("caddyfile", "keepalive off")))


def write_traefik(stage: Stage, change: Callable[[str], str]) -> list[str]:
    (stage.folder / "traefik.yml").write_text(stage.fill(find_block("yaml", "entryPoints")))
    (stage.folder / "gateway.yml").write_text(stage.fill(change(find_block("yaml", "serversTransports"))))
    return [find("traefik"), f"--configFile={stage.folder}/traefik.yml"]


def write_haproxy(stage: Stage, change: Callable[[str], str]) -> list[str]:
    file = stage.folder / "haproxy.cfg"
    file.write_text(stage.fill(change(find_block("haproxy", "frontend https"))))
    return [find("haproxy"), "-db", "-f", str(file)]


WRITERS = {"nginx": write_nginx, "caddy": write_caddy, "traefik": write_traefik, "haproxy": write_haproxy}
NOT_YET = (7, 35, 60)
"""What curl exits with before a proxy listens, has a certificate, or has the right one."""
NO_ROUTER = "404 page not found"
"""What Traefik answers before it has read its file."""
HAS_LOG = ("nginx", "caddy", "traefik")
UNDER_A_PATH: dict[str, Callable[[str], str]] = {
    "nginx": lambda text: text.replace("location / {", "location /api/ {").replace("//gateway;", "//gateway/;"),
    "caddy": lambda text: text.replace("reverse_proxy", "handle_path /api/* {\nreverse_proxy").replace(
        "\n\t}\n}", "\n\t}\n}\n}"
    ),
    "traefik": lambda text: (
        text.replace("`)\n", "`) && PathPrefix(`/api`)\n")
        .replace("[untrusted]", "[untrusted, path]")
        .replace("    untrusted:", "    path: {stripPrefix: {prefixes: [/api]}}\n    untrusted:")
    ),
}


def find_version(proxy: str) -> str:
    """What it speaks with a caller that offers HTTP/2."""
    return "HTTP/1.1" if proxy == "haproxy" else "HTTP/2"


@contextlib.contextmanager
def run(stage: Stage, command: list[str]) -> Iterator[None]:
    environment = {**os.environ, "HOME": str(stage.folder)}
    with (stage.folder / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            yield
        finally:
            process.terminate()
            process.wait()


async def curl(stage: Stage, path: str, *more: str, **headers: str) -> str:
    """The answer, with its head, once the proxy serves; nothing if there is none."""
    fields = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    command = ["curl", "-si", "--interface", CALLER, "--cacert", str(stage.folder / "ca.pem"), "--noproxy", "*", *more]
    command += [*fields, "--resolve", f"{HOST}:{stage.port}:127.0.0.1", f"https://{HOST}:{stage.port}{path}"]
    async with asyncio.timeout(PATIENCE):
        while True:
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=PATIENCE)
            if done.returncode not in NOT_YET and NO_ROUTER not in done.stdout:
                return done.stdout
            await asyncio.sleep(0.05)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path)
    leaf = authority.ca.issue_cert(HOST)
    chain = b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
    (tmp_path / "fullchain.pem").write_bytes(chain)
    (tmp_path / "privkey.pem").write_bytes(leaf.private_key_pem.bytes())
    (tmp_path / "both.pem").write_bytes(chain + leaf.private_key_pem.bytes())
    for name in ("ca.pem", "clients.pem"):
        (tmp_path / name).write_bytes(authority.ca.cert_pem.bytes())
    return authority


def find_fields(block: bytes) -> dict[str, str]:
    lines = block.decode().split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


@pytest.mark.parametrize("proxy", WRITERS)
async def test_the_service_learns_who_calls_and_the_proxy_logs_the_request_id(
    shared_nats: NatsServer, tmp_path: Path, authority: Authority, proxy: str
) -> None:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    routes = load_route_file(tmp_path / "routes.yaml")
    async with (
        RawPeer.connect(shared_nats.url, "pp.*") as peer,
        run_gateway(shared_nats.url, routes=routes, trusted_proxies=("127.0.0.1",)) as gateway,
    ):
        with reserve_port() as port:
            stage = Stage(tmp_path, port, gateway.port)
            with run(stage, WRITERS[proxy](stage, str)):
                asking = asyncio.create_task(curl(stage, "/orders/7", "--http2", **LIES))
                message = await peer.next()
                peer.publish(message.reply, b"NATS/1.0\r\n\r\n", b"tea")
                answer = await asking
                fields = find_fields(message.headers)
                assert answer.startswith(f"{find_version(proxy)} 200"), answer
                assert fields["x-forwarded-for"] == CALLER
                assert fields["x-forwarded-proto"] == "https"
                assert fields["x-forwarded-host"].partition(":")[0] == HOST
                assert "x-forwarded-prefix" not in fields
                log = tmp_path / ("gateway.log" if proxy == "nginx" else "output")
                (request_id,) = re.findall(r"^x-request-id: (\S+)$", answer, re.MULTILINE)
                await eventually(lambda: proxy not in HAS_LOG or request_id in log.read_text())


@pytest.mark.parametrize("proxy", WRITERS)
async def test_a_body_that_is_too_large_gets_the_problem_document_of_the_gateway(
    shared_nats: NatsServer, tmp_path: Path, authority: Authority, proxy: str
) -> None:
    (tmp_path / "routes.yaml").write_text(ROUTES.replace("GET", "POST"))
    (tmp_path / "upload").write_bytes(bytes(1024 * 1024 + 1))
    routes = load_route_file(tmp_path / "routes.yaml")
    async with run_gateway(shared_nats.url, routes=routes, trusted_proxies=("127.0.0.1",)) as gateway:
        with reserve_port() as port:
            stage = Stage(tmp_path, port, gateway.port)
            with run(stage, WRITERS[proxy](stage, str)):
                answer = await curl(stage, "/orders/7", "--data-binary", f"@{tmp_path}/upload")
    assert '"status":413' in answer
    assert '"delivered":"no"' in answer


@pytest.mark.parametrize("proxy", UNDER_A_PATH)
async def test_under_a_path_the_problems_of_the_gateway_begin_with_it(
    shared_nats: NatsServer, tmp_path: Path, authority: Authority, proxy: str
) -> None:
    root_path = None if proxy == "traefik" else "/api"
    async with run_gateway(shared_nats.url, root_path=root_path, trusted_proxies=("127.0.0.1",)) as gateway:
        with reserve_port() as port:
            stage = Stage(tmp_path, port, gateway.port)
            with run(stage, WRITERS[proxy](stage, UNDER_A_PATH[proxy])):
                answer = await curl(stage, "/api/nothing")
    problem = json.loads(answer.partition("\n\n")[2])
    assert (problem["type"], problem["instance"]) == ("/api/problems/not-found", "/api/nothing")


async def test_caddy_shows_the_certificate_of_its_caller_and_no_other(
    shared_nats: NatsServer, tmp_path: Path, authority: Authority
) -> None:
    leaf = authority.ca.issue_cert("billing@example.org", common_name="billing")
    (tmp_path / "billing.pem").write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
    (tmp_path / "routes.yaml").write_text(MACHINES)
    routes = load_route_file(tmp_path / "routes.yaml")
    async with (
        RawPeer.connect(shared_nats.url, "pp.machine") as peer,
        run_gateway(shared_nats.url, routes=routes, trusted_proxies=("127.0.0.1",)) as gateway,
    ):
        with reserve_port() as port:
            stage = Stage(tmp_path, port, gateway.port)
            with run(stage, run_caddyfile(stage, find_block("caddyfile", "client_auth"))):
                assert (await curl(stage, "/machine", **LIES)).startswith("HTTP/2 401")
                more = ("--cert", str(tmp_path / "billing.pem"))
                asking = asyncio.create_task(curl(stage, "/machine", *more, **LIES))
                message = await peer.next()
                assert find_fields(message.headers)["x-machine"] == "billing"
                peer.publish(message.reply, b"NATS/1.0\r\n\r\n")
                assert (await asking).startswith("HTTP/2 200")


@contextlib.asynccontextmanager
async def run_dying_gateway(received: list[str]) -> AsyncIterator[int]:
    """The port of a gateway that takes requests for /dies, notes their methods, and ends without an answer."""

    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b" /dies " in head:
                    received.append(head.split()[0].decode())
                    break
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


@pytest.mark.parametrize("proxy", WRITERS)
async def test_a_proxy_sends_no_request_twice_that_a_gateway_has_received(
    tmp_path: Path, authority: Authority, proxy: str
) -> None:
    methods, version = ["GET", "OPTIONS", "DELETE", "PUT"], find_version(proxy)
    received: list[str] = []
    async with run_dying_gateway(received) as gateway:
        with reserve_port() as port:
            stage = Stage(tmp_path, port, gateway)
            with run(stage, WRITERS[proxy](stage, str)):
                for method in methods:
                    assert (await curl(stage, "/lives")).startswith(f"{version} 200")
                    assert (await curl(stage, "/dies", "-X", method)).startswith(f"{version} 502")
    assert received == methods
