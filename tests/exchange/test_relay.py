import json
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.edge.request import Caller, Request
from app.errors import (
    ERRORS,
    Draining,
    Forbidden,
    GatewayError,
    NoResponders,
    NotConnected,
    PermissionDenied,
    RequestTimeout,
    Timeout,
)
from app.exchange.outbound import Outbound, body_too_large
from app.exchange.plans import Limits
from app.exchange.relay import Relay
from app.exchange.request_fields import choose_relevant
from app.exchange.responses import Fields, Response
from app.exchange.way_out import WayOut
from app.formats.fields import MAX_BLOCK, Pair, is_clean_request_id
from app.formats.messages import Reply, parse_block
from app.observe.record import Observers, Record
from app.routing.routes import ReplyRules, Route
from app.routing.table import RouteTable
from app.routing.words import METHODS, Payload

ROUTES = (
    Route(
        name="greet", methods=("GET",), path="/greet/{name}", subject="greet.{name}", reply=ReplyRules(wrap="message")
    ),
    Route(name="store", methods=("POST", "PUT"), path="/store/{id}", subject="store.{id}", payload="body"),
    Route(name="small", methods=("POST",), path="/small", subject="small", payload="body", max_body=10, timeout=5.0),
    Route(name="slow", methods=("GET",), path="/slow", subject="slow", timeout=7.0, max_timeout=8.0),
    Route(name="capped", methods=("GET",), path="/capped", subject="capped", max_timeout=1.0, headers=("X-Tenant",)),
    Route(name="endless", methods=("GET",), path="/endless", subject="endless", timeout=99.0, max_timeout=99.0),
    Route(name="big", methods=("POST",), path="/big", subject="big", payload="body", max_body=10_000),
    Route(name="long", methods=("GET",), path="/long/{a}/{b}/{c}/{d}/{e}", subject="long.{a}.{b}.{c}.{d}.{e}"),
)
CALLER = Caller(address="192.0.2.1", scheme="http", lane="fast")
NOSNIFF = (b"x-content-type-options", b"nosniff")


def make_relay(*, observers: Observers | None = None) -> Relay:
    limits = Limits(timeout=2.0, max_timeout=30.0, max_body=1000)
    return Relay(RouteTable(ROUTES), limits, WayOut(observers or Observers()))


def make_request(path: bytes = b"/greet/sue", *headers: Pair, method: str = "GET", received: float = 0.0) -> Request:
    return Request(
        method=method, path=path, query=b"", headers=headers, version="1.1", received=received, caller=CALLER
    )


def begin(path: bytes = b"/greet/sue", *headers: Pair, method: str = "GET", relay: Relay | None = None) -> Outbound:
    outbound = (relay or make_relay()).begin(make_request(path, *headers, method=method))
    assert isinstance(outbound, Outbound)
    return outbound


def block_of(outbound: Outbound, *lines: bytes) -> bytes:
    """A header block of these lines, and the request id, which every service gets."""
    request_id = b"x-request-id: " + outbound.request_id.encode()
    return b"\r\n".join([b"NATS/1.0", *lines, request_id, b"", b""])


def refuse(path: bytes, *headers: Pair, method: str = "GET") -> tuple[Response, dict[str, Any]]:
    """The response that stands there at once, and its problem."""
    response = make_relay().begin(make_request(path, *headers, method=method))
    assert isinstance(response, Response)
    return response, read_problem(response)


def read_problem(response: Response) -> dict[str, Any]:
    assert (b"content-type", b"application/problem+json") in response.headers
    assert (b"cache-control", b"no-store") in response.headers
    problem = json.loads(response.body)
    assert isinstance(problem, dict)
    assert problem["status"] == response.status
    assert (b"x-request-id", problem["request_id"].encode()) in response.headers
    return problem


def answer(block: bytes = b"", payload: bytes = b"", *, path: bytes = b"/store/1", method: str = "POST") -> Response:
    """The response to a reply."""
    relay = make_relay()
    outbound = begin(path, (b"x-request-id", b"r-1"), method=method, relay=relay)
    return relay.finish(outbound, Reply(block, payload))


# What is sent


def test_a_request_becomes_a_subject_with_a_deadline_and_nothing_else() -> None:
    request = make_request(b"/greet/Jos%C3%A9", received=100.0)
    outbound = make_relay().begin(request)
    assert isinstance(outbound, Outbound)
    assert (outbound.request, outbound.route) == (request, ROUTES[0])
    assert (outbound.subject, outbound.headers, outbound.payload) == ("greet.José", block_of(outbound), b"")
    assert (outbound.timeout, outbound.deadline) == (2.0, 102.0)
    assert outbound.max_body is None
    assert outbound.prefers_text is False


def test_head_is_sent_as_get() -> None:
    assert begin(method="HEAD").subject == "greet.sue"


@pytest.mark.parametrize("path", [b"/", b"", b"/greet", b"/greet/sue/", b"/greet/a/b", b"/docs", b"/*"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "BREW"])
def test_a_path_of_no_route_is_left_to_others(path: bytes, method: str) -> None:
    assert make_relay().begin(make_request(path, method=method)) is None


@pytest.mark.parametrize(
    ("path", "status", "slug", "detail"),
    [
        (b"/greet/a.b", 422, "invalid-parameter", "Path parameter 'name' has the character U+002E, "),
        (b"/greet/%3E", 422, "invalid-parameter", "Path parameter 'name' has the character U+003E, "),
        (b"/greet/%FF", 422, "invalid-parameter", "Path parameter 'name' is not valid UTF-8."),
        (b"/greet/", 422, "invalid-parameter", "Path parameter 'name' is empty."),
        (b"/greet/" + b"x" * 129, 414, "uri-too-long", "Path parameter 'name' has more than 128 characters."),
        (
            b"/long" + 5 * (b"/" + b"%F0%9F%98%80" * 128),
            414,
            "uri-too-long",
            "The path makes a subject of more than 2048",
        ),
    ],
)
def test_a_parameter_that_is_no_token_is_answered_at_once(path: bytes, status: int, slug: str, detail: str) -> None:
    response, problem = refuse(path)
    assert (response.status, problem["type"], problem["delivered"]) == (status, f"/problems/{slug}", "no")
    assert problem["detail"].startswith(detail)


# Headers for the service


def test_only_listed_headers_travel_and_as_the_route_spells_them() -> None:
    sent = [(b"x-tenant", b"a"), (b"cookie", b"b"), (b"traceparent", b"c"), (b"x-tenant", b"d"), (b"nats-x", b"e")]
    assert begin(b"/capped", *sent).headers == b"NATS/1.0\r\nX-Tenant: a\r\nX-Tenant: d\r\n\r\n"


@pytest.mark.parametrize(
    "name", [b"x-request-timeout", b"accept", b"content-length", b"connection", b"host", b"cookie"]
)
def test_what_the_gateway_heeds_itself_does_not_travel(name: bytes) -> None:
    outbound = begin(b"/greet/sue", (name, b"1s"))
    assert outbound.headers == block_of(outbound)


def test_what_connection_nominates_does_not_travel() -> None:
    sent = [
        (b"tracestate", b"a"),
        (b"connection", b"close"),
        (b"traceparent", b"b"),
        (b"connection", b"x, TraceParent"),
    ]
    outbound = begin(b"/greet/sue", *sent)
    assert outbound.headers == block_of(outbound, b"tracestate: a")


def test_only_connection_nominates() -> None:
    sent = [(b"tracestate", b"traceparent"), (b"traceparent", b"tracestate")]
    outbound = begin(b"/greet/sue", *sent)
    assert outbound.headers == block_of(outbound, b"tracestate: traceparent", b"traceparent: tracestate")


@pytest.mark.parametrize("value", [b"a\r\nNats-X: b", b"a\nb", b"\x00", b"\x7f"])
def test_a_value_with_a_control_character_is_refused(value: bytes) -> None:
    response, problem = refuse(b"/greet/sue", (b"tracestate", value))
    assert (response.status, problem["detail"]) == (422, "Header tracestate has a control character.")


def test_headers_that_travel_have_at_most_16_kib_together() -> None:
    frame = len(b"NATS/1.0\r\ntracestate: \r\nx-request-id: r\r\n\r\n")
    most = b"x" * (16 * 1024 - frame)
    mine = (b"x-request-id", b"r")
    assert len(begin(b"/greet/sue", (b"tracestate", most), mine).headers) == 16 * 1024
    response, problem = refuse(b"/greet/sue", (b"tracestate", most + b"x"), mine)
    assert (response.status, problem["type"]) == (431, "/problems/headers-too-large")
    assert "16385 bytes; at most 16384" in problem["detail"]
    outbound = begin(b"/greet/sue", (b"cookie", most * 2))
    assert outbound.headers == block_of(outbound)


@pytest.mark.parametrize(("accept", "plain"), [(b"text/plain", True), (b"application/json", False)])
def test_only_a_wrapping_route_heeds_accept(accept: bytes, plain: bool) -> None:
    assert begin(b"/greet/sue", (b"accept", accept)).prefers_text is plain
    assert begin(b"/slow", (b"accept", accept)).prefers_text is False


def test_only_accept_says_what_the_caller_prefers() -> None:
    assert not begin(b"/greet/sue", (b"tracestate", b"text/plain")).prefers_text


def test_several_accept_headers_are_one_list() -> None:
    assert begin(b"/greet/sue", (b"accept", b"application/json;q=0.1"), (b"accept", b"text/plain")).prefers_text


# Time


@pytest.mark.parametrize(
    ("path", "asked", "timeout"),
    [
        (b"/greet/sue", None, 2.0),
        (b"/greet/sue", b"500ms", 0.5),
        (b"/greet/sue", b"10s", 10.0),
        (b"/greet/sue", b"30s", 30.0),
        (b"/greet/sue", b"31s", 30.0),
        (b"/greet/sue", b"999999999m", 30.0),
        (b"/slow", None, 7.0),
        (b"/slow", b"1s", 1.0),
        (b"/slow", b"9s", 8.0),
        (b"/capped", None, 1.0),
        (b"/capped", b"2s", 1.0),
        (b"/endless", None, 30.0),
        (b"/endless", b"1m", 30.0),
    ],
)
def test_the_timeout_is_the_callers_else_the_routes_else_the_default_and_capped(
    path: bytes, asked: bytes | None, timeout: float
) -> None:
    headers = [(b"x-request-timeout", asked)] if asked else []
    outbound = make_relay().begin(make_request(path, *headers, received=1000.0))
    assert isinstance(outbound, Outbound)
    assert (outbound.timeout, outbound.deadline) == (timeout, 1000.0 + timeout)


@pytest.mark.parametrize("asked", [b"", b"2", b"0s", b"-1s", b"1h", b"2s, 3s", b"\xff", b"nan"])
def test_what_is_not_a_duration_is_refused(asked: bytes) -> None:
    response, problem = refuse(b"/greet/sue", (b"x-request-timeout", asked))
    assert (response.status, problem["type"]) == (422, "/problems/invalid-parameter")
    assert problem["detail"].startswith("Header X-Request-Timeout is not a duration: a duration is a number above 0")


def test_two_timeouts_in_one_request_are_refused() -> None:
    response, problem = refuse(b"/greet/sue", (b"x-request-timeout", b"1s"), (b"x-request-timeout", b"1s"))
    assert response.status == 422
    assert problem["detail"] == "Header X-Request-Timeout is in the request more than once."


@pytest.mark.parametrize(("asked", "said"), [(None, "2s"), (b"500ms", "500ms"), (b"1.5s", "1.5s"), (b"9m", "30s")])
def test_a_timeout_becomes_504_and_says_how_long_it_was(asked: bytes | None, said: str) -> None:
    relay = make_relay()
    outbound = begin(b"/greet/sue", *([(b"x-request-timeout", asked)] if asked else []), relay=relay)
    problem = read_problem(relay.finish(outbound, Timeout()))
    assert (problem["status"], problem["delivered"], problem["retryable"]) == (504, "unknown", False)
    assert problem["detail"] == f"The service did not reply within {said}."


# The body


@pytest.mark.parametrize(("path", "limit"), [(b"/store/1", 1000), (b"/small", 10), (b"/big", 1000)])
def test_a_body_is_limited_by_its_route_and_by_the_gateway(path: bytes, limit: int) -> None:
    assert begin(path, method="POST").max_body == limit
    assert begin(path, (b"content-length", b"%d" % limit), method="POST").max_body == limit
    response, problem = refuse(path, (b"content-length", b"%d" % (limit + 1)), method="POST")
    assert (response.status, problem["type"]) == (413, "/problems/payload-too-large")
    assert problem["detail"] == f"The body is larger than the {limit} bytes that this route accepts."


@pytest.mark.parametrize("length", [b"9" * 19, b"9" * 10_000])
def test_a_content_length_of_any_size_is_too_large(length: bytes) -> None:
    assert refuse(b"/small", (b"content-length", length), method="POST")[0].status == 413


@pytest.mark.parametrize("length", [b"5", b"99999", b"junk"])
def test_a_route_without_payload_takes_no_body_whatever_its_length(length: bytes) -> None:
    assert begin(b"/greet/sue", (b"content-length", length)).max_body is None


NO_BODY = {
    "params": "This route accepts no body: it sends its parameters.",
    "none": "This route accepts no body: it sends an empty message.",
}


@pytest.mark.parametrize("payload", ["params", "none"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("field", [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")])
def test_a_body_that_would_be_dropped_is_refused_with_the_reason(payload: Payload, method: str, field: Pair) -> None:
    methods = ("GET", "POST", "PUT", "PATCH", "DELETE")
    route = Route(name="a", methods=methods, path="/a", subject="a", payload=payload)
    limits = Limits(timeout=1, max_timeout=1, max_body=1)
    relay = Relay(RouteTable([route]), limits, WayOut(Observers()))
    refused = relay.begin(make_request(b"/a", field, method=method))
    assert isinstance(refused, Response)
    assert (refused.status, read_problem(refused)["detail"]) == (415, NO_BODY[payload])
    for others in ([(b"content-length", b"0")], []):
        assert isinstance(relay.begin(make_request(b"/a", *others, method=method)), Outbound)
    for other in ("GET", "DELETE"):
        assert isinstance(relay.begin(make_request(b"/a", field, method=other)), Outbound)


def test_the_lane_refuses_a_body_with_the_same_words() -> None:
    assert body_too_large(10).detail == "The body is larger than the 10 bytes that this route accepts."


# The request id


@pytest.mark.parametrize("path", [b"/greet/sue", b"/greet/a.b"])
def test_a_clean_request_id_comes_back(path: bytes) -> None:
    relay = make_relay()
    begun = relay.begin(make_request(path, (b"x-request-id", b"A.z_0-9")))
    assert isinstance(begun, Outbound | Response)
    response = relay.finish(begun, Reply(b"", b"x")) if isinstance(begun, Outbound) else begun
    assert response.headers.count((b"x-request-id", b"A.z_0-9")) == 1
    assert [name for name, _ in response.headers].count(b"x-request-id") == 1


@pytest.mark.parametrize("unclean", [b"", b"a b", b"\xff", b"x" * 129, b"<script>"])
def test_an_unclean_request_id_is_replaced_both_ways(unclean: bytes) -> None:
    outbound = begin(b"/greet/sue", (b"x-request-id", unclean))
    assert is_clean_request_id(outbound.request_id.encode())
    assert outbound.request_id != unclean.decode("latin-1")
    assert outbound.headers == block_of(outbound)


def test_made_request_ids_are_clean_and_never_the_same() -> None:
    relays = [make_relay(), make_relay()]
    ids = [begin(relay=relay).request_id for relay in relays for _ in range(100)]
    assert len(set(ids)) == len(ids)
    assert all(is_clean_request_id(made.encode()) for made in ids)


def test_the_first_clean_request_id_counts() -> None:
    sent = [(b"x-request-id", b"not clean"), (b"x-request-id", b"one"), (b"x-request-id", b"two")]
    assert begin(b"/greet/sue", *sent).request_id == "one"


# Methods


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        (b"/greet/sue", b"GET, HEAD, OPTIONS"),
        (b"/store/1", b"POST, PUT, OPTIONS"),
        (b"*", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    ],
)
def test_options_answers_204_with_allow_and_sends_nothing(path: bytes, allow: bytes) -> None:
    response = make_relay().begin(make_request(path, (b"x-request-id", b"r-1"), method="OPTIONS"))
    assert isinstance(response, Response)
    assert (response.status, response.body) == (204, b"")
    assert response.headers == [(b"allow", allow), (b"x-request-id", b"r-1"), NOSNIFF]


@pytest.mark.parametrize(
    ("path", "method", "allow"),
    [
        (b"/greet/sue", "POST", "GET, HEAD, OPTIONS"),
        (b"/greet/a.b", "DELETE", "GET, HEAD, OPTIONS"),
        (b"/store/1", "GET", "POST, PUT, OPTIONS"),
        (b"/store/1", "TRACE", "POST, PUT, OPTIONS"),
        (b"/store/1", "post", "POST, PUT, OPTIONS"),
    ],
)
def test_another_method_answers_405_with_allow(path: bytes, method: str, allow: str) -> None:
    response, problem = refuse(path, method=method)
    assert (response.status, problem["type"]) == (405, "/problems/method-not-allowed")
    assert [value for name, value in response.headers if name == b"allow"] == [allow.encode()]
    assert problem["detail"] == f"This path allows {allow}."


def test_head_of_a_path_without_get_answers_405_without_a_body() -> None:
    response = make_relay().begin(make_request(b"/store/1", method="HEAD"))
    assert isinstance(response, Response)
    assert (response.status, response.body) == (405, b"")


# Responses


def test_the_headers_of_a_response_are_complete() -> None:
    assert answer(b"NATS/1.0\r\nETag: 1\r\nHttp-Status: 201\r\n\r\n", b"done").headers == [
        (b"etag", b"1"),
        (b"content-type", b"application/octet-stream"),
        (b"x-request-id", b"r-1"),
        NOSNIFF,
        (b"content-length", b"4"),
    ]


def test_the_headers_of_a_problem_are_complete() -> None:
    relay = make_relay()
    response = relay.refuse(begin(b"/greet/sue", (b"x-request-id", b"r-1"), relay=relay), Draining())
    assert response.headers == [
        (b"content-type", b"application/problem+json"),
        (b"cache-control", b"no-store"),
        (b"vary", b"Accept"),
        (b"retry-after", b"1"),
        (b"connection", b"close"),
        (b"x-request-id", b"r-1"),
        NOSNIFF,
        (b"content-length", b"%d" % len(response.body)),
    ]


def test_a_route_looks_at_accept_only_where_it_chooses_by_it_or_passes_it_on() -> None:
    chooses, neither = ROUTES[:2]
    passes = Route(name="passes", methods=("GET",), path="/passes", subject="passes", headers=("Accept",))
    assert [b"accept" in choose_relevant(route) for route in (chooses, passes, neither)] == [True, True, False]


def test_a_reply_of_a_wrapping_route_comes_as_the_caller_prefers_it() -> None:
    relay = make_relay()
    reply = Reply(b"", b"hello, sue")
    assert relay.finish(begin(relay=relay), reply).body == b'{"message":"hello, sue"}'
    assert relay.finish(begin(b"/greet/sue", (b"accept", b"text/plain"), relay=relay), reply).body == b"hello, sue"


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_content_has_no_body_and_no_length(status: int) -> None:
    response = answer(b"NATS/1.0\r\nHttp-Status: %d\r\n\r\n" % status, b"a body")
    assert (response.status, response.body) == (status, b"")
    assert b"content-length" not in dict(response.headers)


def test_a_reset_content_has_no_body_but_its_length() -> None:
    response = answer(b"NATS/1.0\r\nHttp-Status: 205\r\n\r\n", b"a body")
    assert (response.status, response.body) == (205, b"")
    assert (b"content-length", b"0") in response.headers


def test_head_has_the_length_of_the_body_that_get_would_have() -> None:
    relay = make_relay()
    sent = (b"x-request-id", b"r-1")
    head, get = (
        relay.finish(begin(b"/greet/sue", sent, method=method, relay=relay), Reply(b"", b"hello, sue"))
        for method in ("HEAD", "GET")
    )
    assert (head.status, head.headers, head.body) == (get.status, get.headers, b"")
    assert (b"content-length", b"24") in head.headers


def test_the_problem_of_a_head_request_has_no_body_but_its_length() -> None:
    head = make_relay().begin(make_request(b"/greet/a.b", (b"x-request-id", b"r"), method="HEAD"))
    get = make_relay().begin(make_request(b"/greet/a.b", (b"x-request-id", b"r")))
    assert isinstance(head, Response)
    assert isinstance(get, Response)
    assert (head.headers, head.body) == (get.headers, b"")


@pytest.mark.parametrize("error", [error for error in ERRORS if error is not Timeout], ids=lambda error: error.slug)
def test_any_failure_becomes_its_problem(error: type[GatewayError]) -> None:
    relay = make_relay()
    outbound = begin(relay=relay)
    finished, refused = relay.finish(outbound, error("Words.")), relay.refuse(outbound, error("Words."))
    tells_subject = error in (NoResponders, PermissionDenied)
    assert finished == replace(refused, facts=(("subject", "greet.sue"),) if tells_subject else refused.facts)
    problem = read_problem(finished)
    assert (problem["type"], problem["status"]) == (f"/problems/{error.slug}", error.status)
    assert (problem["delivered"], problem["retryable"]) == (error.delivered, error.retryable)
    assert (problem["detail"], problem["instance"]) == ("Words.", "/greet/sue")
    assert set(error.headers) <= set(finished.headers)


def test_a_bad_reply_and_a_service_error_are_problems_that_say_the_service_has_run() -> None:
    bad = read_problem(answer(b"NATS/1.0\r\nHttp-Status: 99\r\n\r\n"))
    error = read_problem(answer(b"NATS/1.0\r\nNats-Service-Error-Code: 404\r\nNats-Service-Error: Gone\r\n\r\n"))
    assert (bad["type"], bad["status"], bad["delivered"]) == ("/problems/bad-reply", 502, "yes")
    assert (error["type"], error["status"], error["delivered"]) == ("/problems/service-error", 404, "yes")
    assert error["detail"] == "Gone"


def test_a_bug_becomes_500_under_the_callers_request_id() -> None:
    response = make_relay().fail(make_request(b"/greet/sue", (b"x-request-id", b"r-1")))
    problem = read_problem(response)
    assert (problem["type"], problem["request_id"], problem["delivered"]) == ("/problems/internal", "r-1", "unknown")
    assert is_clean_request_id(read_problem(make_relay().fail(make_request()))["request_id"].encode())


def test_a_raw_path_stands_in_its_problem_as_it_came() -> None:
    assert refuse(b'/greet/%2E"\xff')[1]["instance"] == '/greet/%2E"\xff'
    assert "instance" not in refuse(b"/greet/." + b"x" * 600)[1]


# Observers


SERVICE_500 = Reply(b"NATS/1.0\r\nNats-Service-Error-Code: 500\r\n\r\n", b"body")
SERVICE_404 = Reply(b"NATS/1.0\r\nNats-Service-Error-Code: 404\r\n\r\n", b"")
OWN_503 = Reply(b"NATS/1.0\r\nHttp-Status: 503\r\n\r\n", b"")
BAD = Reply(b"junk", b"")


@pytest.mark.parametrize(
    ("method", "path", "outcome", "expected"),
    [
        ("GET", b"/greet/sue", Reply(b"", b"x"), ("greet", 200, None, "yes")),
        ("HEAD", b"/greet/sue", Reply(b"", b"x"), ("greet", 200, None, "yes")),
        ("GET", b"/greet/sue", SERVICE_404, ("greet", 404, "service-error", "yes")),
        ("GET", b"/greet/sue", SERVICE_500, ("greet", 500, "service-error", "yes")),
        ("GET", b"/greet/sue", OWN_503, ("greet", 503, None, "yes")),
        ("GET", b"/greet/sue", BAD, ("greet", 502, "bad-reply", "yes")),
        ("GET", b"/greet/sue", Timeout(), ("greet", 504, "timeout", "unknown")),
        ("GET", b"/greet/sue", NotConnected(), ("greet", 503, "not-connected", "no")),
        ("POST", b"/small", RequestTimeout(), ("small", 408, "request-timeout", "no")),
        ("GET", b"/greet/a.b", None, ("greet", 422, "invalid-parameter", "no")),
        ("POST", b"/greet/sue", None, (None, 405, "method-not-allowed", "no")),
        ("OPTIONS", b"/greet/sue", None, (None, 204, None, "no")),
    ],
)
def test_a_response_says_for_its_record_what_the_table_says(
    method: str, path: bytes, outcome: Reply | GatewayError | None, expected: tuple[str | None, int, str | None, str]
) -> None:
    records: list[Record] = []
    relay = make_relay(observers=Observers(failure=(records.append,), other=(records.append,)))
    request = make_request(path, (b"x-request-id", b"r-1"), method=method, received=time.monotonic() - 1)
    begun = relay.begin(request)
    if outcome is not None:
        assert isinstance(begun, Outbound)
        begun = relay.finish(begun, outcome)
    assert isinstance(begun, Response)
    assert records == []  # it is not written yet
    relay.way_out.leave(begun, request, CALLER, bytes_in=7)
    (record,) = records
    assert (record.route, record.status, record.slug, record.delivered) == expected
    assert (record.method, record.request_id, record.version, record.peer) == (method, "r-1", "1.1", "192.0.2.1")
    assert (record.bytes_in, record.bytes_out, record.is_written) == (7, len(begun.body), True)
    assert 1 <= record.duration < 60
    assert (record.reply_time is not None) == isinstance(outcome, Reply)


def test_a_record_of_what_could_not_be_written_counts_no_bytes() -> None:
    records: list[Record] = []
    relay = make_relay(observers=Observers(other=(records.append,)))
    relay.way_out.leave(answer(payload=b"a reply"), make_request(), CALLER, is_written=False)
    assert [(record.bytes_out, record.is_written) for record in records] == [(0, False)]


@pytest.mark.parametrize("status", [200, 404, 499, 500, 503])
def test_each_observer_gets_only_the_records_that_it_wants(status: int) -> None:
    failures: list[Record] = []
    others: list[Record] = []
    for observers in (
        Observers(failure=(failures.append, failures.append)),
        Observers(other=(others.append, others.append)),
        Observers(),
    ):
        WayOut(observers).leave(Response(status, Fields(()), b""), None, CALLER)
    assert (len(failures), len(others)) == ((2, 0) if status >= 500 else (0, 2))


def test_what_is_no_http_has_no_method_and_no_version_in_its_record() -> None:
    records: list[Record] = []
    WayOut(Observers(other=(records.append,))).leave(Response(400, Fields(()), b"no"), None, CALLER)
    (record,) = records
    assert (record.method, record.version, record.request_id, record.duration) == (None, None, None, 0.0)


def test_a_bug_is_a_failure_of_no_route() -> None:
    response = make_relay().fail(make_request())
    assert (response.route, response.status, response.slug) == (None, 500, "internal")
    assert response.delivered == "unknown"


# Laws


HEEDED = [b"x-request-id", b"x-request-timeout", b"accept", b"content-length", b"connection", b"traceparent", b"host"]
VALUES = [b"traceparent", b"5s", b"1", b"99999999999", b"text/plain", b"a\r\nNats-X: b", b"x" * 9000, b"\xff", b""]
LINES = [b"Http-Status: 204", b"Http-Status: 404", b"Nats-Service-Error-Code: 500", b"Nats-Service-Error-Code: 409"]
LINES += [b"Nats-Service-Error: \xff\x1b", b"Location: a\rb", b"Location: \xff", b"ETag: 1", b"junk"]
fields = st.tuples(st.sampled_from(HEEDED), st.sampled_from(VALUES) | st.binary(max_size=8))
paths = st.tuples(
    st.sampled_from([b"/greet/", b"/store/", b"/small", b"/capped", b"/"]),
    st.sampled_from([b"", b"sue", b"%2E", b"%C3%A9", b"a/b", b"*"]) | st.binary(max_size=8),
).map(b"".join)
requests = st.builds(
    Request,
    method=st.sampled_from([*METHODS, "HEAD", "OPTIONS"]),
    path=paths,
    query=st.just(b""),
    headers=st.lists(fields, max_size=5),
    version=st.just("1.1"),
    received=st.just(0.0),
    caller=st.just(CALLER),
)
replies = st.builds(
    lambda lines, payload: Reply(b"\r\n".join([b"NATS/1.0", *lines, b"", b""]) if lines else b"", payload),
    st.lists(st.sampled_from(LINES) | st.binary(max_size=8), max_size=4),
    st.sampled_from([b"", b"hello", b"\xff"]),
)


def check_outbound(outbound: Outbound) -> None:
    literal, *tokens = outbound.subject.split(".")
    assert literal == outbound.route.name
    assert len(tokens) == len(outbound.route.path_parameters)
    assert "" not in tokens
    assert 0 < outbound.timeout <= 30
    assert len(outbound.headers) <= MAX_BLOCK
    if outbound.headers:
        block = parse_block(outbound.headers)
        assert block.status is None
        assert {name for name, _ in block.pairs} <= outbound.route.request_allow.names


def check_response(request: Request, response: Response) -> None:
    values = dict(response.headers)
    assert 200 <= response.status <= 599
    assert not any(set(b"\r\n\x00") & set(name + value) for name, value in response.headers)
    assert is_clean_request_id(values[b"x-request-id"])
    assert (b"content-length" in values) == (response.status not in (204, 304))
    if request.method == "HEAD" or response.status in (204, 304):
        assert response.body == b""
    else:
        assert int(values[b"content-length"]) == len(response.body)
        assert values[b"content-type"] != b"application/problem+json" or read_problem(response)


@given(request=requests, reply=replies)
@example(make_request(b"/greet/sue", (b"traceparent", b"x" * 9000), (b"traceparent", b"x" * 9000)), Reply(b"", b""))
@example(make_request(b"/greet/sue", method="HEAD"), Reply(b"NATS/1.0\r\nHttp-Status: 99\r\n\r\n", b""))
def test_no_request_and_no_reply_makes_the_relay_raise_or_write_anything_unclean(
    request: Request, reply: Reply
) -> None:
    relay = make_relay()
    begun = relay.begin(request)
    if isinstance(begun, Outbound):
        check_outbound(begun)
        begun = relay.finish(begun, reply)
    if begun is not None:
        assert isinstance(begun, Response)
        check_response(request, begun)


class Turnstile:
    """A policy that lets so many requests pass, and remembers how many did."""

    fields: frozenset[bytes] = frozenset()
    errors = (Forbidden,)

    def __init__(self, most: int) -> None:
        self.most = most
        self.passed = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Turnstile) and other.most == self.most

    def __hash__(self) -> int:
        return hash(self.most)

    def check(self, _: Request) -> None:
        self.passed += 1
        if self.passed > self.most:
            raise Forbidden


def make_guarded_table(most: int) -> RouteTable:
    return RouteTable([Route(name="a", methods=("GET",), path="/a", subject="a", policies=(Turnstile(most),))])


@pytest.mark.parametrize(("most", "is_full"), [(1, True), (2, False)])
def test_a_policy_remembers_beyond_a_reload_that_leaves_it_as_it_is(most: int, is_full: bool) -> None:
    limits = Limits(timeout=2.0, max_timeout=30.0, max_body=1000)
    relay = Relay(make_guarded_table(1), limits, WayOut(Observers()))
    assert isinstance(relay.begin(make_request(b"/a")), Outbound)
    table = make_guarded_table(most)
    relay.use(table, {route: relay.plan(route, is_alone=True) for route in table.routes})
    assert isinstance(relay.begin(make_request(b"/a")), Response) == is_full


ASKED = Route(
    name="asked",
    methods=("GET", "POST"),
    path="/asked",
    subject="asked",
    headers=("Accept", "Traceparent", "Content-Type"),
    send_headers=(("X-Own", "1"),),
    payload="body",
    reply=ReplyRules(wrap="message"),
)
idle_fields = st.sampled_from(
    [(b"accept", b"*/*"), (b"accept", b"application/json"), (b"accept", b"text/plain"), (b"connection", b"keep-alive")]
)


@given(
    path=st.sampled_from([b"/greet/sue", b"/asked", b"/capped", b"/store/1", b"/small"]),
    method=st.sampled_from(["GET", "POST"]),
    headers=st.lists(idle_fields | fields, max_size=4),
)
def test_fields_that_are_not_looked_at_would_have_changed_nothing(
    path: bytes, method: str, headers: list[Pair]
) -> None:
    quick, careful = (
        Relay(RouteTable((*ROUTES, ASKED)), Limits(timeout=2.0, max_timeout=30.0, max_body=1000), WayOut(Observers()))
        for _ in "12"
    )
    careful._plans = {
        route: replace(plan, unheeded=frozenset(), idle=frozenset(), travelling={})
        for route, plan in careful._plans.items()
    }
    assert describe(quick, make_request(path, *headers, method=method)) == describe(
        careful, make_request(path, *headers, method=method)
    )


def describe(relay: Relay, request: Request) -> object:
    """What becomes of a request, but for the request id if it was made here."""
    begun = relay.begin(request)
    if isinstance(begun, Response):
        return begun.status, begun.slug
    assert isinstance(begun, Outbound)
    headers = begun.headers.replace(begun.request_id.encode(), b"id")
    is_given = any(value.decode("latin-1") == begun.request_id for _, value in request.headers)
    lines = sorted(headers.split(b"\r\n"))
    return begun.subject, lines, begun.timeout, begun.max_body, begun.prefers_text, is_given and begun.request_id
