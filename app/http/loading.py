"""Has request bodies and replies checked where that takes long, without a task for it."""

import asyncio
from collections.abc import Callable

from ..checks.checker import Checker, Verdict
from ..exchange.outbound import Outbound
from ..exchange.relay import Relay
from ..exchange.responses import Response, Unchecked
from ..routing.bodies import Check

Checking = asyncio.Future[Verdict]
Then = Callable[[Response | None], None]


def load_body(
    relay: Relay, checker: Checker, outbound: Outbound, body: bytes, *, fail: Callable[[], Response], then: Then
) -> Checking | None:
    """Calls `then` once, with the answer where the body breaks a rule, or where there is a bug: `fail` makes that one
    in the except clause. Where the body has to be checked first, the check comes back: cancel it, and `then` is not
    called."""
    try:
        check = relay.load(outbound, body)
    except Exception:
        check = fail()
    if not isinstance(check, Check):
        then(check)
        return None

    def go_on(checked: Checking) -> None:
        if checked.cancelled():
            return
        try:
            refused = relay.load_checked(outbound, check, checked.result())
        except Exception:
            refused = fail()
        then(refused)

    checking = checker.submit(check, outbound.deadline)
    checking.add_done_callback(go_on)
    return checking


def check_reply(
    relay: Relay,
    checker: Checker,
    outbound: Outbound,
    response: Unchecked,
    *,
    fail: Callable[[], Response],
    then: Callable[[Response], None],
) -> Checking:
    """Calls `then` once, with the response, or with what takes its place where that breaks a rule. Cancel the check
    that comes back, and it is not called."""

    def go_on(checked: Checking) -> None:
        if checked.cancelled():
            return
        try:
            answer = relay.finish_checked(outbound, response, checked.result())
        except Exception:
            answer = fail()
        then(answer)

    checking = checker.submit(response.check, outbound.deadline)
    checking.add_done_callback(go_on)
    return checking
