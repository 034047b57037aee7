"""`type: jwt` of a route file, over both lanes, with a real issuer."""

import asyncio
import json
from pathlib import Path

import jwt

from app.edge.bearer import BearerTokens
from app.observe.record import Observers, Record
from app.pieces import run_at_once
from app.prepared import pack, prepare, unpack
from app.routefile.load import RouteFile, load_route_file
from tests.harness import NatsServer, eventually, replying, responder, run_gateway
from tests.issuer import (
    EC_KEY,
    OTHER_RSA_KEY,
    SECRET,
    answering,
    hang,
    make_claims,
    make_jwk,
    make_jwks,
    run_issuer,
    sign,
)

ROUTES = """\
version: 1
auth:
  users: {type: jwt, issuer: 'https://id.example.com/', audience: orders, %s}
defaults: {auth: users}
routes:
  - {name: read, method: GET, path: /read, subject: a.read}
  - {name: write, method: POST, path: /write, subject: a.write, auth: {any: [users], scopes: [orders:write]}}
"""


def load(folder: Path, keys: str) -> RouteFile:
    path = folder / "routes.yaml"
    path.write_text(ROUTES % keys)
    return load_route_file(path)


def bear(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_tokens_of_the_issuer_are_taken_and_others_are_told_why(shared_nats: NatsServer, tmp_path: Path) -> None:
    async with (
        run_issuer() as issuer,
        responder(shared_nats.url, "a.*", replying(b"hi")),
        run_gateway(shared_nats.url, routes=load(tmp_path, f"jwks_url: '{issuer.url}'")) as gateway,
    ):
        for _ in range(2):
            assert (await gateway.get("/read", **bear(sign()))).status_code == 200
        response = await gateway.get("/read")
        assert (response.status_code, response.headers["www-authenticate"]) == (401, 'Bearer realm="users"')
        for token in (
            sign(key=OTHER_RSA_KEY),
            sign(make_claims(exp=1)),
            "x",
            jwt.encode(make_claims(), SECRET, "HS256"),
        ):
            response = await gateway.get("/read", **bear(token))
            assert response.status_code == 401
            assert response.headers["www-authenticate"].startswith('Bearer realm="users", error="invalid_token"')
        response = await gateway.client.post("/write", headers=bear(sign()))
        assert response.status_code == 403
        assert response.headers["www-authenticate"] == (
            'Bearer realm="users", error="insufficient_scope", scope="orders:write"'
        )


async def test_a_record_says_whose_token_it_was_also_of_a_request_that_waited_for_its_key(
    shared_nats: NatsServer, tmp_path: Path
) -> None:
    records: list[Record] = []
    observers = Observers(failure=(records.append,), other=(records.append,))
    async with (
        run_issuer() as issuer,
        responder(shared_nats.url, "a.*", replying(b"hi")),
        run_gateway(
            shared_nats.url, routes=load(tmp_path, f"jwks_url: '{issuer.url}'"), observers=observers
        ) as gateway,
    ):
        assert (await gateway.get("/read", **bear(sign()))).status_code == 200
        await eventually(lambda: records)
        records.clear()
        issuer.answer = answering(make_jwks(make_jwk("new"), make_jwk("ec", EC_KEY)))
        token = sign(make_claims(sub="sue\n" + 600 * "x"), kid="new")
        for method, path, status in (("GET", "/read", 200), ("POST", "/write", 403), ("GET", "/read", 200)):
            response = await gateway.client.request(method, path, headers=bear(token))
            assert response.status_code == status
            await eventually(lambda: records)
            record = records.pop()
            assert (record.scheme, record.caller) == ("users", "sue" + 509 * "x")
            assert token not in str(record)


async def test_a_new_key_of_the_issuer_is_taken_by_the_request_that_brings_it(
    shared_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        run_issuer() as issuer,
        responder(shared_nats.url, "a.*", replying(b"hi")),
        run_gateway(shared_nats.url, routes=load(tmp_path, f"jwks_url: '{issuer.url}'")) as gateway,
    ):
        assert (await gateway.get("/read", **bear(sign()))).status_code == 200
        issuer.answer = answering(make_jwks(make_jwk("new", EC_KEY)))
        fresh = sign(key=EC_KEY, algorithm="ES256", kid="new")
        assert (await gateway.get("/read", **bear(fresh))).status_code == 200
        assert (await gateway.get("/read", **bear(sign()))).status_code == 401  # its key has gone
        assert issuer.asked == 2


async def test_while_the_issuer_hangs_known_callers_go_on_and_others_wait_no_longer_than_their_time(
    shared_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        run_issuer() as issuer,
        responder(shared_nats.url, "a.*", replying(b"hi")),
        run_gateway(shared_nats.url, routes=load(tmp_path, f"jwks_url: '{issuer.url}'")) as gateway,
    ):
        assert (await gateway.get("/read", **bear(sign()))).status_code == 200
        issuer.answer = hang
        unknown = {**bear(sign(kid="other")), "x_request_timeout": "300ms"}
        waiting = [asyncio.create_task(gateway.get("/read", **unknown)) for _ in range(10)]
        await eventually(lambda: issuer.asked == 2)
        assert (await gateway.get("/read", **bear(sign()))).status_code == 200
        assert (await gateway.get("/read", **bear(sign(make_claims(sub="new"))))).status_code == 200
        for response in await asyncio.gather(*waiting):
            assert (response.status_code, response.json()["delivered"]) == (504, "no")
        assert issuer.asked == 2


async def test_while_the_keys_can_not_be_had_the_answer_is_that_of_a_gateway_at_fault(
    shared_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        run_issuer() as issuer,
        responder(shared_nats.url, "a.*", replying(b"hi")),
    ):
        issuer.answer = answering(b"", status=500)
        routes = load(tmp_path, f"jwks_url: '{issuer.url}'")
        scheme = routes.schemes["users"]
        assert isinstance(scheme, BearerTokens)
        async with run_gateway(shared_nats.url, routes=routes) as gateway:
            response = await gateway.get("/read", **bear(sign()))
            assert (response.status_code, response.json()["type"]) == (503, "/problems/keys-unavailable")
            assert (response.json()["retryable"], response.headers["retry-after"]) == (True, "1")
            issuer.answer = answering(make_jwks())
            await eventually(lambda: scheme.keys.keys)
            response = await gateway.get("/read", **bear(sign()))
            assert response.status_code == 200


async def test_keys_and_secrets_may_be_in_files(shared_nats: NatsServer, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps(make_jwks()))
    (tmp_path / "secret").write_bytes(SECRET + b"\n")
    tokens = {"jwks_file: keys.json": sign(), "secret_file: secret": jwt.encode(make_claims(), SECRET, "HS256")}
    async with responder(shared_nats.url, "a.*", replying(b"hi")):
        for keys, right in tokens.items():
            async with run_gateway(shared_nats.url, routes=load(tmp_path, keys)) as gateway:
                for token in tokens.values():
                    status = (await gateway.get("/read", **bear(token))).status_code
                    assert status == (200 if token is right else 401)


async def test_the_document_says_how_to_send_a_token(shared_nats: NatsServer, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    async with run_gateway(shared_nats.url, routes=load(tmp_path, "secret_file: secret")) as gateway:
        document = (await gateway.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"] == {
        "users": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }
    assert SECRET.decode() not in json.dumps(document)


async def test_after_a_reload_the_keys_are_there_at_once_and_are_not_fetched_again(
    shared_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        run_issuer() as issuer,
        responder(shared_nats.url, "a.*", replying(b"hi")),
        run_gateway(shared_nats.url, routes=load(tmp_path, f"jwks_url: '{issuer.url}'")) as gateway,
    ):
        assert (await gateway.get("/read", **bear(sign()))).status_code == 200
        issuer.answer = hang
        package = pack(load(tmp_path, f"jwks_url: '{issuer.url}', scopes_claim: roles"))
        await gateway.parts.serving.swap(run_at_once(unpack(package)))
        assert (await gateway.get("/read", **bear(sign()))).status_code == 200
        assert issuer.asked == 1
        (tmp_path / "secret").write_bytes(SECRET)
        await gateway.parts.serving.swap(prepare(load(tmp_path, "secret_file: secret")))
        assert (await gateway.get("/read", **bear(sign()))).status_code == 401
