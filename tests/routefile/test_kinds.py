"""Routes that publish, in a route file."""

from pathlib import Path

import pytest

from app.routefile.advice import find_advice
from app.routefile.load import load_route_file
from app.routing.kinds import Gather, Publish, RequestReply, Store, Subscribe
from tests.routefile.files import LEAST, read_faults


def write(more: str, method: str = "POST", head: str = "") -> str:
    method = "GET" if "method: GET" in more else method
    more = more.replace(", method: GET", "")
    return f"version: 1\n{head}routes:\n  - {{name: a, method: {method}, path: '/a/{{id}}', {more}}}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "routes.yaml"


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ("subject: 'a.{id}'", RequestReply()),
        ("subject: 'a.{id}', replies: {}", Gather()),
        (
            "subject: 'a.{id}', replies: {max: 3, stall: 1s, end: none, errors: fail, max_bytes: 2KiB}",
            Gather(3, 1.0, 2048, ends_empty=False, errors="fail"),
        ),
        ("publish: 'a.{id}'", Publish()),
        ("subscribe: 'a.{id}', method: GET", Subscribe()),
        (
            "subscribe: 'a.{id}', method: GET, event_header: X, encoding: base64, max_duration: 1m, max_streams: 2",
            Subscribe("X", "base64", 60.0, 2),
        ),
        ("subscribe: 'a.{id}', method: GET, stream: A, start: all", Subscribe(stream="A", start="all")),
        ("publish: 'a.{id}', stream: A", Store("A")),
        ("publish: 'a.{id}', stream: A, idempotency_key: required", Store("A", "required")),
    ],
)
def test_the_keys_choose_the_kind(more: str, kind: object, file: Path) -> None:
    file.write_text(write(more))
    (route,) = load_route_file(file).table.routes
    assert (route.kind, route.subject) == (kind, "a.{id}")


@pytest.mark.parametrize(
    ("more", "faults"),
    [
        ("timeout: 1s", ["routes[0].subject: is missing (or `publish` or `subscribe`)"]),
        ("subject: 'a.{id}', publish: 'a.{id}'", ["publish: \"a.{id}\": a route has either `subject` or `publish`"]),
        ("subject: 'a.{id}', stream: A", ['stream: "A": only a route with `publish` or `subscribe` has a stream']),
        ("publish: '{id}.a'", ["routes[0].publish: \"{id}.a\": subject '{id}.a' must begin with a literal"]),
        ("publish: 'a.{id}.*'", ["routes[0].publish: \"a.{id}.*\": subject 'a.{id}.*': a request goes to one subject"]),
        ("publish: 'a.{x}'", ["routes[0].path", "routes[0].publish: \"a.{x}\": subject parameter 'x' is neither"]),
        ("publish: 'a.{id}', stream: 'A.B'", ["routes[0].stream: \"A.B\": the name of a stream is 1 to 255 ASCII"]),
        ("publish: 'a.{id}', stream: ''", ["routes[0].stream: \"\": the name of a stream is 1 to 255 ASCII"]),
        (
            "publish: 'a.{id}', idempotency_key: required",
            ["routes[0].idempotency_key: \"required\": only a route with `publish` and `stream` reads it"],
        ),
        ("publish: 'a.{id}', reply: {status: 201}", ["routes[0].reply: nobody replies to a message that is published"]),
        ("publish: 'a.{id}', replies: {}", ["routes[0].replies: nobody replies to a message that is published"]),
        ("publish: 'a.{id}', stream: A, replies: {}", ["routes[0].replies: nobody replies to a message"]),
        ("subject: 'a.{id}', replies: {max: 0}", ["replies.max: 0: must be 1 or more"]),
        ("subject: 'a.{id}', replies: {max: 10001}", ["replies.max: 10001: must be at most 10000"]),
        ("subject: 'a.{id}', replies: {stall: 0s}", ["replies.stall: \"0s\": a duration is a number above 0"]),
        ("subject: 'a.{id}', replies: {max_bytes: 17MiB}", ["replies.max_bytes: \"17MiB\": it is 1 to 16MiB"]),
        ("subject: 'a.{id}', replies: {mx: 1}", ["replies.mx: unknown key, did you mean `max`?"]),
        ("subject: 'a.{id}', replies: {}, reply: {wrap: message}", ["reply.wrap: \"message\": many replies are"]),
        ("subject: 'a.{id}', replies: {}, reply: {status: 201}", ["reply.status: 201: the status of many replies"]),
        ("subscribe: 'a.{id}'", ["routes[0].method: \"POST\": a subscription is a GET"]),
        ("subscribe: 'a.{id}', method: GET, payload: params", ["routes[0].payload: \"params\": a subscription sends"]),
        ("subscribe: 'a.{id}', method: GET, send_headers: {A: b}", ["routes[0].send_headers: a subscription sends"]),
        ("subscribe: 'a.{id}', method: GET, reply: {wrap: message}", ["routes[0].reply: only `schema` has a meaning"]),
        ("subscribe: 'a.{id}', method: GET, event_header: 'a b'", ["event_header: \"a b\": must be the name"]),
        ("subscribe: 'a.{id}', method: GET, max_body: 1KiB", ["max_body: \"1KiB\": this route sends no body"]),
        ("subject: 'a.{id}', start: all", ["start: \"all\": only a route with `subscribe` and `stream` reads it"]),
        (
            "subscribe: 'a.{id}', method: GET, stream: A, idempotency_key: required",
            ["routes[0].idempotency_key: \"required\": only a route with `publish` and `stream` reads it"],
        ),
        ("subscribe: 'a.{id}', method: GET, publish: a", ["routes[0].subscribe: \"a.{id}\": a route has either"]),
        ("subject: 'a.{id}', max_streams: 2", ["routes[0].max_streams: 2: only a route with `subscribe` reads it"]),
        ("publsh: 'a.{id}'", ["routes[0].publsh: unknown key, did you mean `publish`?"]),
        ("subjct: 'a.{id}'", ["routes[0].subjct: unknown key, did you mean `subject`?"]),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(more: str, faults: list[str], file: Path) -> None:
    found = read_faults(file, write(more))
    assert len(found) == len(faults)
    for line, expected in zip(found, faults, strict=True):
        assert expected in line


def test_a_route_that_publishes_takes_no_reply_and_no_key_from_the_defaults(file: Path) -> None:
    head = "defaults: {reply: {wrap: message}, idempotency_key: required}\n"
    file.write_text(write("publish: 'a.{id}'", head=head) + "  - {name: b, method: POST, path: /b, subject: b}\n")
    one, other = load_route_file(file).table.routes
    assert (one.reply.wrap, other.reply.wrap) == (None, "message")


def test_a_route_with_many_replies_takes_the_deadline_of_within(file: Path) -> None:
    file.write_text(
        write("subject: 'a.{id}', timeout: 1s, replies: {within: 3s}", head="defaults: {reply: {wrap: message}}\n")
    )
    (route,) = load_route_file(file).table.routes
    assert (route.timeout, route.reply.wrap) == (3.0, None)


def test_a_get_that_publishes_gets_a_warning(file: Path) -> None:
    file.write_text(write("publish: 'a.{id}'", method="[GET, POST]"))
    advice = find_advice(load_route_file(file), pages=(), can_be_shown=False, now=0.0)
    assert list(advice) == ["route 'a': a GET publishes: browsers and caches may repeat or skip it"]


def test_a_plain_route_is_a_request(file: Path) -> None:
    file.write_text(LEAST)
    (route,) = load_route_file(file).table.routes
    assert route.kind == RequestReply()
