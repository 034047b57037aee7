"""What an editor shows red by routes.schema.json, beside what `nats-http check` refuses."""

from pathlib import Path

import jsonschema_rs
import pytest

from app.routefile.editor_schema import build_schema
from app.routefile.load import RouteFileError, load_route_file
from app.routefile.yamlparser import parse_yaml

FILE = """\
version: 1
info: {title: Shop}
routes:
  - name: order
    method: POST
    path: /orders/{id}
    subject: orders.{id}
"""
SCHEMA = jsonschema_rs.validator_for(build_schema())

# Each is one mistake: a line of the file, and what stands in its place.
SEEN = [
    ("version: 1", "version: 2"),
    ("version: 1", "version: '1'"),
    ("version: 1", "verion: 1"),
    ("version: 1\n", ""),
    ("info: {title: Shop}", "info: {titel: Shop}"),
    ("info: {title: Shop}", "info: Shop"),
    ("info: {title: Shop}", "info: {title: ''}"),
    ("info: {title: Shop}", "info: {title: 7}"),
    ("info: {title: Shop}", "infos: {title: Shop}"),
    ("info: {title: Shop}", "defaults: {timeout: 2}"),
    ("info: {title: Shop}", "defaults: {name: a}"),
    ("info: {title: Shop}", "schemas: {a b: {}}"),
    ("info: {title: Shop}", "schemas: {A: {type: objct}}"),
    ("info: {title: Shop}", "include: 7"),
    ("info: {title: Shop}", "auth: {}"),
    ("info: {title: Shop}", "auth: {a: {type: api_key, header: X, file: k.yaml}}"),
    ("info: {title: Shop}", "auth: {a: {type: api-key, header: X}}"),
    ("info: {title: Shop}", "auth: {a: {type: jwt, issuer: i, jwks_url: 'https://a.example/'}}"),
    ("info: {title: Shop}", "prefix: v1"),
    ("info: {title: Shop}", "prefix: /v1/"),
    ("name: order", "name: an order"),
    ("name: order", "name: 7"),
    ("method: POST", "method: post"),
    ("method: POST", "method: HEAD"),
    ("method: POST", "method: []"),
    ("method: POST", "method: [POST, POST]"),
    ("method: POST", "methods: POST"),
    ("path: /orders/{id}", "path: orders/{id}"),
    ("path: /orders/{id}", "path: /orders/:id"),
    ("path: /orders/{id}", "path: /orders/{id}/"),
    ("path: /orders/{id}", "path: /orders//{id}"),
    ("path: /orders/{id}", "path: /orders/a b/{id}"),
    ("path: /orders/{id}", "path: /orders/{id}?x=1"),
    ("path: /orders/{id}", "path: /orders/{id*}"),
    ("path: /orders/{id}", "path: /{id}"),
    ("path: /orders/{id}", "path: /orders/{id...}/x"),
    ("path: /orders/{id}", "path: /orders/../{id}"),
    ("path: /orders/{id}", "path: '/orders/v{id}'"),
    ("subject: orders.{id}", "subject: $SYS.{id}"),
    ("subject: orders.{id}", "subject: orders.*"),
    ("subject: orders.{id}", "subject: orders..{id}"),
    ("subject: orders.{id}", "subject: '{id}.orders'"),
    ("subject: orders.{id}", "subject: orders {id}"),
    ("subject: orders.{id}", "subject: orders.{id...}.x"),
    ("subject: orders.{id}", "subject: {id}"),
    ("", "    timeout: 2"),
    ("", "    timeout: 2 s"),
    ("", "    max_body: 1GB"),
    ("", "    max_body: -1"),
    ("", "    max_in_flight: 0"),
    ("", "    max_in_flight: many"),
    ("", "    payload: json"),
    ("", "    query: lax"),
    ("", "    deprecated: maybe"),
    ("", "    tags: orders"),
    ("", "    params: {id: {type: int}}"),
    ("", "    params: {id: {minimum: 1}}"),
    ("", "    params: {id: {in: body}}"),
    ("", "    params: {id: {token: hex}}"),
    ("", "    params: {id: {max_length: -1}}"),
    ("", "    params: {id: {format: uid}}"),
    ("", "    params: [id]"),
    ("", "    body_schema: {type: objct}"),
    ("", "    body_schema: 5"),
    ("", "    headers: [{name: x-a}]"),
    ("", "    send_headers: {x-a: 1}"),
    ("", "    reply: {wrap: text}"),
    ("", "    reply: {status: ok}"),
    ("", "    reply: {errors: {a b: 409}}"),
    ("", "    reply: {statuses: {2xx: {}}}"),
    ("", "    reply: {content-type: text/csv}"),
    ("", "    content_length: yes"),
    ("", "    auth: {any: []}"),
    ("", "    auth: {scopes: [a]}"),
    ("", "    cors: all"),
    ("", "    cors: {}"),
    ("", "    cors: {allow_origin: '*'}"),
    ("", "    cors: {allow_origins: 7}"),
    ("", "    cors: {allow_origins: '*', allow_methods: [get]}"),
    ("", "    cors: {allow_origins: '*', max_age: -1}"),
    ("info: {title: Shop}", "cors: none"),
]
# A schema knows nothing of how parts fit together, of files, of names that are taken, and of texts with rules of their
# own, such as headers and networks.
UNSEEN = [
    ("path: /orders/{id}", "path: /orders/{key}"),
    ("path: /orders/{id}", "path: /docs/{id}"),
    ("subject: orders.{id}", "subject: orders.{id...}"),
    ("subject: orders.{id}", "subject: orders.${UNSET_VARIABLE}"),
    ("", "    params: {q: {}}"),
    ("", "    params: {id: {min: 5}}"),
    ("", "    params: {id: {pattern: '('}}"),
    ("", "    params: {id: {token: escaped, default: a}}"),
    ("", "    headers: [host]"),
    ("", "    allow_from: 10.0.0.0/99"),
    ("", "    auth: nobody"),
    ("", "    cors: {allow_origins: 'https://a.example/'}"),
    ("", "    cors: {allow_origins: '*', allow_credentials: true}"),
    ("", "    body_schema: nowhere.json"),
    ("", "    body_schema: {$ref: '#/schemas/Order'}"),
    ("", "    reply: {status: 100}"),
    ("", "    reply: {validate: true}"),
    ("", "    timeout: 9s\n    max_timeout: 2s"),
    ("info: {title: Shop}", "include: [nowhere.yaml]"),
]


def write(place: str, mistake: str) -> str:
    if not place:
        return f"{FILE}{mistake}\n"
    assert place in FILE
    return FILE.replace(place, mistake)


def test_the_file_without_a_mistake_is_right_for_both(tmp_path: Path) -> None:
    check(tmp_path, FILE)
    assert SCHEMA.is_valid(parse_yaml(FILE.encode()).data)


@pytest.mark.parametrize(("place", "mistake"), SEEN, ids=lambda text: text.strip()[:40])
def test_an_editor_shows_red_what_check_refuses(tmp_path: Path, place: str, mistake: str) -> None:
    text = write(place, mistake)
    assert not SCHEMA.is_valid(parse_yaml(text.encode()).data)
    with pytest.raises(RouteFileError):
        check(tmp_path, text)


@pytest.mark.parametrize(("place", "mistake"), UNSEEN, ids=lambda text: text.strip()[:40])
def test_what_a_schema_can_not_know_only_check_refuses(tmp_path: Path, place: str, mistake: str) -> None:
    text = write(place, mistake)
    assert SCHEMA.is_valid(parse_yaml(text.encode()).data)
    with pytest.raises(RouteFileError):
        check(tmp_path, text)


def test_there_are_at_least_60_mistakes() -> None:
    assert len(SEEN) >= 60


@pytest.mark.parametrize(
    ("place", "right"),
    [
        ("", "    timeout: ${TIMEOUT}"),
        ("", "    max_in_flight: ${PLACES:-7}"),
        ("", "    deprecated: ${OLD:-true}"),
        ("", "    payload: ${PAYLOAD:-body}"),
        ("", "    params: {id: {min: '${MIN}'}}"),
        ("path: /orders/{id}", "path: /${BASE}/{id}"),
        ("path: /orders/{id}", "path: /orders/{id}/a:b@c/{rest...}"),
        ("subject: orders.{id}", "subject: ${BASE:-orders}.{id}"),
        ("subject: orders.{id}", "subject: orders.{id}.{rest...}"),
    ],
    ids=lambda text: text.strip()[:40],
)
def test_an_editor_leaves_variables_and_all_that_is_right_alone(place: str, right: str) -> None:
    assert SCHEMA.is_valid(parse_yaml(write(place, right).encode()).data)


def check(folder: Path, text: str) -> None:
    path = folder / "routes.yaml"
    path.write_text(text)
    load_route_file(path)


def test_the_schema_says_what_it_is() -> None:
    schema = build_schema()
    assert schema["title"] == "Route file of nats-http-gateway"
    assert schema["$id"] == "urn:nats-http-gateway:routes:1"
