import pytest

from app.edge.content_length import RequireLength
from app.edge.request import Caller, Request
from app.errors import LengthRequired
from app.formats.fields import Pair

LENGTH, CHUNKED = (b"content-length", b"0"), (b"transfer-encoding", b"chunked")
CALLER = Caller(address=None, scheme="http", lane="fast")


def is_allowed(method: str, *headers: Pair) -> bool:
    request = Request(method=method, path=b"/", query=b"", headers=headers, version="1.1", received=0.0, caller=CALLER)
    try:
        RequireLength().check(request)
    except LengthRequired:
        return False
    return True


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_a_request_that_says_its_length_is_allowed_and_a_chunked_one_is_not(method: str) -> None:
    assert is_allowed(method, LENGTH)
    assert not is_allowed(method, CHUNKED)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_a_request_that_says_nothing_is_allowed_where_it_usually_has_no_body(method: str) -> None:
    assert is_allowed(method) == (method in ("GET", "HEAD", "DELETE"))
