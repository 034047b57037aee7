import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.formats.accept import accepts_gzip, prefers_html, prefers_plain_text


@pytest.mark.parametrize(
    ("accept", "plain"),
    [
        (b"", False),
        (b"*/*", False),
        (b"application/json", False),
        (b"text/plain", True),
        (b"text/*", True),
        (b"text/html", False),
        (b"text/plain, application/json", False),
        (b"application/json, text/plain", False),
        (b"text/plain, */*", True),
        (b"*/*, text/plain", True),
        (b"text/plain;q=0", False),
        (b"text/plain;q=0.000, */*;q=0", False),
        (b"text/plain;q=0.5", True),
        (b"text/plain;q=0.5, application/json", False),
        (b"text/plain;q=0.5, application/*", False),
        (b"text/*, */*", True),
        (b"text/plain, application/json;q=0.9", True),
        (b"text/plain;q=0.9,application/json;q=0.8", True),
        (b"text/plain;q=0.2, */*", False),
        (b"text/*;q=0.5, application/*;q=0.4", True),
        (b"text/*, application/json", False),
        (b"text/plain, application/*", True),
        (b"text/plain;charset=utf-8", True),
        (b"text/plain ; q=1 , application/json ; q=0.1", True),
        (b"text/plain, application/json;Q=0.1", True),
        (b"text/Plain", True),
        (b"text/plain;q=x", False),
        (b"text/plain;q=nan", False),
        (b"text/plain;q=-1", False),
        (b"text/plain;q=9, application/json", False),
        (b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        (b"text/plain\xff", False),
        (b"text/,;,,q=", False),
    ],
)
def test_accept_prefers_plain_text_only_where_it_says_so(accept: bytes, plain: bool) -> None:
    assert prefers_plain_text(accept) is plain


@given(
    st.binary()
    | st.lists(st.sampled_from([b"text/plain", b"*/*", b",", b";", b"q=", b"1", b"nan", b"inf"])).map(b"".join)
)
def test_any_accept_gets_an_answer(accept: bytes) -> None:
    assert prefers_plain_text(accept) in (True, False)


@pytest.mark.parametrize(
    "accept", [b"TEXT/PLAIN", b"Text/plain", b"application/json;q=0.1, */*", b"application/json;q=0, */*"]
)
def test_accept_is_read_in_any_case_and_json_may_be_the_one_that_is_not_wanted(accept: bytes) -> None:
    assert prefers_plain_text(accept)


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (b"", False),
        (b"*/*", False),
        (b"text/html", True),
        (b"TEXT/HTML", True),
        (b"text/*", True),
        (b"text/plain", False),
        (b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", True),
        (b"text/html, */*", True),
        (b"text/html, application/json", False),
        (b"text/html, application/problem+json", False),
        (b"text/html, application/json;q=0.9", True),
        (b"text/html;q=0.5, application/json;q=0.9", False),
        (b"text/html;q=0.5, application/problem+json;q=0.9", False),
        (b"application/json, text/plain, */*", False),
        (b"text/html;q=0", False),
        (b"text/html" + b", a/b" * 64, True),
        (b"text/html" + b", a/b" * 65, False),
        (b"text/html" + b";a=b" * 65, False),
    ],
)
def test_accept_prefers_html_only_where_it_says_so(accept: bytes, html: bool) -> None:
    assert prefers_html(accept) is html


@pytest.mark.parametrize(
    ("accept_encoding", "is_accepted"),
    [
        (b"", False),
        (b"gzip", True),
        (b"GZIP", True),
        (b"x-gzip", True),
        (b"deflate, gzip;q=0.1, br", True),
        (b"gzip;q=0, *", False),
        (b"*", True),
        (b"*;q=0", False),
        (b"identity", False),
        (b"gzip" + b",a" * 65, False),
    ],
)
def test_gzip_is_accepted_only_where_it_is_named_or_anything_is(accept_encoding: bytes, is_accepted: bool) -> None:
    assert accepts_gzip(accept_encoding) is is_accepted
