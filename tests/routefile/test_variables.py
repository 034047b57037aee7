"""Variables of the environment in a route file."""

from pathlib import Path

import pytest

from app.routefile.load import RouteFileError, load_route_file

FILE = """\
version: 1
info: {title: "Orders of ${TITLE:-nobody}"}
defaults: {headers: [], send_headers: {X-Stage: "${STAGE}"}}
routes:
  - name: a
    method: GET
    path: /${BASE}/{id}
    subject: ${BASE}.{id}.$${STAGE}
    timeout: ${TIMEOUT:-3s}
    max_in_flight: ${PLACES:-7}
    reply:
      schema: {pattern: "^a$${1}$"}
      expose_errors: ${OPEN:-true}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {"STAGE": "test", "BASE": "orders", "TIMEOUT": "500ms"}.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "routes.yaml"
    path.write_text(FILE.replace(".$${STAGE}", ""))
    return path


def read_faults(file: Path) -> list[str]:
    with pytest.raises(RouteFileError) as caught:
        load_route_file(file)
    return [fault.removeprefix(f"{file}:") for fault in caught.value.faults]


def test_a_value_may_name_variables_and_is_of_the_type_that_their_values_make_it(file: Path) -> None:
    read = load_route_file(file)
    (route,) = read.table.routes
    assert read.info.title == "Orders of nobody"
    assert route.send_headers == (("X-Stage", "test"),)
    assert (route.path, route.subject) == ("/orders/{id}", "orders.{id}")
    assert (route.timeout, route.max_in_flight, route.reply.expose_errors) == (0.5, 7, True)
    assert route.reply.schema == {"pattern": "^a$${1}$"}


def test_a_variable_that_is_not_set_is_one_line_with_its_place(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STAGE", "BASE", "TIMEOUT"):
        monkeypatch.delenv(name)
    hint = "is not set; ${%s:-default} gives it a default"
    assert read_faults(file) == [
        f"3:49: defaults.send_headers.X-Stage: the variable STAGE {hint % 'STAGE'}",
        f"7:11: routes[0].path: the variable BASE {hint % 'BASE'}",
        f"8:14: routes[0].subject: the variable BASE {hint % 'BASE'}",
    ]


def test_a_wrong_value_of_a_variable_is_not_shown(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMEOUT", "hunter2")
    monkeypatch.setenv("PLACES", "hunter2")
    assert read_faults(file) == [
        '9:14: routes[0].timeout: "${TIMEOUT:-3s}": a duration is a number above 0 with its unit: 500ms, 2s or 1m',
        '10:20: routes[0].max_in_flight: "${PLACES:-7}": must be a whole number',
    ]


def test_a_key_is_left_as_it_is(file: Path) -> None:
    file.write_text(FILE.replace(".$${STAGE}", "").replace("X-Stage:", "'${STAGE}':"))
    assert read_faults(file) == [
        "3:52: routes[0].send_headers.${STAGE}: \"${STAGE}\": header '${STAGE}' can't be sent",
    ]


def test_two_dollars_stand_for_the_text_of_a_variable(file: Path) -> None:
    file.write_text(FILE)
    (fault,) = read_faults(file)
    assert fault.startswith("8:14: routes[0].subject: \"${BASE}.{id}.$${STAGE}\": subject 'orders.{id}.${STAGE}': ")
