"""`nats-http explain` for the gateway's own pages: who may see a page, and whether this caller may."""

from urllib.parse import unquote

from starlette.routing import Match, Route

from ..edge.page_rules import PageRules
from ..edge.request import Request
from ..errors import GatewayError, MethodNotAllowed
from ..http.page_guard import OPEN
from ..main import build_gateway
from ..routefile.load import RouteFile
from ..routefile.pages import check_pages
from ..settings import Settings
from .callers import Rows, describe_caller
from .explain import wait_for, write_problem, write_rows

_SETTING = "GATEWAY_PAGES_AUTH"


def explain_page(settings: Settings, file: RouteFile, request: Request) -> tuple[bool, str] | None:
    """As `explain_request`. None if no page has this path. Raises RouteFileError if the setting names a scheme that the
    file does not have."""
    check_pages(settings, file.schemes, file.table.routes)
    page = _find_page(settings, request)
    if page is None:
        return None
    rows, error = [("page", page.path)], _find_wrong_method(page, request)
    if error is None:
        seen, error = _ask(page, settings.pages_auth, file, request)
        rows += seen
    if error is None:
        return True, write_rows(rows, request.added)
    return False, write_problem(error, request, settings.proxies, rows)


def _find_page(settings: Settings, request: Request) -> Route | None:
    """The page on the gateway's own port with this path."""
    bare = settings.model_copy(update={"pages_auth": None, "tls_cert": None})
    scope = {"type": "http", "method": request.method, "path": unquote(request.path.decode("latin-1"))}
    pages = (page for page in build_gateway(bare, routes=()).app.router.routes if isinstance(page, Route))
    return next((page for page in pages if page.matches(scope)[0] is not Match.NONE), None)


def _find_wrong_method(page: Route, request: Request) -> GatewayError | None:
    methods = page.methods or set()
    if request.method in methods:
        return None
    allowed = ", ".join(sorted(methods))
    return MethodNotAllowed(f"This path allows {allowed}.", headers=((b"allow", allowed.encode("ascii")),))


def _ask(page: Route, rules: PageRules | None, file: RouteFile, request: Request) -> tuple[Rows, GatewayError | None]:
    """Rows that say who may see the page, and the error if this caller may not."""
    if page.path in OPEN:
        return [("seen by", "everybody")], None
    if rules is None:
        return [("seen by", f"everybody, as {_SETTING} is not set")], None
    policy, error = rules.make_policy(file.schemes), None
    try:
        wait = policy.check(request)
    except GatewayError as refused:
        error = refused
    else:
        error = wait_for(wait) if wait else None
    (_, asked), *caller = describe_caller(request, policy)
    return [("seen by", f"{asked} ({_SETTING})"), *caller], error
