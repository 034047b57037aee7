"""Bodies that their senders sign, as webhooks do."""

import asyncio
import base64
import hmac
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from app.routefile.load import load_route_file
from tests.harness import PATIENCE, Gateway, NatsServer, replying, responder, run_gateway

OLD, NEW = "an old secret of the bank", "a new secret of the bank"
ROUTES = """\
version: 1
routes:
  - name: hooks
    method: POST
    path: /hooks/{source}
    subject: hooks.{source}
    signature: {header: X-Hub-Signature-256, secret_file: secrets.txt}
    body_schema: {type: object}
  - {name: base, method: POST, path: "/base/{id}", subject: "hooks.{id}",
     signature: {header: X-Signed, secret_file: secrets.txt, encoding: base64}}
"""
EVENT = b'{"type": "paid"}'


def sign(body: bytes = EVENT, secret: str = NEW) -> bytes:
    return hmac.digest(secret.encode(), body, "sha256")


@pytest.fixture
async def gateway(shared_nats: NatsServer, tmp_path: Path) -> AsyncIterator[Gateway]:
    (tmp_path / "secrets.txt").write_text(f"{OLD}\n{NEW}\n")
    (tmp_path / "routes.yaml").write_text(ROUTES)
    routes = load_route_file(tmp_path / "routes.yaml")
    async with (
        responder(shared_nats.url, "hooks.*", replying(b"taken")),
        run_gateway(shared_nats.url, routes=routes) as gateway,
    ):
        yield gateway


async def send(gateway: Gateway, *values: str, body: bytes = EVENT) -> httpx.Response:
    headers = [(b"X-Hub-Signature-256", value.encode()) for value in values]
    return await gateway.client.post(
        "/hooks/shop", content=body, headers=[(b"content-type", b"application/json"), *headers]
    )


@pytest.mark.parametrize("secret", [OLD, NEW])
@pytest.mark.parametrize("write", ["sha256={}", "{}"])
async def test_a_body_with_its_signature_passes(write: str, secret: str, gateway: Gateway) -> None:
    response = await send(gateway, write.format(sign(secret=secret).hex()))
    assert (response.status_code, response.content) == (200, b"taken")


async def test_the_signature_may_be_in_base64(gateway: Gateway) -> None:
    signed = base64.b64encode(sign(b"x")).decode()
    assert (await gateway.client.post("/base/1", content=b"x", headers={"x-signed": signed})).status_code == 200
    for wrong in (sign(b"x").hex(), signed[:-1], signed + "=", signed + "!"):
        assert (await gateway.client.post("/base/1", content=b"x", headers={"x-signed": wrong})).status_code == 401


@pytest.mark.parametrize(
    "values",
    [(), ("",), ("sha256=",), ("sha256=00",), ("0" * 64,), ("sha256=" + "g" * 64,), ("sha1=" + "0" * 64,),
     ("sha256=sha256=" + sign().hex(),), (sign(EVENT, "another secret, of nobody").hex(),), (sign(b"{}").hex(),),
     (sign().hex(),) * 2, (sign().hex()[:-2],), ("é" * 64,)],
)  # fmt: skip
async def test_any_other_body_gets_401(values: tuple[str, ...], gateway: Gateway) -> None:
    response = await send(gateway, *values)
    assert (response.status_code, response.json()["type"]) == (401, "/problems/unauthenticated")
    assert response.json()["delivered"] == "no"
    assert response.headers["www-authenticate"] == 'HMAC-SHA256 header="X-Hub-Signature-256"'


async def test_a_body_is_checked_by_its_schema_only_if_its_signature_is_valid(gateway: Gateway) -> None:
    body = b"[]"
    assert (await send(gateway, sign().hex(), body=body)).status_code == 401
    assert (await send(gateway, sign(body).hex(), body=body)).status_code == 422


async def test_without_a_signature_the_body_is_not_read(gateway: Gateway) -> None:
    head = b"POST /hooks/shop HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(head)
    assert (await asyncio.wait_for(reader.readline(), PATIENCE)).startswith(b"HTTP/1.1 401 ")
    writer.close()


async def test_a_long_body_is_refused_before_it_is_signed(gateway: Gateway) -> None:
    body = b" " * (256 * 1024) + b"{}"
    assert (await send(gateway, sign(body).hex(), body=body)).status_code == 413
    whole = b" " * (256 * 1024 - 2) + b"{}"
    assert (await send(gateway, sign(whole).hex(), body=whole)).status_code == 200


async def test_the_documentation_names_the_header(gateway: Gateway) -> None:
    operation = (await gateway.get("/openapi.json")).json()["paths"]["/hooks/{source}"]["post"]
    (header,) = (found for found in operation["parameters"] if found["in"] == "header")
    assert (header["name"], header["required"]) == ("X-Hub-Signature-256", True)
    assert "401" in operation["responses"]
