"""Routes as a route file declares them: what comes in by HTTP, and what goes out to NATS."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from nats.aio.msg import Msg

from app.routefile.load import RESERVED, RouteFile, load_route_file
from tests.harness import Gateway, NatsServer, RawPeer, replying, responder, run_gateway, run_nats

ROUTES = """\
version: 1
defaults: {timeout: 10s, reply: {content_type: application/json}}
routes:
  - {name: me, method: GET, path: /orders/me, subject: test.me}
  - {name: order, method: GET, path: "/orders/{id}", subject: "test.order.{id}"}
  - {name: item, method: [GET, DELETE], path: "/orders/{id}/items/{item}", subject: "test.{item}.of.{id}"}
  - name: search
    method: GET
    path: /search/{kind}
    subject: test.search
    payload: params
    params:
      kind: {enum: [books, a/b.c, "*"]}
      q: {min_length: 1}
      limit: {type: integer, min: 1, max: 100, default: 20}
      price: {type: number}
      sold: {type: boolean}
      tag: {many: true, pattern: "[a-z]*"}
      size: {type: integer, many: true}
      X-Tenant: {in: header}
  - name: shard
    method: GET
    path: /shard
    subject: test.{shard}.{x-region}
    params: {shard: {type: integer, required: true}, x-region: {in: header, default: eu}}
  - {name: any, method: [GET, POST], path: /any, subject: test.any}
  - {name: anonymous, method: POST, path: /anonymous, subject: test.any, headers: []}
  - name: image
    method: POST
    path: /image
    subject: test.image
    accepts: [image/*, application/pdf]
    max_body: 10
  - name: note
    method: POST
    path: /note
    subject: test.note
    max_body: 1MiB
    body_schema:
      type: object
      required: [title]
      additionalProperties: false
      properties: {title: {type: string, maxLength: 5}, "a/b": {type: array, items: {type: integer}}}
  - {name: packed, method: POST, path: /packed, subject: test.packed, headers: [content-encoding]}
  - {name: secret, method: GET, path: /secret, subject: test.secret, headers: [Authorization, cookie]}
  - {name: small, method: GET, path: /small, subject: test.small, reply: {max_bytes: 3}}
  - {name: csv, method: GET, path: /csv, subject: test.csv, reply: {status: 203, content_type: text/csv; charset=utf-8}}
  - {name: exposed, method: GET, path: /exposed, subject: test.exposed, reply: {expose_errors: true, errors: {7: 409}}}
  - {name: searches, method: POST, path: /searches, subject: test.searches, payload: params, params: {q: {}}}
  - name: apply
    method: PUT
    path: /apply/{id}
    subject: test.apply
    params: {id: {header: X-Id}, dry_run: {type: boolean, header: X-Dry-Run}, tag: {many: true, header: X-Tag}}
  - name: both
    method: GET
    path: /both
    subject: test.both
    payload: params
    params: {limit: {type: integer, default: 5}, tenant: {header: X-Tenant, default: none}}
  - name: sent
    method: GET
    path: /sent
    subject: test.sent
    headers: [x-mine]
    send_headers: {X-Source: web, x-mode: "a b"}
    reply: {set_headers: {Cache-Control: "public, max-age=60"}, status: 202}
  - name: strict
    method: GET
    path: /strict/{day}
    subject: test.strict
    payload: params
    query: strict
    params: {day: {format: date}, id: {type: integer, many: true, separator: ","}, limit: {type: integer, max: 5}}
  - {name: user, method: GET, path: "/users/{mail}", subject: "test.user.{mail}", params: {mail: {token: escaped}}}
  - name: blob
    method: GET
    path: /blobs/{key}
    subject: test.{kind}.{key}
    params: {key: {token: base64url}, kind: {token: escaped, default: a.b}}
  - {name: file, method: GET, path: "/files/{path...}", subject: "test.file.{path...}"}
  - {name: object, method: PUT, path: "/objects/{key...}", subject: "test.{key}", params: {key: {token: escaped}}}
  - {name: page, method: GET, path: "/pages/{path...}", subject: test.page, payload: params}
  - {name: part, method: PUT, path: "/parts/{path...}", subject: test.part, params: {path: {header: X-Path}}}
  - name: merged
    method: [PUT, DELETE]
    path: /merged/{id}
    subject: test.merged
    payload: merge
    params: {id: {type: integer}, dry_run: {type: boolean}, source: {header: X-Source}}
  - name: note-merged
    method: PATCH
    path: /notes/{id}
    subject: test.merged
    payload: merge
    body_schema: {type: object, additionalProperties: false, properties: {title: {type: string}}}
  - {name: plain-merge, method: POST, path: /plain, subject: test.merged, payload: merge, params: {q: {}}}
"""


async def check_that_nothing_came(gateway: Gateway, spy: RawPeer) -> None:
    """The first that a spy hears of is a request that is sent now."""
    asking = asyncio.create_task(gateway.get("/orders/sentinel"))
    assert (await spy.next()).subject == "test.order.sentinel"
    asking.cancel()


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> RouteFile:
    path = tmp_path_factory.mktemp("routes") / "routes.yaml"
    path.write_text(ROUTES)
    return load_route_file(path)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the service got."""

    subject: str
    payload: str
    headers: dict[str, list[str]]


@asynccontextmanager
async def run_echo(nats: str, routes: RouteFile) -> AsyncIterator[Gateway]:
    """A gateway before a service that tells what it got."""

    async def tell(msg: Msg) -> None:
        headers = {name: [value] for name, value in (msg.headers or {}).items() if name != "x-request-id"}
        await msg.respond(json.dumps([msg.subject, msg.data.decode("latin-1"), headers]).encode())

    async with run_gateway(nats, routes=routes) as gateway, responder(nats, "test.>", tell):
        yield gateway


def read(response: httpx.Response) -> Seen:
    assert response.status_code == 200, response.text
    return Seen(*response.json())


def read_problem(response: httpx.Response) -> tuple[int, str, str]:
    problem = response.json()
    assert problem["delivered"] == "no"
    return response.status_code, problem["type"].removeprefix("/problems/"), problem["detail"]


# Paths


@pytest.mark.parametrize(
    ("path", "subject"),
    [
        ("/orders/7", "test.order.7"),
        ("/orders/me", "test.me"),
        ("/orders/%6de", "test.me"),
        ("/orders/mee", "test.order.mee"),
        ("/orders/名前", "test.order.名前"),
        ("/orders/7/items/9", "test.9.of.7"),
        ("/orders/me/items/9", "test.9.of.me"),
    ],
)
async def test_a_path_leads_to_its_subject(shared_nats: NatsServer, routes: RouteFile, path: str, subject: str) -> None:
    async with run_echo(shared_nats.url, routes) as gateway:
        assert read(await gateway.get(path)) == Seen(subject, "", {})


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/orders/7/", 404),
        (b"/orders//7", 404),
        (b"//orders/7", 404),
        (b"/orders%2F7", 404),
        (b"/orders", 404),
        (b"/orders/7/items", 404),
        (b"/orders/7/items/9/", 404),
        (b"/orders/", 422),
        (b"/orders/7%2Fitems%2F9", 422),
        (b"/orders/a.b", 422),
        (b"/orders/%2A", 422),
        (b"/orders/%3E", 422),
        (b"/orders/7/items/%00", 422),
        (b"/Orders/7", 404),
    ],
)
async def test_another_path_reaches_nobody(
    shared_nats: NatsServer, routes: RouteFile, target: bytes, status: int
) -> None:
    async with (
        run_gateway(shared_nats.url, routes=routes) as gateway,
        RawPeer.connect(shared_nats.url, "test.>") as spy,
    ):
        assert (await gateway.get_raw(target)).split(b" ", 2)[1] == b"%d" % status
        await check_that_nothing_came(gateway, spy)


async def test_one_path_has_its_methods_and_says_which(shared_nats: NatsServer, routes: RouteFile) -> None:
    async with run_echo(shared_nats.url, routes) as gateway:
        path = "/orders/7/items/9"
        assert read(await gateway.client.delete(path)).subject == "test.9.of.7"
        head = await gateway.client.head(path)
        whole = await gateway.client.get(path)
        assert (head.status_code, head.content, head.headers["content-length"]) == (
            200,
            b"",
            str(len(whole.content)),
        )
        options = await gateway.client.options(path)
        assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, DELETE, OPTIONS")
        for method in ("POST", "PUT", "PATCH", "TRACE"):
            refused = await gateway.client.request(method, path)
            assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, DELETE, OPTIONS")


async def test_no_route_can_take_a_path_of_the_gateway(shared_nats: NatsServer, tmp_path: Path) -> None:
    """Each reserved first segment is really one: the gateway answers there with a document of its own."""
    async with run_gateway(shared_nats.url) as gateway:
        for segment in RESERVED:
            assert (await gateway.get(f"/{segment}")).status_code == 200, segment


# Parameters


def ask(query: str) -> str:
    return f"/search/books?{query}"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("&&", {}),
        ("q=a", {"q": "a"}),
        ("q=a+b", {"q": "a b"}),
        ("q=a%2Bb%26c%3Dd", {"q": "a+b&c=d"}),
        ("q=a=b=c", {"q": "a=b=c"}),
        ("%71=a", {"q": "a"}),
        ("q=%E5%90%8D", {"q": "名"}),
        ("q=%00%0A", {"q": "\x00\n"}),
        ("limit=7", {"limit": 7}),
        ("price=1.5", {"price": 1.5}),
        ("price=-2", {"price": -2}),
        ("price=1e3", {"price": 1000.0}),
        ("sold=true", {"sold": True}),
        ("sold=false", {"sold": False}),
        ("tag=", {"tag": [""]}),
        ("tag", {"tag": [""]}),
        ("tag=a&tag=&tag=b", {"tag": ["a", "", "b"]}),
        ("size=1&size=2", {"size": [1, 2]}),
        ("other=1&other=2&%FF=%FF&other[]=%zz", {}),
        ("q=a;limit=7", {"q": "a;limit=7"}),
    ],
)
async def test_a_query_becomes_a_json_object_of_what_is_declared(
    shared_nats: NatsServer, routes: RouteFile, query: str, expected: dict[str, Any]
) -> None:
    async with run_echo(shared_nats.url, routes) as gateway:
        seen = read(await gateway.get(ask(query)))
    assert (seen.subject, seen.headers) == ("test.search", {})
    assert json.loads(seen.payload.encode("latin-1")) == {"kind": "books", "limit": 20, **expected}


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("limit=0", "'limit' breaks its rule: it is less than the minimum of 1"),
        ("limit=101", "'limit' breaks its rule: it is greater than the maximum of 100"),
        ("limit=", "'limit' is not an integer such as 7"),
        ("limit", "'limit' is not an integer"),
        ("limit=07", "'limit' is not an integer"),
        ("limit=%2B7", "'limit' is not an integer"),
        ("limit=+7", "'limit' is not an integer"),
        ("limit=7.0", "'limit' is not an integer"),
        ("limit=1e1", "'limit' is not an integer"),
        ("limit=%D9%A7", "'limit' is not an integer"),
        ("limit=9223372036854775808", "'limit' is not an integer"),
        ("limit=7&limit=7", "'limit' is in the request more than once"),
        ("q=a&q=b", "'q' is in the request more than once"),
        ("q=", "'q' breaks its rule: it is shorter than 1 character"),
        ("q=%FF", "'q' is not valid UTF-8"),
        ("q=%zz", "'q' has a '%' that is not followed by two hex digits"),
        ("price=NaN", "'price' is not a number"),
        ("price=Infinity", "'price' is not a number"),
        ("price=1e999", "'price' is not a number"),
        ("price=.5", "'price' is not a number"),
        ("sold=yes", "'sold' is not true or false"),
        ("sold=True", "'sold' is not true or false"),
        ("sold=1", "'sold' is not true or false"),
        ("tag=a&tag=B", "'tag' breaks its rule: it does not match"),
        ("size=1&size=x", "'size' is not an integer"),
        ("&".join(["tag=a"] * 257), "'tag' is in the request more than 256 times"),
    ],
    ids=lambda text: text[:40],
)
async def test_a_value_that_breaks_its_rule_is_refused_and_named(
    shared_nats: NatsServer, routes: RouteFile, query: str, detail: str
) -> None:
    async with (
        run_gateway(shared_nats.url, routes=routes) as gateway,
        RawPeer.connect(shared_nats.url, "test.>") as spy,
    ):
        status, slug, told = read_problem(await gateway.get(ask(query)))
        assert (status, slug) == (422, "invalid-parameter")
        assert told.startswith("Query parameter " + detail)
        await check_that_nothing_came(gateway, spy)


async def test_a_parameter_travels_as_a_header_beside_a_body_that_stays_as_it_is(
    shared_nats: NatsServer, routes: RouteFile
) -> None:
    body = b'{"a" :\n1, \xff'
    async with (
        run_gateway(shared_nats.url, routes=routes) as gateway,
        RawPeer.connect(shared_nats.url, "test.>") as peer,
    ):
        for target, content, lines in (
            ("/apply/a%2Fb?dry_run=true&tag=x&tag=%C3%A9", body, "X-Id: a/b|X-Dry-Run: true|X-Tag: x|X-Tag: é"),
            ("/apply/7", body, "X-Id: 7"),
            ("/both?tenant=t%20u", b"", "X-Tenant: t u"),
            ("/both", b"", "X-Tenant: none"),
        ):
            method = "PUT" if content else "GET"
            headers = {"x-request-id": "r"}
            asking = asyncio.create_task(
                gateway.client.request(method, target, content=content or None, headers=headers)
            )
            message = await peer.next()
            assert (
                message.headers
                == b"NATS/1.0\r\nx-request-id: r\r\n" + lines.replace("|", "\r\n").encode() + b"\r\n\r\n"
            )
            assert message.payload == (content or b'{"limit":5}')
            peer.publish(message.reply, b"NATS/1.0\r\n\r\n")
            assert (await asking).status_code == 200
        for target, name in (("/apply/a%0D%0Ab", "id"), ("/apply/7?tag=%20x", "tag"), ("/apply/7?tag=x%00", "tag")):
            response = await gateway.client.put(target, content=body)
            assert read_problem(response)[:2] == (422, "invalid-parameter")
            assert [error["parameter"] for error in response.json()["errors"]] == [name]
        await check_that_nothing_came(gateway, peer)


@pytest.mark.parametrize("body", [b"{}", b"x" * 100_000])
async def test_a_body_that_a_route_would_drop_is_refused_and_nothing_is_sent(
    shared_nats: NatsServer, routes: RouteFile, body: bytes
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield body

    async with (
        run_gateway(shared_nats.url, routes=routes) as gateway,
        RawPeer.connect(shared_nats.url, "test.>") as spy,
    ):
        for content in (body, pieces()):
            response = await gateway.client.post("/searches?q=a", content=content)
            assert read_problem(response)[:2] == (415, "unsupported-media-type")
            assert response.json()["detail"] == "This route accepts no body: it sends its parameters."
        await check_that_nothing_came(gateway, spy)


@pytest.mark.parametrize("mine", [None, "m"])
async def test_a_service_gets_what_the_route_sends_with_every_request(
    shared_nats: NatsServer, routes: RouteFile, mine: str | None
) -> None:
    async with (
        run_gateway(shared_nats.url, routes=routes) as gateway,
        RawPeer.connect(shared_nats.url, "test.>") as peer,
    ):
        own = {} if mine is None else {"X-Mine": mine}
        waiting = asyncio.create_task(gateway.client.get("/sent", headers={**own, "X-Source": "forged"}))
        message = await peer.next()
        assert message.headers.count(b"X-Source: web\r\n") == 1
        assert b"x-mode: a b\r\n" in message.headers
        assert b"forged" not in message.headers
        assert (b"x-mine: m\r\n" in message.headers) == (mine is not None)
        peer.publish(message.reply, b"NATS/1.0\r\nCache-Control: no-store\r\n\r\n")
        response = await waiting
    assert response.headers.get_list("cache-control") == ["public, max-age=60"]


async def test_only_a_success_has_what_the_route_sets(shared_nats: NatsServer, routes: RouteFile) -> None:
    for headers, status, expected in (
        (None, 202, "public, max-age=60"),
        ({"Http-Status": "204"}, 204, "public, max-age=60"),
        ({"Http-Status": "404", "Cache-Control": "no-cache"}, 404, "no-cache"),
        ({"Nats-Service-Error-Code": "409"}, 409, "no-store"),
    ):
        async with (
            run_gateway(shared_nats.url, routes=routes) as gateway,
            responder(shared_nats.url, "test.sent", replying(b"", headers)),
        ):
            response = await gateway.get("/sent")
            assert (response.status_code, response.headers["cache-control"]) == (status, expected)


async def test_a_strict_query_and_all_that_is_wrong_with_it(shared_nats: NatsServer, routes: RouteFile) -> None:
    async with run_echo(shared_nats.url, routes) as gateway:
        assert read(await gateway.get("/strict/2026-11-26?id=3,4&limit=5")).payload == (
            '{"day":"2026-11-26","id":[3,4],"limit":5}'
        )
        response = await gateway.get("/strict/today?limit=9&lmit=2")
        assert read_problem(response)[:2] == (422, "invalid-parameter")
        assert response.json()["detail"] == "3 parameters are wrong: `errors` lists them."
        told = [(error["parameter"], error["in"]) for error in response.json()["errors"]]
        assert told == [("day", "path"), ("lmit", "query"), ("limit", "query")]
        assert response.json()["errors"][1]["detail"] == "Query parameter 'lmit' is not known, did you mean 'limit'?"


async def test_a_query_has_so_many_parameters_and_no_more(shared_nats: NatsServer, routes: RouteFile) -> None:
    async with run_echo(shared_nats.url, routes) as gateway:
        query = "&".join(["q=a", *["x"] * 1023])
        assert json.loads(read(await gateway.get(ask(query))).payload)["q"] == "a"
        assert read_problem(await gateway.get(ask(query + "&"))) == (
            414,
            "uri-too-long",
            "The query has more than 1024 parameters.",
        )


@pytest.mark.parametrize(
    ("name", "value", "detail"),
    [
        ("accept", ",".join(["text/plain"] * 64), None),
        ("accept", ",".join(["text/plain"] * 65), "Header Accept has more than 64 media ranges."),
        ("accept", "text/plain" + ";a=b" * 257, "Header Accept has more than 256 parameters."),
        ("connection", ",".join(["x-other"] * 64), None),
        ("connection", ",".join(["x-other"] * 65), "Header Connection has more than 64 names."),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_header_that_is_a_list_has_so_many_members_and_no_more(
    shared_nats: NatsServer, name: str, value: str, detail: str | None
) -> None:
    async with run_gateway(shared_nats.url) as gateway, responder(shared_nats.url, "greet.*", replying(b"hello, sue")):
        response = await gateway.client.get("/greet/sue", headers={name: value})
        if detail is None:
            assert response.status_code == 200
        else:
            assert read_problem(response) == (431, "headers-too-large", detail)


async def test_a_path_parameter_outside_of_the_subject_is_free_text(shared_nats: NatsServer, routes: RouteFile) -> None:
    async with run_echo(shared_nats.url, routes) as gateway:
        for kind in ("a/b.c", "*"):
            seen = read(await gateway.get(f"/search/{quote(kind, safe='')}"))
            assert (seen.subject, json.loads(seen.payload)["kind"]) == ("test.search", kind)
        assert read_problem(await gateway.get("/search/films"))[0] == 422


async def test_a_header_may_be_a_parameter_whatever_its_case(shared_nats: NatsServer, routes: RouteFile) -> None:
    async with run_echo(shared_nats.url, routes) as gateway:
        for name in ("X-Tenant", "x-tenant", "X-TENANT"):
            seen = read(await gateway.client.get("/search/books", headers={name: "acme"}))
            assert json.loads(seen.payload)["X-Tenant"] == "acme"
        twice = await gateway.client.get("/search/books", headers=[("x-tenant", "a"), ("x-tenant", "b")])
        assert read_problem(twice) == (
            422,
            "invalid-parameter",
            "Header parameter 'X-Tenant' is in the request more than once.",
        )


async def test_a_parameter_in_the_subject_is_one_token_wherever_it_comes_from(
    shared_nats: NatsServer, routes: RouteFile
) -> None:
    async with run_echo(shared_nats.url, routes) as gateway:
        assert read(await gateway.get("/shard?shard=7")).subject == "test.7.eu"
        assert read(await gateway.get("/shard?shard=-7", x_region="us")).subject == "test.-7.us"
        assert read_problem(await gateway.get("/shard"))[2] == "Query parameter 'shard' is missing."
        for region in ("a.b", "*", ">", "a b", "", "x" * 129):
            response = await gateway.get("/shard?shard=7", x_region=region)
            assert response.status_code in (414, 422), region
            assert response.json()["detail"].startswith("Header parameter 'x-region' ")


# Bodies


async def test_what_is_sent_goes_by_the_method(shared_nats: NatsServer, routes: RouteFile) -> None:
    async with run_echo(shared_nats.url, routes) as gateway:
        assert read(await gateway.client.post("/any", content=b"\x00\xff")).payload == "\x00\xff"
        assert read(await gateway.client.request("GET", "/any", content=b"ignored")).payload == ""


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "image/png"}, 200),
        ({"content-type": "IMAGE/PNG; q=1"}, 200),
        ({"content-type": "application/pdf"}, 200),
        ({"content-type": "application/pdfx"}, 415),
        ({"content-type": "imagex/png"}, 415),
        ({"content-type": "image"}, 415),
        ({"content-type": ""}, 415),
        ({}, 415),
        ({"content-type": "image/png", "content-encoding": "gzip"}, 415),
        ({"content-type": "image/png", "content-encoding": "identity"}, 200),
    ],
)
async def test_a_body_of_another_type_is_refused(
    shared_nats: NatsServer, routes: RouteFile, headers: dict[str, str], status: int
) -> None:
    async with run_echo(shared_nats.url, routes) as gateway:
        response = await gateway.client.post("/image", content=b"x", headers=headers)
        assert response.status_code == status
        if status == 415:
            assert response.json()["type"] == "/problems/unsupported-media-type"
            assert ("accept" in response.headers) != ("accept-encoding" in response.headers)
        assert read(await gateway.client.post("/image", headers={"content-length": "0"})).payload == ""


async def test_an_encoded_body_passes_where_the_service_is_told(shared_nats: NatsServer, routes: RouteFile) -> None:
    async with run_echo(shared_nats.url, routes) as gateway:
        seen = read(await gateway.client.post("/packed", content=b"\x1f\x8b", headers={"content-encoding": "gzip"}))
    assert seen == Seen("test.packed", "\x1f\x8b", {"content-encoding": ["gzip"]})


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_may_have_just_as_much_as_its_route_takes(
    shared_nats: NatsServer, routes: RouteFile, chunked: bool
) -> None:
    async def send(size: int) -> httpx.Response:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(size):
                yield b"x"

        content = chunks() if chunked else b"x" * size
        return await gateway.client.post("/image", content=content, headers={"content-type": "image/png"})

    async with run_echo(shared_nats.url, routes) as gateway:
        assert read(await send(10)).payload == "x" * 10
        assert read_problem(await send(11))[:2] == (413, "payload-too-large")
        assert read(await send(1)).payload == "x"


async def test_body_and_headers_together_fit_the_server_to_the_byte(tmp_path: Path, routes: RouteFile) -> None:
    block = len("NATS/1.0\r\nx-request-id: r\r\n\r\n")
    with run_nats(tmp_path / "nats", "max_payload: 2000") as nats:
        async with (
            run_gateway(nats.url, routes=routes) as gateway,
            responder(nats.url, "test.any", replying(b"fine")),
        ):
            await check_sizes(gateway, block)


async def check_sizes(gateway: Gateway, block: int) -> None:
    for size, status in ((2000 - block, 200), (2001 - block, 413), (2000, 413), (1, 200)):
        response = await gateway.client.post("/any", content=b"x" * size, headers={"x-request-id": "r"})
        assert response.status_code == status
    for size, status in ((2000, 200), (2001, 413)):
        assert (await gateway.client.post("/anonymous", content=b"x" * size)).status_code == status


JSON_TYPE = {"content-type": "application/json; charset=utf-8"}


async def test_a_body_that_keeps_its_schema_passes_byte_for_byte(shared_nats: NatsServer, routes: RouteFile) -> None:
    body = b' {"title" : "\\u00e9",\n"a/b": [1, 2.0]} '
    async with run_echo(shared_nats.url, routes) as gateway:
        assert read(await gateway.client.post("/note", content=body, headers=JSON_TYPE)).payload == body.decode()


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        (b"{}", [("#", '"title" is a required property')]),
        (b'{"title": 1}', [("#/title", 'it is not of type "string"')]),
        (
            b'{"title": "123456", "a/b": [1, "x", null]}',
            [
                ("#/a~1b/1", 'it is not of type "integer"'),
                ("#/a~1b/2", 'it is not of type "integer"'),
                ("#/title", "it is longer than 5 characters"),
            ],
        ),
        (b'{"title": "", "x": 1}', [("#", "Additional properties are not allowed ('x' was unexpected)")]),
        (b"[]", [("#", 'it is not of type "object"')]),
        (b"", [("#", "it is empty")]),
        (b"{", [("#", "it is not JSON: expecting property name enclosed in double quotes, line 1, column 2")]),
        (b"\xff", [("#", "it is not UTF-8")]),
        (b"\xef\xbb\xbf{}", None),
        (b'{"title": "a", "title": "b"}', [("#", "it has a key twice in one object")]),
        (b'{"title": NaN}', [("#", "it has NaN, which is not JSON")]),
        (b'{"title": "\\ud800"}', [("#", "it has half of a surrogate pair")]),
        (b"[" * 100_000, [("#", "it is nested too deeply")]),
        (b"[" * 300 + b"]" * 300, [("#", "it is nested too deeply")]),
        (b"9" * 5000, None),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, bytes) else "",
)
async def test_a_body_that_breaks_its_schema_is_refused_with_pointers(
    shared_nats: NatsServer, routes: RouteFile, body: bytes, errors: list[tuple[str, str]] | None
) -> None:
    async with (
        run_gateway(shared_nats.url, routes=routes) as gateway,
        RawPeer.connect(shared_nats.url, "test.>") as spy,
    ):
        response = await gateway.client.post("/note", content=body, headers=JSON_TYPE)
        assert read_problem(response)[:2] == (422, "invalid-body")
        told = [(error["pointer"], error["detail"]) for error in response.json()["errors"]]
        assert told
        if errors is not None:
            assert sorted(told) == errors
        await check_that_nothing_came(gateway, spy)


async def test_a_body_with_a_thousand_faults_has_a_bounded_answer(shared_nats: NatsServer, routes: RouteFile) -> None:
    body = json.dumps({"title": "a", "a/b": ["x" * 900] * 1000, "y" * 100_000: 1})
    async with run_gateway(shared_nats.url, routes=routes) as gateway:
        response = await gateway.client.post("/note", content=body, headers={**JSON_TYPE, "x-request-timeout": "20s"})
    assert len(response.json()["errors"]) == 20
    assert len(response.content) < 10_000


# Headers and replies


async def test_credentials_travel_only_where_they_are_listed(shared_nats: NatsServer, routes: RouteFile) -> None:
    headers = {"authorization": "Bearer t", "cookie": "a=1", "x-other": "1", "traceparent": "00-1"}
    async with run_echo(shared_nats.url, routes) as gateway:
        secret = read(await gateway.client.get("/secret", headers=headers))
        assert secret.headers == {"Authorization": ["Bearer t"], "cookie": ["a=1"]}
        assert read(await gateway.client.get("/any", headers=headers)).headers == {"traceparent": ["00-1"]}


async def test_vary_tells_caches_which_request_headers_may_have_chosen_the_reply(
    shared_nats: NatsServer, routes: RouteFile
) -> None:
    async with run_echo(shared_nats.url, routes) as gateway:
        for path, names in {
            "/search/books": ["X-Tenant"],
            "/shard?shard=1": ["x-region"],
            "/secret": ["cookie"],
            "/any": [],
        }.items():
            for method in ("GET", "HEAD"):
                for headers in ({}, {"x-tenant": "a", "x-region": "us", "cookie": "a=1"}):
                    response = await gateway.client.request(method, path, headers=headers)
                    assert (response.status_code, response.headers.get_list("vary")) == (200, names)
        problem = await gateway.get("/shard", x_region="us")
        shown = problem.status_code, problem.headers["cache-control"], problem.headers.get_list("vary")
        assert shown == (422, "no-store", ["Accept"])


async def test_a_reply_over_its_limit_is_a_bad_one(shared_nats: NatsServer, routes: RouteFile) -> None:
    for payload, status in ((b"123", 200), (b"1234", 502)):
        async with (
            run_gateway(shared_nats.url, routes=routes) as gateway,
            responder(shared_nats.url, "test.small", replying(payload)),
        ):
            response = await gateway.get("/small")
            assert response.status_code == status
            if status == 502:
                assert (response.json()["type"], response.json()["delivered"]) == ("/problems/bad-reply", "yes")


async def test_status_and_type_of_a_reply_are_the_route_s_unless_the_service_says(
    shared_nats: NatsServer, routes: RouteFile
) -> None:
    async with run_gateway(shared_nats.url, routes=routes) as gateway:
        async with responder(shared_nats.url, "test.csv", replying(b"a,b")):
            plain = await gateway.get("/csv")
            assert (plain.status_code, plain.headers["content-type"]) == (203, "text/csv; charset=utf-8")
        said = {"Http-Status": "206", "Content-Type": "text/plain"}
        async with responder(shared_nats.url, "test.csv", replying(b"a,b", said)):
            told = await gateway.get("/csv")
            assert (told.status_code, told.headers["content-type"]) == (206, "text/plain")


@pytest.mark.parametrize(
    ("path", "code", "status", "detail"),
    [
        ("/exposed", "7", 409, "why"),
        ("/exposed", "404", 404, "why"),
        ("/exposed", "500", 500, "why"),
        ("/exposed", "8", 502, "why"),
        ("/any", "404", 404, "why"),
        ("/any", "500", 500, "The service answered with an error."),
        ("/any", "7", 502, "The service answered with an error."),
    ],
)
async def test_the_text_of_a_service_error_is_told_as_the_route_says(
    shared_nats: NatsServer, routes: RouteFile, path: str, code: str, status: int, detail: str
) -> None:
    said = {"Nats-Service-Error-Code": code, "Nats-Service-Error": "why"}
    async with (
        run_gateway(shared_nats.url, routes=routes) as gateway,
        responder(shared_nats.url, "test.>", replying(b"", said)),
    ):
        response = await gateway.get(path)
    problem = response.json()
    assert (response.status_code, problem["detail"], problem["delivered"]) == (status, detail, "yes")


# Texts that are no token, and tails


@pytest.mark.parametrize(
    ("path", "subject"),
    [
        ("/users/a@b.example", "test.user.a%40b%2Eexample"),
        ("/users/report.pdf", "test.user.report%2Epdf"),
        ("/users/A-Z_9~", "test.user.A-Z_9~"),
        ("/users/a%2Fb%20*>%25", "test.user.a%2Fb%20%2A%3E%25"),
        ("/users/%C3%A9%00", "test.user.%C3%A9%00"),
        ("/users/" + "é" * 21, "test.user." + "%C3%A9" * 21),
        ("/blobs/report.pdf", "test.a%2Eb.cmVwb3J0LnBkZg"),
        ("/blobs/%C3%BF%C3%BF%3F?kind=x*", "test.x%2A.w7_Dvz8"),
        ("/files/a", "test.file.a"),
        ("/files/a/b%2Fc/%C3%A9", "test.file.a.b.c.é"),
        ("/files/" + "/".join("x" * 16), "test.file." + ".".join("x" * 16)),
        ("/objects/a/b.c", "test.a%2Fb%2Ec"),
    ],
)
async def test_a_text_that_is_no_token_becomes_one_in_the_way_that_its_route_says(
    shared_nats: NatsServer, routes: RouteFile, path: str, subject: str
) -> None:
    async with run_echo(shared_nats.url, routes) as gateway:
        method = "PUT" if path.startswith("/objects") else "GET"
        assert read(await gateway.client.request(method, path)) == Seen(subject, "", {})


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/users/", 422, "Path parameter 'mail' is empty."),
        ("/users/%FF", 422, "Path parameter 'mail' is not valid UTF-8."),
        ("/users/%zz", 422, "Path parameter 'mail' has a '%' that is not followed by two hex digits."),
        ("/users/" + "." * 43, 414, "Path parameter 'mail' makes a subject token of more than 128 characters."),
        ("/users/" + "x" * 4000, 414, "Path parameter 'mail' makes a subject token of more than 128 characters."),
        ("/blobs/" + "x" * 97, 414, "Path parameter 'key' makes a subject token of more than 128 characters."),
        ("/blobs/x?kind=", 422, "Query parameter 'kind' is empty."),
        ("/files/", 422, "Path parameter 'path' is empty."),
        ("/files/a//b", 422, "Path parameter 'path' has a segment that is empty, '.' or '..'."),
        ("/files/a/", 422, "Path parameter 'path' has a segment that is empty, '.' or '..'."),
        ("/files/a%2F%2E%2E%2Fb", 422, "Path parameter 'path' has a segment that is empty, '.' or '..'."),
        ("/files/a.b", 422, "Path parameter 'path' has the character U+002E, which"),
        ("/files/a/" + "x" * 129, 414, "Path parameter 'path' has more than 128 characters."),
        ("/files/" + "/".join("x" * 17), 414, "Path parameter 'path' has more than 16 segments."),
        ("/files/" + "x/" * 4000 + "x", 414, "Path parameter 'path' has more than 16 segments."),
        ("/pages/%2Fetc%2Fpasswd", 422, "Path parameter 'path' has a segment that is empty, '.' or '..'."),
        ("/pages/%FF", 422, "Path parameter 'path' is not valid UTF-8."),
        ("/parts/..", 405, "This path allows PUT, OPTIONS."),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_text_that_makes_no_token_and_a_tail_that_is_no_path_are_refused(
    shared_nats: NatsServer, routes: RouteFile, path: str, status: int, detail: str
) -> None:
    async with (
        run_gateway(shared_nats.url, routes=routes) as gateway,
        RawPeer.connect(shared_nats.url, "test.>") as spy,
    ):
        raw = await gateway.get_raw(path.encode())
        assert raw.split(b" ", 2)[1] == b"%d" % status
        assert json.loads(raw.partition(b"\r\n\r\n")[2])["detail"].startswith(detail)
        await check_that_nothing_came(gateway, spy)


async def test_a_tail_goes_into_the_payload_or_a_header_as_the_text_that_it_means(
    shared_nats: NatsServer, routes: RouteFile
) -> None:
    async with run_echo(shared_nats.url, routes) as gateway:
        seen = read(await gateway.get("/pages/a%20b/c.d%2F%C3%A9/" + "x/" * 20 + "x"))
        assert json.loads(seen.payload.encode("latin-1")) == {"path": "a b/c.d/é/" + "x/" * 20 + "x"}
        assert read(await gateway.client.put("/parts/a/b.c", content=b"!")).headers == {"X-Path": ["a/b.c"]}


# Parameters in the object of the body

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("target", "body", "payload"),
    [
        ("/merged/7", "{}", '{"id":7}'),
        ("/merged/7", " { } \n", ' { "id":7}'),
        ("/merged/7?dry_run=true", '{"a": 1.10}\r\n', '{"a": 1.10,"id":7,"dry_run":true}'),
        ("/merged/7", '{"a":{"id":1},"b":"é\\u0000"}', '{"a":{"id":1},"b":"é\\u0000","id":7}'),
        ("/merged/7", '{"n":12345678901234567890,"x":"}"}', '{"n":12345678901234567890,"x":"}","id":7}'),
        ("/merged/7", '{"a":"' + "x" * 40_000 + '"}', '{"a":"' + "x" * 40_000 + '","id":7}'),
        ("/plain", '{"a":1}', '{"a":1}'),
        ("/plain?q=x", '{"a":1}', '{"a":1,"q":"x"}'),
    ],
    ids=lambda text: text[:40],
)
async def test_parameters_are_merged_into_the_body_whose_own_bytes_stay(
    shared_nats: NatsServer, routes: RouteFile, target: str, body: str, payload: str
) -> None:
    async with run_echo(shared_nats.url, routes) as gateway:
        method = "POST" if target.startswith("/plain") else "PUT"
        seen = read(await gateway.client.request(method, target, content=body.encode(), headers=JSON))
    assert seen.payload.encode("latin-1").decode() == payload


async def test_a_merged_parameter_may_be_a_header_and_a_schema_looks_at_the_body_alone(
    shared_nats: NatsServer, routes: RouteFile
) -> None:
    async with run_echo(shared_nats.url, routes) as gateway:
        seen = read(
            await gateway.client.request("DELETE", "/merged/7?source=web", content=b'{"source":1}', headers=JSON)
        )
        assert seen == Seen("test.merged", '{"source":1,"id":7}', {"X-Source": ["web"]})
        patched = await gateway.client.patch("/notes/7", content=b'{"title":"a"}', headers=JSON)
        assert read(patched).payload == '{"title":"a","id":"7"}'


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ('{"id":7}', [("/id", "it is a parameter of this route, and can't be in the body as well")]),
        ('{"\\u0069d":7}', [("/id", "it is a parameter of this route, and can't be in the body as well")]),
        ('{"ID":7}', [("/ID", "it is a parameter of this route, and can't be in the body as well")]),
        ('{"dry_run":false,"id":1}', [("/dry_run", "it is a parameter"), ("/id", "it is a parameter")]),
        ('{"a":"' + "x" * 40_000 + '","id":1}', [("/id", "it is a parameter")]),
        ("[]", [("", "it is not an object, and this route adds its parameters to it")]),
        ("[" + "1," * 20_000 + "1]", [("", "it is not an object")]),
        ("7", [("", "it is not an object")]),
        ("null", [("", "it is not an object")]),
        ("", [("", "it is empty")]),
        ('{"a":1,"a":2}', [("", "it has a key twice in one object")]),
        ('{"a":1}}', [("", "it is not JSON")]),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_body_into_which_parameters_can_not_go_is_refused(
    shared_nats: NatsServer, routes: RouteFile, body: str, errors: list[tuple[str, str]]
) -> None:
    async with (
        run_gateway(shared_nats.url, routes=routes) as gateway,
        RawPeer.connect(shared_nats.url, "test.>") as spy,
    ):
        response = await gateway.client.put("/merged/7", content=body.encode(), headers=JSON)
        assert read_problem(response)[:2] == (422, "invalid-body")
        told = [(error["pointer"].removeprefix("#"), error["detail"]) for error in response.json()["errors"]]
        assert [(where, what[: len(errors[n][1])]) for n, (where, what) in enumerate(told)] == errors
        await check_that_nothing_came(gateway, spy)


async def test_a_merge_takes_json_alone(shared_nats: NatsServer, routes: RouteFile) -> None:
    async with run_gateway(shared_nats.url, routes=routes) as gateway:
        for headers in ({"content-type": "text/plain"}, {**JSON, "content-encoding": "gzip"}):
            response = await gateway.client.put("/merged/7", content=b"{}", headers=headers)
            assert read_problem(response)[:2] == (415, "unsupported-media-type")
