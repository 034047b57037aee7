import json

import pytest

from app.errors import ERRORS, GatewayError, NotFound, ServiceError
from app.exchange.problems import build_problem

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
