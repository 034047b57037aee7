"""The greeter: a request on `greet.<token>` is answered with `hello, <token>`.

    $ python -m responders.greet        # NATS_URL says where NATS is, --delay 2 makes each answer take 2 s
    $ nats request greet.sue ''
    hello, sue

It is the request-reply example of NATS by Example, grown into a service.
"""

import asyncio
from functools import partial

from nats.micro.request import Request

from ._lifecycle import Endpoint, run
from ._options import read_delay


async def greet(request: Request, *, delay: float) -> bytes:
    """Answers `hello, <last token of the subject>` as UTF-8, after `delay` seconds."""
    await asyncio.sleep(delay)
    token = request.subject.rpartition(".")[2]
    return f"hello, {token}".encode()


def main() -> None:
    """Runs the service `greet` until a signal ends it."""
    handler = partial(greet, delay=read_delay("greet"))
    run(
        name="greet",
        version="1.0.0",
        description="Says hello to the last token of the subject.",
        endpoints=[Endpoint("greet", "greet.*", handler)],
    )


if __name__ == "__main__":
    main()
