import pytest

from app.formats.variables import has_variables, substitute

VALUES = {"HOST": "nats", "EMPTY": "", "ODD": "${HOST} {id} $1 \\1"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${HOST}", "nats"),
        ("a.${HOST}.b.${HOST}", "a.nats.b.nats"),
        ("${NONE:-x}", "x"),
        ("${EMPTY:-x}", "x"),
        ("${NONE:-}", ""),
        ("${HOST:-x}", "nats"),
        ("${NONE:-a b:-c}", "a b:-c"),
        ("$${HOST}", "${HOST}"),
        ("$$${HOST}", "$${HOST}"),
        ("$${NONE:-x}", "${NONE:-x}"),
        ("${ODD}", VALUES["ODD"]),
        ("{id}.{HOST}", "{id}.{HOST}"),
        ("$HOST $ $$ ${} ${1} ${1,2}$", "$HOST $ $$ ${} ${1} ${1,2}$"),
        ("", ""),
    ],
)
def test_a_variable_is_replaced_by_its_value_and_all_else_stays(text: str, expected: str) -> None:
    assert substitute(text, VALUES.get) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("${NONE}", "the variable NONE is not set; ${NONE:-default} gives it a default"),
        ("${EMPTY}", "the variable EMPTY is not set"),
        ("a ${HOST", "'${HOST' is not closed: write ${HOST}, or ${HOST:-default}"),
        ("${HOST-x}", "'${HOST' is not closed"),
        ("${HOST:x}", "'${HOST' is not closed"),
        ("${NONE:-{x}}", "'${NONE:-' is not closed"),
    ],
)
def test_a_variable_that_is_not_set_or_not_closed_is_named(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the reason is compared as plain text
        substitute(text, VALUES.get)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(("text", "expected"), [("${A}", True), ("$${A}", True), ("{a}", False), ("${1}", False)])
def test_a_text_is_known_to_have_variables(text: str, expected: bool) -> None:
    assert has_variables(text) is expected
