"""Makes the next connection: to the first known server that answers.

A name can have several addresses, and a machine that is gone does not even refuse a connection. So all addresses are
tried in random order. Each attempt begins at most STAGGER seconds after the one before it (RFC 8305, section 5).
"""

import asyncio
import contextlib
import random
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence

import structlog

from .addresses import Address
from .connection import ConnectError, Connection, Events
from .credentials import Credentials
from .inbox import Inbox

CONNECT_TIMEOUT = 2.0  # seconds to find the addresses of a server, and again to connect to one
STAGGER = 0.25  # seconds until the next address is tried as well
CLEAN_UP = 0.1  # seconds
MOST_LOGGED = 20  # log lines about servers that can't be reached; further ones are counted
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0  # seconds between rounds of attempts to connect; jitter takes a part of them

_log = structlog.get_logger("nats-http.link")


class Dialer:
    """Connects to any of the known servers. `servers` are URLs. Raises ValueError if one is not valid."""

    def __init__(
        self, servers: Sequence[str], *, credentials: Credentials, events: Events, inbox: type[Inbox] = Inbox
    ) -> None:
        self._configured = tuple(Address.parse(server) for server in servers)
        self._known = self._configured
        self._credentials = credentials
        self._events = events
        self._inbox = inbox
        self._pause = 0.0  # seconds; the very first attempt does not wait
        self._logged: set[str] = set()
        self._lines = 0
        self._left_out = 0
        self._lookups: dict[str, asyncio.Future[list[str]]] = {}
        self.reason = "connecting to NATS"
        """The reason of the most recent failure to connect. It never contains secrets."""

    def learn(self, servers: Iterable[Address]) -> None:
        """Remember the servers that the last connection announced. Those of earlier connections are forgotten."""
        self._known = tuple(dict.fromkeys((*self._configured, *servers)))

    def end_backoff(self) -> None:
        """Call this when a connection has lasted. The next pause is the shortest one, and reasons are logged again."""
        self._pause = FIRST_PAUSE
        self._lines = 0

    async def connect(self) -> Connection:
        """Connect to any of the servers. It never gives up. Before each round, except the very first, it waits for a
        random part of a pause that doubles, so that many gateways do not reconnect at the same moment."""
        while True:
            await asyncio.sleep(random.uniform(0, self._pause))  # noqa: S311 - jitter
            self._pause = min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
            connection = await _race(self._known, self._reach)
            if connection is not None:
                self._logged.clear()
                self._log_left_out()
                return connection

    async def _reach(self, server: Address) -> Connection | None:
        """Connect to any address of a server; None if that fails."""
        try:
            addresses = await self._find_addresses(server)
        except (OSError, TimeoutError):
            self._log_reason(f"{server.address}: the host can't be found")
            return None
        return await _race(addresses, self._open)

    async def _find_addresses(self, server: Address) -> list[Address]:
        """The addresses of a server's name. At most one lookup of a name runs at a time: if it hangs, the next call
        waits for the same one."""
        if server.is_address:
            return [server]
        lookup = self._lookups.get(server.host)
        if lookup is None or lookup.get_loop() is not asyncio.get_running_loop():
            lookup = self._lookups[server.host] = look_up(server.host)
            lookup.add_done_callback(lambda _: self._lookups.pop(server.host, None))
        async with asyncio.timeout(CONNECT_TIMEOUT):
            return [server.at(address, server.port) for address in await asyncio.shield(lookup)]

    async def _open(self, server: Address) -> Connection | None:
        try:
            return await Connection.open(
                server,
                name="nats-http-gateway",
                timeout=CONNECT_TIMEOUT,
                events=self._events,
                credentials=self._credentials,
                inbox=self._inbox,
            )
        except ConnectError as error:
            self._log_reason(str(error))
            return None

    def _log_reason(self, reason: str) -> None:
        """Log a reason, but the same reason only once until there is a connection. In total log at most MOST_LOGGED
        reasons until a connection has lasted: a server may announce many others that do not exist."""
        self.reason = reason
        if reason in self._logged:
            return
        if self._lines < MOST_LOGGED:
            self._lines += 1
            self._logged.add(reason)
            _log.warning("connect-failed", reason=reason, **self._credentials.log_fields)
        else:
            self._left_out += 1

    def _log_left_out(self) -> None:
        if self._left_out:
            more = "more servers, or other reasons"
            _log.warning("connect-failed", reason=more, count=self._left_out, **self._credentials.log_fields)
            self._left_out = 0


def look_up(host: str) -> "asyncio.Future[list[str]]":
    """The addresses of a name, or an OSError. The lookup has its own thread. A hanging resolver would block all threads
    of a pool, and the process waits for these when it ends."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[str]] = loop.create_future()

    def finish(addresses: list[str], error: OSError | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(addresses)
        else:
            future.set_exception(error)
            future.exception()  # perhaps nobody waits for it any more

    def work() -> None:
        """Look up the name in the thread, and give the result to the loop."""
        addresses: list[str] = []
        error: OSError | None = None
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        except OSError as failure:
            error = failure
        except UnicodeError:  # no host can have this name
            error = OSError()
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(finish, addresses, error)

    threading.Thread(target=work, name=f"lookup of {host}", daemon=True).start()
    return future


async def _race(
    servers: Sequence[Address], attempt: Callable[[Address], Awaitable[Connection | None]]
) -> Connection | None:
    """The first connection of all attempts; None if all fail. Any further connections are closed."""
    waiting = random.sample(servers, len(servers))
    running: set[asyncio.Task[Connection | None]] = set()
    connections: list[Connection] = []
    try:
        while not connections and (waiting or running):
            if waiting:
                running.add(asyncio.ensure_future(attempt(waiting.pop())))
            pause = STAGGER if waiting else None
            done, running = await asyncio.wait(running, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            connections += [connection for task in done if (connection := task.result()) is not None]
        await _call_off(running)
    except BaseException:
        for connection in connections:
            connection.close()
        await _call_off(running)
        raise
    for surplus in connections[1:]:
        surplus.close()
    return connections[0] if connections else None


async def _call_off(attempts: set[asyncio.Task[Connection | None]]) -> None:
    """Cancel attempts, and give them CLEAN_UP seconds to end. Attempts that ignore the cancellation continue alone."""
    for attempt in attempts:
        attempt.add_done_callback(_discard)
        attempt.cancel()
    if attempts:
        await asyncio.wait(attempts, timeout=CLEAN_UP)


def _discard(attempt: asyncio.Task[Connection | None]) -> None:
    if not attempt.cancelled() and attempt.exception() is None and (connection := attempt.result()) is not None:
        connection.close()
