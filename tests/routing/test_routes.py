import pytest

from app.formats.fields import REPLY_HEADERS, REQUEST_HEADERS
from app.routing.parameters import Parameter
from app.routing.routes import ReplyRules, Route, RouteError
from tests.routing.test_table import make_route

# What a route refuses


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": ""}, "route '': a name is 1 to 64 of letters, digits, _ and -"),
        ({"name": "x" * 65}, "a name is 1 to 64"),
        ({"name": "a b"}, "route 'a b': a name is 1 to 64"),
        ({"name": "greet\n"}, "a name is 1 to 64"),
        ({"methods": ()}, "route 'greet': methods must be from GET, POST, PUT, PATCH, DELETE"),
        ({"methods": ("GET", "HEAD")}, "route 'greet': methods must be from"),
        ({"methods": ("OPTIONS",)}, "route 'greet': methods must be from"),
        ({"methods": ("get",)}, "route 'greet': methods must be from"),
        ({"path": ""}, "path '' must begin with '/'"),
        ({"path": "/"}, "path '/': `/` alone is the gateway's own"),
        ({"path": "greet/{name}"}, "must begin with '/'"),
        (
            {"path": "/{name}"},
            "path '/{name}': its first segment must be a literal; '{name}' would take the paths of all",
        ),
        ({"path": "/{rest...}"}, "its first segment must be a literal"),
        ({"path": "//greet/{name}"}, "it has an empty segment"),
        ({"path": "/greet/{name}/"}, "path '/greet/{name}/': it ends with an empty segment, which is another path"),
        ({"path": "/greet//{name}"}, "it has an empty segment"),
        ({"path": "/greet/{-name}"}, "'{-name}': a parameter is a whole segment"),
        ({"path": "/greet/x{name}"}, "'x{name}': a parameter is a whole segment"),
        ({"path": "/greet/{name}\n"}, "has a blank or a tab"),
        ({"path": "/greet/{name}/.."}, "'..' can't be a segment"),
        ({"path": "/greet/:name"}, "':name' is the spelling of other routers; write {name}"),
        ({"path": "/greet/<name>"}, "of other routers; write {name}"),
        ({"path": "/greet/<int:name>"}, "of other routers; write {name}"),
        ({"path": "/greet/{name:int}"}, "of other routers; write {name}"),
        ({"path": "/greet/{name*}"}, "'{name*}' is the spelling of other routers; write {name...}"),
        ({"path": "/greet/{*name}"}, "of other routers; write {name...}"),
        ({"path": "/greet/{name:path}"}, "of other routers; write {name...}"),
        ({"path": "/greet/*"}, "of other routers; write {path...}"),
        ({"path": "/greet/**"}, "of other routers; write {path...}"),
        ({"path": "/greet/*name"}, "of other routers; write {name...}"),
        ({"path": "/greet/{name...}/x"}, "the tail '{name...}' must be the last segment"),
        ({"path": "/greet/{name}/caf%C3%A9"}, "'caf%C3%A9' is neither"),
        ({"path": "/greet/{name}/é"}, "'é' is neither"),
        ({"path": "/greet/{name}/a b"}, "'a b' has a blank or a tab"),
        ({"path": "/greet/?"}, "'?' has a query or a fragment; declare parameters of the query in `params`"),
        ({"path": "/greet/{name}?x={x}"}, "has a query or a fragment"),
        ({"path": "/greet/{name}/{name}"}, "route 'greet': path /greet/{name}/{name} has a parameter twice"),
        (
            {"path": "/greet/{who}"},
            "subject parameter 'name' is neither in path /greet/{who} nor in params",
        ),
        ({"subject": "$SYS.{name}"}, "subject '$SYS.{name}' must begin with a literal token"),
        ({"subject": "greet.*"}, "subject 'greet.*': a request goes to one subject, and '*' is a wildcard"),
        ({"payload": "merge"}, "a GET has no body to add parameters to: `payload: params` sends them alone"),
        ({"subject": "greet.>"}, "'>' is a wildcard"),
        ({"subject": "greet.{name...}.x"}, "a tail such as {path...} must be its last token"),
        ({"subject": "greet.{name...}"}, "the path does not end with the tail {name...}"),
        ({"path": "/greet/{name...}"}, "the tail 'name' is more than one token: end the subject with {name...}"),
        ({"headers": ("x-fine", "Host")}, "header 'Host' can't be forwarded"),
        (
            {"headers": ("X-Forwarded-User",)},
            "callers could write anything into 'X-Forwarded-User': the gateway does not check it",
        ),
        (
            {"headers": ("x-a",), "renamed": (("x-a", "X-Forwarded-For"),)},
            "services believe that a proxy wrote 'X-Forwarded-For'",
        ),
        (
            {"headers": ("x-forwarded-for",), "renamed": (("x-forwarded-for", "forwarded"),)},
            "services believe that a proxy wrote 'forwarded'",
        ),
        (
            {"parameters": (Parameter(name="q", location="query", header="X-Forwarded-Anything"),)},
            "services believe that a proxy wrote 'X-Forwarded-Anything'",
        ),
        (
            {"parameters": (Parameter(name="X-Forwarded-For", location="header", header="x-a"),)},
            "callers could write anything into this header; `headers` can list the true one",
        ),
        ({"reply": ReplyRules(headers=("nats-x",))}, "header 'nats-x' can't be forwarded"),
        ({"reply": ReplyRules(headers=("Content-Length",))}, "header 'Content-Length' can't be forwarded"),
    ],
)
def test_a_route_that_can_not_work_is_refused_with_its_reason(changes: dict[str, object], reason: str) -> None:
    given: dict[str, object] = {
        "name": "greet",
        "methods": ("GET",),
        "path": "/greet/{name}",
        "subject": "greet.{name}",
    }
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the reason is compared as plain text
        Route(**{**given, **changes})  # type: ignore[arg-type]
    assert reason in str(caught.value)


def test_a_route_knows_its_parts() -> None:
    route = make_route("/a/{x}/b.c~d_e-f/{y}", "POST", name="x" * 64)
    assert route.segments == ("a", "{x}", "b.c~d_e-f", "{y}")
    assert route.path_parameters == ("x", "y")
    assert route.subject_template.fill({"x": "1", "y": "2"}) == "test.1.2"
    assert route.request_allow.names == {name.encode() for name in REQUEST_HEADERS}
    assert route.reply_allow.names == {name.encode() for name in REPLY_HEADERS}


def test_a_path_parameter_may_be_in_the_payload_in_place_of_the_subject() -> None:
    route = Route(name="a", methods=("GET",), path="/a/{x}/{y}", subject="a.{y}", payload="params")
    assert route.path_parameters == ("x", "y")
    assert [parameter.name for parameter in route.parameters] == ["x", "y"]


@pytest.mark.parametrize(
    ("changes", "key", "hint"),
    [
        ({"path": "/a/{x}"}, ("path",), "or send `payload: params`"),
        ({"path": "/a/{x}", "parameters": (Parameter(name="x"),)}, ("params", "x"), "put it into the subject"),
        ({"parameters": (Parameter(name="q", location="query"),)}, ("params", "q"), "put it into the subject"),
        ({"parameters": (Parameter(name="X-Q", location="header"),)}, ("params", "X-Q"), "list it in `headers`"),
    ],
    ids=str,
)
def test_a_parameter_that_would_go_nowhere_is_refused(
    changes: dict[str, object], key: tuple[str, ...], hint: str
) -> None:
    with pytest.raises(RouteError) as caught:
        Route(**{"name": "a", "methods": ("GET",), "path": "/a", "subject": "a", **changes})  # type: ignore[arg-type]
    (fault,) = caught.value.faults
    assert fault.key == key
    assert "would go nowhere" in fault.text
    assert hint in fault.text


@pytest.mark.parametrize(
    "parameter",
    [
        Parameter(name="q", location="query"),
        Parameter(name="q", location="query", many=True, required=True),
        Parameter(name="q", location="header", type="boolean"),
    ],
    ids=str,
)
def test_a_parameter_in_the_subject_is_one_value_that_is_always_there(parameter: Parameter) -> None:
    with pytest.raises(RouteError, match="subject parameter 'q' must be one value that is always there"):
        Route(name="a", methods=("GET",), path="/a", subject="a.{q}", parameters=(parameter,))


def test_the_payload_goes_by_the_method_unless_it_is_said() -> None:
    values = {"name": "a", "methods": ("GET", "POST", "PUT", "PATCH", "DELETE"), "path": "/a", "subject": "a"}
    route = Route(**values)  # type: ignore[arg-type]
    assert [route.choose_payload(method) for method in route.methods] == ["none", "body", "body", "body", "none"]
    said = Route(**values, payload="none")  # type: ignore[arg-type]
    assert {said.choose_payload(method) for method in said.methods} == {"none"}


def test_all_that_is_wrong_with_a_route_is_told_at_once() -> None:
    with pytest.raises(RouteError) as caught:
        Route(
            name="a b",
            methods=("get",),
            path="/a",
            subject="$SYS.x",
            parameters=(Parameter(name="q", location="query", type="integer", pattern="(?=a)", default="x"),),
            payload="params",
            max_body=1,
            accepts=("json",),
            timeout=3,
            max_timeout=2,
            headers=("x", "host"),
            reply=ReplyRules(
                status=99,
                headers=("date",),
                errors={1: 200},
                schema={"type": "objec"},
                wrap="message",
                content_type="a",
            ),
        )
    assert {fault.key for fault in caught.value.faults} == {
        ("name",),
        ("method",),
        ("subject",),
        ("params", "q", "pattern"),
        ("accepts",),
        ("accepts", 0),
        ("max_body",),
        ("timeout",),
        ("headers", 1),
        ("reply", "status"),
        ("reply", "headers", 0),
        ("reply", "errors", "1"),
        ("reply", "schema", "type"),
        ("reply", "content_type"),
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"timeout": 0.0},
        {"max_timeout": -1.0},
        {"max_body": -1},
        {"max_in_flight": 0},
        {"methods": ("GET", "GET")},
        {"path": "/greet/../x"},
        {"path": "/greet/."},
        {"subject": "greet." + "x" * 2048},
        {"parameters": (Parameter(name="nobody"),)},
        {"reply": ReplyRules(status=99)},
        {"reply": ReplyRules(errors={1: 200})},
        {"reply": ReplyRules(errors={"1": 400})},
        {"reply": ReplyRules(content_type="é")},
        {"reply": ReplyRules(content_type="a\r\nb: c")},
        {"reply": ReplyRules(headers=("X-Request-Id",))},
    ],
    ids=str,
)
def test_a_route_that_would_fail_its_callers_is_refused(changes: dict[str, object]) -> None:
    values: dict[str, object] = {"name": "r", "methods": ("GET",), "path": "/r", "subject": "r", **changes}
    with pytest.raises(ValueError, match=r"route 'r'|path '|subject '"):
        Route(**values)  # type: ignore[arg-type] # wrong values are the point
