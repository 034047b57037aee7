"""Client certificates over both lanes: of the TLS connection of a caller, and in `Client-Cert` of a trusted proxy. That
is 127.0.0.1; 127.0.0.2 is a stranger."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trustme
from openapi_spec_validator import OpenAPIV31SpecValidator

import tests.harness
from app.main import build_gateway
from app.routefile.load import RouteFile, load_route_file
from app.settings import Settings
from tests.certificates import BEFORE, Authority, Issuer, write_field
from tests.harness import PATIENCE, Gateway, NatsServer, RawPeer, replying, responder, run_gateway, serve

PROXY, STRANGER = "127.0.0.1", "127.0.0.2"
ROUTES = """\
version: 1
auth:
  machines: {type: client-certificate, scopes: [orders:read]}
  services: {type: client-certificate, identity: san.email, allow: [sue@example.org], ca: ca.pem}
cors: {allow_origins: 'https://a.example'}
defaults: {auth: machines, identity: {X-Machine: sub, X-Serial: claims.serial}}
routes:
  - {name: read, method: GET, path: /read, subject: c.read, auth: {any: [machines], scopes: [orders:read]}}
  - {name: write, method: POST, path: /write, subject: c.write, auth: {any: [machines], scopes: [orders:write]}}
  - {name: own, method: GET, path: /own, subject: c.own, auth: {any: [machines], claims: {subject.O: Acme}}}
  - {name: strict, method: GET, path: /strict, subject: c.strict, auth: services}
  - {name: free, method: GET, path: /free, subject: c.free, auth: none}
"""
ISSUER = Issuer()
FIELD = write_field(ISSUER.issue("billing")).decode()
CHALLENGE = 'ClientCertificate realm="machines"'


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def file(tmp_path: Path, authority: Authority) -> RouteFile:
    (tmp_path / "ca.pem").write_bytes(authority.ca.cert_pem.bytes())
    (tmp_path / "routes.yaml").write_text(ROUTES)
    return load_route_file(tmp_path / "routes.yaml")


@contextlib.asynccontextmanager
async def run_tls(nats: NatsServer, authority: Authority, file: RouteFile, **more: object) -> AsyncIterator[Gateway]:
    values = {"nats_url": (nats.url,), **authority.write(), **authority.write_client_ca(), **more}
    parts = build_gateway(Settings.model_validate(values), routes=file)
    async with serve(parts, lane=tests.harness.LANE, tls=authority.trust()) as gateway:
        await gateway.wait_until_ready()
        yield gateway


def show(gateway: Gateway, context: ssl.SSLContext) -> httpx.AsyncClient:
    """A caller with a certificate."""
    return httpx.AsyncClient(base_url=gateway.url, timeout=PATIENCE, trust_env=False, verify=context)


def issue(authority: Authority, name: str = "billing") -> trustme.LeafCert:
    return authority.ca.issue_cert("sue@example.org", common_name=name, organization_name="Acme")


async def get(gateway: Gateway, path: str, *values: str, source: str = PROXY, method: str = "GET") -> bytes:
    """The answer to a request from this address with these values of `Client-Cert`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, local_addr=(source, 0))
    fields = "".join(f"Client-Cert: {value}\r\nClient-Cert-Chain: {value}\r\n" for value in values)
    request = f"{method} {path} HTTP/1.1\r\nHost: t\r\n{fields}Content-Length: 0\r\nConnection: close\r\n\r\n"
    writer.write(request.encode("latin-1"))
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE)
    finally:
        writer.close()


def find_status(answer: bytes) -> int:
    return int(answer[9:12])


async def test_a_caller_is_known_by_the_certificate_of_its_connection(
    shared_nats: NatsServer, authority: Authority, file: RouteFile
) -> None:
    async with (
        responder(shared_nats.url, "c.*", replying(b"hi")),
        run_tls(shared_nats, authority, file) as gateway,
        show(gateway, authority.trust(issue(authority))) as client,
    ):
        for method, path, status in (
            ("GET", "/read", 200),
            ("GET", "/own", 200),
            ("GET", "/strict", 200),
            ("POST", "/write", 403),
        ):
            assert (await client.request(method, path)).status_code == status, path
        for fields in ({}, {"client-cert": FIELD}):
            response = await gateway.client.get("/read", headers=fields)
            assert (response.status_code, response.headers["www-authenticate"]) == (401, CHALLENGE)
        assert (await gateway.get("/free")).status_code == 200


async def test_the_service_learns_the_name_in_the_certificate_and_nothing_that_the_caller_wrote(
    shared_nats: NatsServer, authority: Authority, file: RouteFile
) -> None:
    async with (
        RawPeer.connect(shared_nats.url, "c.read") as peer,
        run_tls(shared_nats, authority, file) as gateway,
        show(gateway, authority.trust(issue(authority, "shipping"))) as client,
    ):
        lies = {"client-cert": FIELD, "client-cert-chain": FIELD, "x-machine": "billing"}
        asking = asyncio.create_task(client.get("/read", headers=lies))
        message = await peer.next()
        assert b"\r\nX-Machine: shipping\r\n" in message.headers
        assert b"billing" not in message.headers
        assert b"client-cert" not in message.headers.lower()
        peer.publish(message.reply, b"NATS/1.0\r\n\r\n")
        assert (await asking).status_code == 200


async def test_behind_a_trusted_proxy_the_header_says_who_calls(shared_nats: NatsServer, file: RouteFile) -> None:
    async with (
        RawPeer.connect(shared_nats.url, "c.read") as peer,
        run_gateway(shared_nats.url, routes=file, trusted_proxies=(PROXY,)) as gateway,
    ):
        asking = asyncio.create_task(get(gateway, "/read", FIELD))
        message = await peer.next()
        assert b"\r\nX-Machine: billing\r\nX-Serial: A1B\r\n" in message.headers
        assert b"client-cert" not in message.headers.lower()
        assert FIELD.encode() not in message.headers
        peer.publish(message.reply, b"NATS/1.0\r\n\r\n")
        assert find_status(await asking) == 200
        assert find_status(await get(gateway, "/write", FIELD, method="POST")) == 403
        assert find_status(await get(gateway, "/strict", FIELD)) == 401  # of another authority


HOSTILE = {
    "no certificate": (),
    "an empty one": ("::",),
    "no byte sequence": ("billing",),
    "broken base64": (":%%%:",),
    "garbage": (write_field(b"\x30\x82" + b"\xff" * 90).decode(),),
    "two": (FIELD, FIELD),
    "one too long": (f":{'A' * 20_000}:",),
    "one that has expired": (write_field(ISSUER.issue("billing", end=BEFORE)).decode(),),
    "one with two names": (write_field(ISSUER.issue("billing", "admin")).decode(),),
    "one with a line break": (write_field(ISSUER.issue("billing\r\nX-Machine: root")).decode(),),
}


async def test_what_is_no_right_certificate_gets_401_and_what_a_stranger_writes_is_not_read(
    shared_nats: NatsServer, file: RouteFile
) -> None:
    async with run_gateway(shared_nats.url, routes=file, trusted_proxies=(PROXY,)) as gateway:
        for name, values in HOSTILE.items():
            answer = await get(gateway, "/read", *values)
            assert find_status(answer) == 401, name
            assert f"www-authenticate: {CHALLENGE}\r\n".encode() in answer
        none = await get(gateway, "/read", source=STRANGER)
        for values in ((FIELD,), *HOSTILE.values()):
            answer = await get(gateway, "/read", *values, source=STRANGER)
            assert find_status(answer) == 401
            assert answer.partition(b'"detail":')[2][:60] == none.partition(b'"detail":')[2][:60]
    async with run_gateway(shared_nats.url, routes=file) as gateway:
        assert find_status(await get(gateway, "/read", FIELD)) == 401


async def test_nobody_is_known_by_the_certificate_of_a_proxy(
    shared_nats: NatsServer, authority: Authority, file: RouteFile
) -> None:
    async with (
        responder(shared_nats.url, "c.*", replying(b"hi")),
        run_tls(shared_nats, authority, file, trusted_proxies=(PROXY,)) as gateway,
        show(gateway, authority.trust(issue(authority, "proxy"))) as client,
    ):
        for fields in ({}, {"x-forwarded-for": "192.0.2.7"}, {"client-cert": "::"}):
            assert (await client.get("/read", headers=fields)).status_code == 401
        assert (await client.get("/read", headers={"client-cert": FIELD})).status_code == 200


async def test_the_document_says_that_an_operation_takes_certificates(shared_nats: NatsServer, file: RouteFile) -> None:
    async with run_gateway(shared_nats.url, routes=file) as gateway:
        document = (await gateway.get("/openapi.json")).json()
    OpenAPIV31SpecValidator(document).validate()
    assert document["components"]["securitySchemes"] == {
        "machines": {"type": "mutualTLS"},
        "services": {"type": "mutualTLS"},
    }
    assert document["paths"]["/read"]["get"]["security"] == [{"machines": ["orders:read"]}]


async def test_no_page_is_asked_to_send_the_header_of_proxies(shared_nats: NatsServer, file: RouteFile) -> None:
    asked = {"origin": "https://a.example", "access-control-request-method": "GET"}
    async with run_gateway(shared_nats.url, routes=file) as gateway:
        answer = await gateway.client.options("/read", headers=asked)
    assert "x-request-id" in answer.headers["access-control-allow-headers"]
    assert "client-cert" not in answer.headers["access-control-allow-headers"]
