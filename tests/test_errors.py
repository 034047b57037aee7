import re
from collections.abc import Iterator

import pytest

import app.errors
from app.errors import (
    ERRORS,
    Draining,
    GatewayError,
    MethodNotAllowed,
    NoResponders,
    NotConnected,
    NotFound,
    Overloaded,
    ServiceError,
)

# The table of the design: what is known about delivery, and whether the same request may succeed later.
TABLE = {
    "bad-request": (400, "no", False),
    "invalid-parameter": (422, "no", False),
    "unauthenticated": (401, "no", False),
    "forbidden": (403, "no", False),
    "length-required": (411, "no", False),
    "not-found": (404, "no", False),
    "method-not-allowed": (405, "no", False),
    "request-timeout": (408, "no", True),
    "payload-too-large": (413, "no", False),
    "uri-too-long": (414, "no", False),
    "headers-too-large": (431, "no", False),
    "http-version-not-supported": (505, "no", False),
    "overloaded": (503, "no", True),
    "no-responders": (503, "no", True),
    "keys-unavailable": (503, "no", True),
    "rate-limited": (429, "no", True),
    "limits-unavailable": (503, "no", True),
    "not-connected": (503, "no", True),
    "draining": (503, "no", True),
    "permission-denied": (502, "no", False),
    "connection-lost": (502, "unknown", False),
    "bad-reply": (502, "yes", False),
    "service-error": (502, "yes", False),
    "idempotency-key-missing": (400, "no", False),
    "precondition-failed": (412, "no", False),
    "too-many-streams": (429, "no", True),
    "stream-unavailable": (503, "no", True),
    "not-stored": (502, "no", False),
    "timeout": (504, "unknown", False),
    "unsupported-media-type": (415, "no", False),
    "invalid-body": (422, "no", False),
    "internal": (500, "unknown", False),
}

each_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.slug)


def find_subclasses(error: type[GatewayError]) -> Iterator[type[GatewayError]]:
    for subclass in error.__subclasses__():
        yield subclass
        yield from find_subclasses(subclass)


def test_the_list_has_every_concrete_error_once() -> None:
    concrete = [error for error in find_subclasses(GatewayError) if hasattr(error, "slug")]
    assert sorted(ERRORS, key=lambda error: error.slug) == sorted(concrete, key=lambda error: error.slug)


def test_no_two_errors_share_a_slug_or_a_title() -> None:
    assert len({error.slug for error in ERRORS}) == len({error.title for error in ERRORS}) == len(ERRORS)


def test_status_delivery_and_retry_are_those_of_the_table() -> None:
    assert {error.slug: (error.status, error.delivered, error.retryable) for error in ERRORS} == TABLE


def test_the_tree_in_the_docstring_has_every_error_and_its_status() -> None:
    tree = app.errors.__doc__ or ""
    drawn = dict(re.findall(r"[├└]── ([A-Z]\w+) (\d{3})?", tree))
    assert drawn == {error.__name__: "" if error is ServiceError else str(error.status) for error in ERRORS}


def test_the_branches_of_the_tree_say_what_is_known_about_delivery() -> None:
    tree = app.errors.__doc__ or ""
    sent = tree.partition("it was sent")[2]
    for error in ERRORS:
        assert (error.__name__ in sent) == (error.delivered != "no")
        if error.delivered != "no" and error.slug != "internal":
            assert re.search(rf"{error.__name__}[ \d]* \({error.delivered}\)", sent)


@each_error
def test_only_what_was_surely_not_sent_is_retryable(error: type[GatewayError]) -> None:
    assert not error.retryable or error.delivered == "no"


@each_error
def test_a_slug_can_stand_in_a_url(error: type[GatewayError]) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", error.slug)


@each_error
def test_cause_and_cure_are_sentences(error: type[GatewayError]) -> None:
    for text in (error.cause, error.cure):
        assert text[0].isupper()
        assert text.endswith(".")
        assert "  " not in text
        assert text.count("`") % 2 == 0


@each_error
def test_an_error_can_be_raised_without_words_and_then_tells_its_cause(error: type[GatewayError]) -> None:
    assert error().detail == error.cause
    assert error("").detail == error.cause
    assert error("It broke.").detail == "It broke."


@each_error
def test_an_error_that_the_caller_may_repeat_soon_says_when(error: type[GatewayError]) -> None:
    names = [name for name, _ in error.headers]
    assert (b"retry-after" in names) == (error.status in (429, 503))


@pytest.mark.parametrize("error", [Overloaded, NoResponders, NotConnected])
def test_a_passing_failure_asks_for_a_retry_after_a_second(error: type[GatewayError]) -> None:
    assert error().headers == ((b"retry-after", b"1"),)


def test_draining_closes_the_connection_as_well() -> None:
    assert Draining().headers == ((b"retry-after", b"1"), (b"connection", b"close"))


def test_headers_of_one_error_are_not_those_of_its_class() -> None:
    error = MethodNotAllowed(headers=((b"allow", b"GET"),))
    assert error.headers == ((b"allow", b"GET"),)
    assert MethodNotAllowed().headers == ()
    assert NotConnected(headers=()).headers == ()


@each_error
def test_an_error_speaks_with_no_words_of_another(error: type[GatewayError]) -> None:
    assert {"slug", "title", "status", "cause", "cure"} <= set(vars(error))


def test_a_raised_error_has_its_detail_as_text() -> None:
    with pytest.raises(GatewayError, match=r"^No such path\.$"):
        raise NotFound("No such path.")
