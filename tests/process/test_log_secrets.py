"""No secret of a caller is in the log of a real gateway, at the level that says most."""

import asyncio
import json
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from app.http.lane import LaneName
from tests.harness import PATIENCE, NatsServer, eventually, responder
from tests.issuer import answering, make_jwks, run_issuer
from tests.process.programs import PROGRAM, run

SECRET = "s3cret"  # noqa: S105 - what is looked for
ROUTES = """
version: 1
auth: {users: {type: jwt, issuer: i, audience: a, jwks_url: '%s?apikey=s3cret'}}
defaults: {auth: none}
routes:
  - name: read
    method: GET
    path: /read/{id}
    subject: s.read.{id}
    payload: params
    params: {q: {in: query}}
    headers: [authorization, cookie]
  - name: write
    method: POST
    path: /write
    subject: s.write
    timeout: 100ms
    body_schema: {type: object, properties: {a: {type: string}, b: {type: integer}}}
  - {name: nobody, method: POST, path: /nobody, subject: s.nobody}
"""
FIELDS = (
    f"Authorization: Bearer {SECRET}\r\nProxy-Authorization: Basic {SECRET}\r\nCookie: session={SECRET}\r\n"
    f"X-Api-Key: {SECRET}\r\nReferer: http://t/?{SECRET}\r\nUser-Agent: {SECRET}\r\nHost: t\r\nConnection: close\r\n"
)
TARGETS = ("/read/1", "/read/a.b", "/nowhere", "/livez", "/docs", "/problems/x", f"http://u:{SECRET}@t/read/2", "/\x7f")
BODIES = (f'{{"a": "{SECRET}"}}', f'{{"b": "{SECRET}"}}', f"no JSON {SECRET}")
STRANGE = (
    f"{SECRET}\r\n\r\n",
    f"GET /read/1 HTTP/9.9\r\nHost: {SECRET}\r\nHost: {SECRET}\r\n\r\n",
    f"GET /read/1?{SECRET} HTTP/1.1\r\nHost: t\r\nX: {SECRET}\x01\r\n\r\n",
    f"POST /write HTTP/1.1\r\n{FIELDS}Transfer-Encoding: chunked\r\n\r\n{SECRET}\r\n",
)


def list_requests() -> list[str]:
    reads = [
        f"{method} {target}?q={SECRET}&{SECRET}=1 HTTP/1.1\r\n{FIELDS}\r\n"
        for method in ("GET", "DELETE", "OPTIONS")
        for target in TARGETS
    ]
    writes = [
        f"POST {target}?{SECRET} HTTP/1.1\r\n{FIELDS}Content-Type: application/json\r\n{more}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
        for target in ("/write", "/nobody", "/read/1")
        for body in BODIES
        for more in (
            "",
            "Expect: 100-continue\r\n",
            f"Content-Encoding: {SECRET}\r\n",
            f"X-Request-Timeout: {SECRET}\r\n",
        )
    ]
    return [*reads, *writes, *STRANGE]


async def talk(port: int, request: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request.encode("latin-1"))
        return await asyncio.wait_for(reader.read(), PATIENCE)
    finally:
        writer.close()


async def answer(msg: Msg) -> None:
    if msg.subject == "s.read.1":
        await msg._client.publish(msg.reply, SECRET.encode(), headers={"Http-Status": SECRET, "X-Secret": SECRET})


@pytest.mark.parametrize("lane", ["fast", "asgi"])
async def test_no_line_has_a_credential_cookie_query_or_payload(
    tmp_path: Path, own_nats: NatsServer, port: int, lane: LaneName
) -> None:
    own_nats.reload(f"authorization {{user: gateway, password: {SECRET}}}")
    url = own_nats.url.replace("//", f"//gateway:{SECRET}@")
    settings = {"NATS_URL": url, "PORT": str(port), "GATEWAY_ACCESS_LOG": "on", "GATEWAY_LOG_LEVEL": "debug"}
    command = [*PROGRAM, "serve", "--lane", lane, str(tmp_path / "routes.yaml")]
    async with run_issuer() as issuer:
        moved = (b"location", f"{issuer.url}/there?apikey={SECRET}".encode())
        issuer.answer = answering(b"", status=302, headers=(moved,))
        (tmp_path / "routes.yaml").write_text(ROUTES % issuer.url)
        with run(command, tmp_path / "log", **settings) as gateway:
            await eventually(lambda: '"event":"keys-not-fetched"' in gateway.log)
            issuer.answer = answering(make_jwks())
            await eventually(lambda: '"event":"keys-fetched"' in gateway.log)
            gateway.find(r'"event":"(connected)"')
            async with responder(url, "s.*.1", answer), responder(url, "s.write", answer):
                answers = await asyncio.gather(*(talk(port, request) for request in list_requests()))
            assert all(one.startswith(b"HTTP/1.1 ") for one in answers)
            own_nats.kill()
            gateway.find(r'"event":"(disconnected)"')
            assert b" 503 " in await talk(port, list_requests()[0])
            await eventually(lambda: '"slug":"not-connected"' in gateway.log)
            assert gateway.stop() == 0
    lines = [json.loads(line) for line in gateway.log.splitlines()]
    assert {line.get("slug") for line in lines} >= {"no-responders", "bad-reply", "invalid-body", "bad-request"}
    assert {"uvicorn.error", None} <= {line.get("logger") for line in lines}
    assert [line for line in lines if SECRET in str(line).lower()] == []
