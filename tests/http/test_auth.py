"""`auth` of a route file, over both lanes: who is let in, and the answer for the rest."""

import asyncio
from pathlib import Path

import jwt
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.edge.api_keys import digest_key
from app.edge.page_rules import PageRules
from app.observe.record import Observers, Record
from app.routefile.load import RouteFile, load_route_file
from tests.harness import NatsServer, RawPeer, eventually, replying, responder, run_gateway
from tests.issuer import SECRET, make_claims

KEYS = f"""\
version: 1
keys:
  - {{name: sue, sha256: {digest_key(b"sues-key")}, scopes: [orders:read], claims: {{tenant: acme}}}}
  - {{name: bob, sha256: {digest_key(b"bobs-key")}, scopes: [orders:read, orders:write], claims: {{tenant: other}}}}
  - {{name: old, sha256: {digest_key(b"old-key")}, expires: 2020-01-01}}
"""
ROUTES = """\
version: 1
auth:
  partners: {type: api-key, header: X-API-Key, file: keys.yaml}
  widgets: {type: api-key, query: api_key, file: keys.yaml}
  shops: {type: api-key, cookie: session, file: keys.yaml}
defaults: {auth: partners}
routes:
  - {name: read, method: GET, path: /read, subject: a.read, query: strict}
  - {name: write, method: POST, path: /write, subject: a.write, auth: {any: [partners], scopes: [orders:write]}}
  - {name: own, method: GET, path: /own, subject: a.own, auth: {any: [partners], claims: {tenant: [acme, b]}}}
  - {name: free, method: GET, path: /free, subject: a.free, auth: none}
  - {name: any, method: GET, path: /any, subject: a.any, query: strict, auth: {any: [widgets, shops]}}
  - {name: listed, method: GET, path: /listed, subject: a.listed, headers: [x-api-key]}
"""


@pytest.fixture
def file(tmp_path: Path) -> RouteFile:
    (tmp_path / "keys.yaml").write_text(KEYS)
    (tmp_path / "routes.yaml").write_text(ROUTES)
    return load_route_file(tmp_path / "routes.yaml")


async def test_who_has_a_key_is_let_in_and_who_has_none_gets_401(shared_nats: NatsServer, file: RouteFile) -> None:
    async with (
        responder(shared_nats.url, "a.*", replying(b"hi")),
        run_gateway(shared_nats.url, routes=file) as gateway,
    ):
        assert (await gateway.get("/read", x_api_key="sues-key")).status_code == 200
        assert (await gateway.get("/free")).status_code == 200
        for key in ({}, {"x_api_key": "bad"}, {"x_api_key": "old-key"}, {"authorization": "Bearer sues-key"}):
            response = await gateway.get("/read", **key)
            assert (response.status_code, response.json()["type"]) == (401, "/problems/unauthenticated")
            assert response.headers["www-authenticate"] == 'ApiKey realm="partners", in="header", name="X-API-Key"'
            assert (response.json()["delivered"], response.json()["retryable"]) == ("no", False)


async def test_who_lacks_a_scope_or_a_claim_gets_403(shared_nats: NatsServer, file: RouteFile) -> None:
    async with (
        responder(shared_nats.url, "a.*", replying(b"hi")),
        run_gateway(shared_nats.url, routes=file) as gateway,
    ):
        for path, key, status in (
            ("/write", "sues-key", 403),
            ("/write", "bobs-key", 200),
            ("/own", "sues-key", 200),
            ("/own", "bobs-key", 403),
        ):
            method = gateway.client.post if path == "/write" else gateway.client.get
            response = await method(path, headers={"x-api-key": key})
            assert response.status_code == status
            if status == 403:
                assert response.json()["type"] == "/problems/forbidden"
                assert "www-authenticate" not in response.headers


async def test_a_record_says_who_called_and_why_that_was_refused(shared_nats: NatsServer, file: RouteFile) -> None:
    records: list[Record] = []
    observers = Observers(failure=(records.append,), other=(records.append,))
    rules = PageRules(("partners",), ("pages:read",))
    async with (
        responder(shared_nats.url, "a.*", replying(b"hi")),
        run_gateway(shared_nats.url, routes=file, observers=observers, pages_auth=rules) as gateway,
    ):
        for path, key, scheme, caller, detail in (
            ("/read", "sues-key", "partners", "sue", None),
            ("/own", "bobs-key", "partners", "bob", "The caller lacks a claim that this route asks for: tenant."),
            ("/read", "old-key", None, None, "The API key has expired."),
            ("/free", "sues-key", None, None, None),
            ("/docs", "sues-key", "partners", "sue", "The caller lacks a scope that this route asks for: pages:read."),
            ("/docs", "no-key", None, None, "The API key is not valid."),
        ):
            await gateway.get(path, x_api_key=key)
            await eventually(lambda: records)
            record = records.pop()
            assert (record.scheme, record.caller, dict(record.facts).get("detail")) == (scheme, caller, detail), path
            assert key not in str(record)


async def test_a_key_may_come_in_the_query_or_in_a_cookie(shared_nats: NatsServer, file: RouteFile) -> None:
    async with (
        responder(shared_nats.url, "a.*", replying(b"hi")),
        run_gateway(shared_nats.url, routes=file) as gateway,
    ):
        assert (await gateway.get("/any?api_key=sues-key")).status_code == 200
        assert (await gateway.get("/any", cookie="a=b; session=sues-key")).status_code == 200
        assert (await gateway.get("/any?api_key=bad", cookie="session=sues-key")).status_code == 200
        assert (await gateway.get("/any?api_key=sues-key&other=1")).status_code == 422
        response = await gateway.get("/any?api_key=bad")
        assert response.headers.get_list("www-authenticate") == [
            'ApiKey realm="widgets", in="query", name="api_key"',
            'ApiKey realm="shops", in="cookie", name="session"',
        ]


async def test_a_key_travels_to_the_service_only_where_its_header_is_listed(
    shared_nats: NatsServer, file: RouteFile
) -> None:
    async with (
        RawPeer.connect(shared_nats.url, "a.*") as peer,
        run_gateway(shared_nats.url, routes=file) as gateway,
    ):
        for path in ("/read", "/any?api_key=sues-key", "/listed"):
            asked = asyncio.create_task(gateway.get(path, x_api_key="sues-key", cookie="session=sues-key"))
            message = await peer.next()
            assert (b"sues-key" in message.headers + message.payload + message.subject.encode()) is (path == "/listed")
            peer.publish(message.reply, b"NATS/1.0\r\n\r\n", b"hi")
            assert (await asked).status_code == 200


async def test_who_is_not_known_is_refused_before_the_body_is_read(shared_nats: NatsServer, file: RouteFile) -> None:
    head = b"POST /write HTTP/1.1\r\nHost: t\r\n%bContent-Length: 900000\r\n\r\n"
    async with run_gateway(shared_nats.url, routes=file) as gateway:
        for fields, status in ((b"", b"401"), (b"X-API-Key: sues-key\r\n", b"403")):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(head % fields)
            assert (await reader.readuntil(b"\r\n"))[9:12] == status
            writer.close()


async def test_pages_health_and_options_stay_open(shared_nats: NatsServer, file: RouteFile) -> None:
    async with run_gateway(shared_nats.url, routes=file) as gateway:
        for path in ("/docs", "/livez", "/readyz", "/openapi.json", "/metrics", "/problems/unauthenticated"):
            assert (await gateway.get(path)).status_code == 200
        assert (await gateway.client.options("/read")).status_code == 204
        assert (await gateway.client.post("/read")).status_code == 405


async def test_the_document_says_what_each_operation_asks_for(shared_nats: NatsServer, file: RouteFile) -> None:
    async with run_gateway(shared_nats.url, routes=file) as gateway:
        document = (await gateway.get("/openapi.json")).json()
    OpenAPIV31SpecValidator(document).validate()
    assert document["components"]["securitySchemes"] == {
        "partners": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "widgets": {"type": "apiKey", "in": "query", "name": "api_key"},
        "shops": {"type": "apiKey", "in": "cookie", "name": "session"},
    }
    operations = {path: operation for path, item in document["paths"].items() for operation in item.values()}
    assert operations["/read"]["security"] == [{"partners": []}]
    assert operations["/write"]["security"] == [{"partners": ["orders:write"]}]
    assert operations["/any"]["security"] == [{"widgets": []}, {"shops": []}]
    assert "security" not in operations["/free"]
    assert {"401", "403"} & set(operations["/read"]["responses"]) == {"401"}
    assert {"401", "403"} <= set(operations["/write"]["responses"])
    assert not {"401", "403"} & set(operations["/free"]["responses"])


IDENTITY = """\
version: 1
auth:
  partners: {type: api-key, header: X-API-Key, file: keys.yaml}
defaults: {auth: partners, identity: {X-User: sub, X-Tenant: claims.tenant}}
routes:
  - {name: read, method: GET, path: /read, subject: a.read}
  - {name: free, method: GET, path: /free, subject: a.free, auth: none, identity: {X-Client-IP: ip}}
  - name: own
    method: GET
    path: /orders/{id}
    subject: 'tenants.{tenant}.orders.{id}'
    params: {tenant: {in: claim}}
  - name: deep
    method: GET
    path: /deep
    subject: 'tenants.{org}.{shop}'
    params: {org: {in: claim, claim: org.id}, shop: {in: claim, claim: 'https://shop.test/tenant'}}
  - name: payload
    method: POST
    path: /orders
    subject: a.orders
    payload: merge
    params: {tenant: {in: claim, max_length: 10}}
    identity: {X-Scopes: scopes}
"""
EVIL = f"""\
  - {{name: dots, sha256: {digest_key(b"dots-key")}, claims: {{tenant: a.b}}}}
  - {{name: wild, sha256: {digest_key(b"wild-key")}, claims: {{tenant: '>'}}}}
  - {{name: lines, sha256: {digest_key(b"lines-key")}, claims: {{tenant: "a\\r\\nX-User: root"}}}}
  - {{name: deep, sha256: {digest_key(b"deep-key")}, claims: {{org: {{id: o1}}, 'https://shop.test/tenant': s1}}}}
  - {{name: lists, sha256: {digest_key(b"lists-key")}, claims: {{tenant: [a]}}}}
  - {{name: long, sha256: {digest_key(b"long-key")}, claims: {{tenant: aaaaaaaaaaaaaaaa}}}}
"""


@pytest.fixture
def identity(tmp_path: Path) -> RouteFile:
    (tmp_path / "keys.yaml").write_text(KEYS + EVIL)
    (tmp_path / "routes.yaml").write_text(IDENTITY)
    return load_route_file(tmp_path / "routes.yaml")


async def test_the_service_learns_who_calls_and_no_caller_can_forge_it(
    shared_nats: NatsServer, identity: RouteFile
) -> None:
    names = "x-user, x-tenant"
    forged = {"connection": names, "x-api-key": "sues-key", "x-user": "root", "x-tenant": "b", "x-client-ip": "1.2.3.4"}
    wanted = {
        "/read": [b"X-User: sue", b"X-Tenant: acme"],
        "/free": [b"X-Client-IP: 127.0.0.1"],
        "/orders/7?tenant=other": [b"X-User: sue", b"X-Tenant: acme"],
    }
    async with (
        RawPeer.connect(shared_nats.url, "a.*", "tenants.>") as peer,
        run_gateway(shared_nats.url, routes=identity) as gateway,
    ):
        for path, lines in wanted.items():
            asked = asyncio.create_task(gateway.client.get(path, headers=forged))
            message = await peer.next()
            written = message.headers.split(b"\r\n")
            assert [line for line in written if line.lower().startswith((b"x-user", b"x-t", b"x-c"))] == lines
            assert b"key" not in message.headers
            peer.publish(message.reply, b"NATS/1.0\r\n\r\n", b"hi")
            assert (await asked).status_code == 200
            if "orders" in path:
                assert message.subject == "tenants.acme.orders.7"


async def test_a_claim_within_another_or_with_dots_in_its_name_goes_into_the_subject(
    shared_nats: NatsServer, identity: RouteFile
) -> None:
    async with (
        RawPeer.connect(shared_nats.url, "tenants.>") as peer,
        run_gateway(shared_nats.url, routes=identity) as gateway,
    ):
        asked = asyncio.create_task(gateway.get("/deep", x_api_key="deep-key"))
        message = await peer.next()
        assert message.subject == "tenants.o1.s1"
        peer.publish(message.reply, b"NATS/1.0\r\n\r\n", b"hi")
        assert (await asked).status_code == 200
        refused = await gateway.get("/deep", x_api_key="sues-key")
        assert (refused.status_code, "asks for: org.id." in refused.json()["detail"]) == (403, True)


async def test_a_claim_goes_into_the_payload_and_a_body_can_not_say_it(
    shared_nats: NatsServer, identity: RouteFile
) -> None:
    key = {"x-api-key": "sues-key"}
    async with (
        RawPeer.connect(shared_nats.url, "a.*") as peer,
        run_gateway(shared_nats.url, routes=identity) as gateway,
    ):
        asked = asyncio.create_task(gateway.client.post("/orders", json={"item": 1}, headers=key))
        message = await peer.next()
        assert message.payload == b'{"item":1,"tenant":"acme"}'
        assert b"X-Scopes: orders:read" in message.headers
        peer.publish(message.reply, b"NATS/1.0\r\n\r\n", b"hi")
        assert (await asked).status_code == 200
        refused = await gateway.client.post("/orders", json={"tenant": "other"}, headers=key)
        assert refused.status_code == 422


async def test_a_claim_that_can_not_be_used_is_403_and_nothing_is_sent(
    shared_nats: NatsServer, identity: RouteFile
) -> None:
    async with (
        RawPeer.connect(shared_nats.url, "a.*", "tenants.>") as peer,
        run_gateway(shared_nats.url, routes=identity) as gateway,
    ):
        for key in ("dots-key", "wild-key", "lines-key", "lists-key"):
            response = await gateway.get("/orders/7", x_api_key=key)
            assert (response.status_code, response.json()["type"]) == (403, "/problems/forbidden")
        assert (
            response.json()["detail"]
            == "A claim of the caller is a list, and this route asks for a single value: tenant."
        )
        assert (await gateway.get("/read", x_api_key="lines-key")).status_code == 403
        long = await gateway.client.post("/orders", json={}, headers={"x-api-key": "long-key"})
        assert long.status_code == 403
        with pytest.raises(TimeoutError):
            await peer.next(timeout=0.1)


TOKENS = """\
version: 1
auth: {users: {type: jwt, issuer: 'https://id.example.com/', audience: orders, secret_file: secret}}
defaults: {auth: users}
routes:
  - {name: plain, method: GET, path: /plain, subject: 'a.{x}', params: {x: {in: claim}}}
  - {name: escaped, method: GET, path: /escaped, subject: 'a.{x}', params: {x: {in: claim, token: escaped}}}
  - {name: base64url, method: GET, path: /base64url, subject: 'a.{x}', params: {x: {in: claim, token: base64url}}}
  - {name: payload, method: GET, path: /payload, subject: a.b, payload: params, params: {x: {in: claim}}}
  - {name: pattern, method: GET, path: /pattern, subject: a.b, payload: params, params: {x: {in: claim, pattern: '.*'}}}
  - {name: header, method: GET, path: /header, subject: a.b, params: {x: {in: claim, header: X-X}}}
  - {name: identity, method: GET, path: /identity, subject: a.b, identity: {X-X: claims.x}}
"""


async def test_no_claim_of_a_token_makes_anything_but_a_request_or_a_403(
    shared_nats: NatsServer, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "routes.yaml").write_text(TOKENS)
    routes = load_route_file(tmp_path / "routes.yaml")
    encoded = {"escaped", "base64url", "payload", "pattern"}
    hostile = {"\ud800": set[str](), "a\x00b": encoded, " a ": encoded}
    hostile["a" * 3000] = {"payload", "pattern", "header", "identity"}
    async with (
        responder(shared_nats.url, "a.*", replying(b"hi")),
        run_gateway(shared_nats.url, routes=routes) as gateway,
    ):
        for claim, takers in hostile.items():
            token = jwt.encode(make_claims(x=claim), SECRET, "HS256")
            for route in routes.table.routes:
                response = await gateway.get(route.path, authorization=f"Bearer {token}")
                assert response.status_code == (200 if route.name in takers else 403)


async def test_a_parameter_from_a_claim_is_none_of_the_callers_in_the_document(
    shared_nats: NatsServer, identity: RouteFile
) -> None:
    async with run_gateway(shared_nats.url, routes=identity) as gateway:
        document = (await gateway.get("/openapi.json")).json()
    assert [p["name"] for p in document["paths"]["/orders/{id}"]["get"]["parameters"]] == ["id"]
