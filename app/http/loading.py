"""Lets the checker check request bodies and replies that take long, without a task for each."""

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
    """Load a body, and call `then` once: with None if the body is valid, with the Response if it breaks a rule, or
    with that of `fail` (called in the except clause) after a bug. If the checker must check the body first, returns
    the check. If you cancel it, `then` is not called."""
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
    """Check a response, and call `then` once: with the response, with another one if it breaks a rule, or with that of
    `fail` after a bug. Returns the check. If you cancel it, `then` is not called."""

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
