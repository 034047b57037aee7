import json

import pytest

from app.errors import ERRORS, GatewayError, InvalidBody, InvalidParameter, NotFound, ServiceError
from app.exchange.problems import build_problem, build_problem_response
from app.exchange.responses import encode_json

each_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.slug)


@each_error
def test_a_problem_document_has_the_members_of_rfc_9457_and_ours(error: type[GatewayError]) -> None:
    problem = build_problem(error("It broke."), instance="/greet/sue", request_id="r-1")
    assert problem == {
        "type": f"/problems/{error.slug}",
        "title": error.title,
        "status": error.status,
        "detail": "It broke.",
        "instance": "/greet/sue",
        "request_id": "r-1",
        "delivered": error.delivered,
        "retryable": error.retryable,
    }
    assert json.loads(json.dumps(problem)) == problem


@each_error
@pytest.mark.parametrize(
    "instance", ['/a"b', "/é", "/", "/" + "x" * 600, None], ids=["quote", "é", "/", "long", "none"]
)
@pytest.mark.parametrize("detail", [None, "It broke."])
def test_a_document_of_which_parts_are_kept_is_as_if_it_was_made_whole(
    error: type[GatewayError], instance: str | None, detail: str | None
) -> None:
    failed = error(detail)
    failed.status, failed.delivered, failed.retryable = 418, "unknown", not failed.retryable
    for request_id, root in (("r-1", ""), ('r"2', "/api"), ("r-3", "/api")):
        whole = build_problem(failed, instance=instance, request_id=request_id, root=root)
        kept = build_problem_response(failed, instance=instance, request_id=request_id, root=root)
        assert kept.body == encode_json(whole)


def test_the_status_of_one_service_error_is_not_that_of_its_class() -> None:
    assert ServiceError(status=409).status == 409
    assert build_problem(ServiceError(status=409), instance="/", request_id="r")["status"] == 409
    assert ServiceError().status == ServiceError.status == 502


@pytest.mark.parametrize(("length", "shown"), [(512, True), (513, False)])
def test_an_instance_of_more_than_512_characters_is_left_out(length: int, shown: bool) -> None:
    instance = "/" + "x" * (length - 1)
    problem = build_problem(NotFound(), instance=instance, request_id="r")
    assert problem.get("instance") == (instance if shown else None)
    assert set(problem) | {"instance"} == {*build_problem(NotFound(), instance="/", request_id="r")}


@each_error
def test_every_problem_has_a_page_with_all_that_its_document_has(error: type[GatewayError]) -> None:
    failed = error("A `token` & <more>.")
    document = build_problem(failed, instance="/a", request_id="r-1", root="/api")
    page = build_problem_response(failed, instance="/a", request_id="r-1", root="/api", accept=b"text/html")
    text = page.body.decode()
    assert page.status == error.status
    assert f"<title>{error.status} {error.title}</title>" in text
    assert "<p>A <code>token</code> &amp; &lt;more&gt;.</p>" in text
    assert all(f">{value}<" in text for value in (document["instance"], document["request_id"]))
    assert f'<a href="/api/problems/{error.slug}">' in text
    assert set(error.headers) <= set(page.fields.pairs)


def test_a_page_lists_all_that_is_wrong_with_parameters_and_bodies() -> None:
    for error in (
        InvalidParameter(parameters=(("<id>", "path", "too <long>"), ("x", "query", "too short"))),
        InvalidBody(errors=(("/<id>", "too <long>"), ("/x", "too short"))),
    ):
        page = build_problem_response(error, instance="/", request_id="r", accept=b"text/html").body.decode()
        assert page.count("<li><code>") == 2
        assert "too &lt;long&gt;</li>" in page
        assert "<id>" not in page


def test_only_an_answer_that_was_negotiated_varies() -> None:
    for accept, varies in {None: False, b"": True, b"application/json": True, b"text/html": True}.items():
        response = build_problem_response(NotFound(), instance="/", request_id="r", accept=accept)
        assert ((b"vary", b"Accept") in response.fields.pairs) is varies
