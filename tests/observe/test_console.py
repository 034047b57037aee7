"""Log lines for people: one format, nothing that a caller wrote can spoil it."""

import pytest

from app.observe.console import MAX_PATH, Console, show_path
from tests.observe.test_access import RECORD as SERVED

RECORD = SERVED._replace(status=200, slug=None, path=b"/greet/sue")
OF_EXCHANGE = {"event": "exchange", "route": "greet", "method": "GET", "duration_ms": 0.84, "request_id": "r-1"}


def write(**fields: object) -> str:
    return Console(color=False)({"timestamp": "19:00:44", "level": "info", **fields})


def test_an_event_is_its_name_and_its_fields() -> None:
    line = write(event="connected", server="127.0.0.1:4222", reason="not there", left=None)
    assert line == "19:00:44 gateway  connected server=127.0.0.1:4222 reason='not there'"


def test_a_response_is_what_a_person_looks_for() -> None:
    line = write(**OF_EXCHANGE, status=200, slug=None, path="/greet/sue", bytes_in=1, peer="192.0.2.1")
    assert line == "19:00:44 gateway  200 GET /greet/sue 0.8 ms"
    without = write(**OF_EXCHANGE, status=200, slug=None)
    assert without == "19:00:44 gateway  200 GET greet 0.8 ms request_id=r-1", "as `serve` writes it"


def test_a_failure_says_which_and_what_is_known_of_it() -> None:
    line = write(**OF_EXCHANGE, status=503, slug="no-responders", path="/greet/sue", subject="greet.sue")
    assert line == ("19:00:44 gateway  503 GET /greet/sue no-responders 0.8 ms subject=greet.sue request_id=r-1")


def test_a_line_says_who_called_and_why_that_was_refused() -> None:
    line = write(
        **OF_EXCHANGE, status=403, slug="forbidden", path="/a", scheme="users", caller="sue", detail="It lacks a scope."
    )
    assert line == "19:00:44 gateway  403 GET /a forbidden 0.8 ms caller=sue scheme=users detail='It lacks a scope.'"


def test_a_warning_says_that_it_is_one_and_a_list_has_a_line_for_each_item() -> None:
    line = write(level="error", event="routes-refused", faults=("a.yaml:1:1: no", "a.yaml:2:1: never"))
    assert line == "19:00:44 gateway  error routes-refused\n    a.yaml:1:1: no\n    a.yaml:2:1: never"


def test_color_is_for_what_is_worse_than_usual() -> None:
    console = Console(color=True)
    assert console({"timestamp": "now", "event": "connected"}) == "now gateway  connected"
    line = console({"timestamp": "now", "level": "error", "event": "oops"})
    assert line == "now gateway  \x1b[31merror oops\x1b[0m"


def test_a_traceback_follows_its_line() -> None:
    assert write(level="error", event="oops", exception="Traceback …\n  line") == (
        "19:00:44 gateway  error oops\nTraceback …\n  line"
    )


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "a\r", "\u202eb", "a \u0085"])
def test_text_of_others_can_t_move_the_cursor_or_begin_a_line(text: str) -> None:
    for line in (write(event="x", reason=text), write(event="x", faults=[text])):
        assert line.replace("\n    ", "", 1).isprintable()


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"/greet/sue", "/greet/sue"),
        (b"/a%20b", "/a%20b"),
        (b"/\x1b[2J\r\n", "/%1B[2J%0D%0A"),
        ("/é".encode(), "/%C3%A9"),
        (b"/" + b"x" * 47, "/" + "x" * 47),
        (b"/" + b"x" * 48, "/" + "x" * 46 + "…"),
        (b"\xff" * 99, "%FF" * 15 + "%F…"),
        (None, None),
    ],
)
def test_a_path_is_printable_and_has_a_bound(path: bytes | None, shown: str | None) -> None:
    assert show_path(RECORD._replace(path=path)) == shown
    assert len(shown or "") <= MAX_PATH
