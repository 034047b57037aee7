"""Asks all services for their statistics (`$SRV.STATS`, ADR-32), and sums them up over their instances.

Laws:
1. Anybody who may subscribe to `$SRV.STATS` can reply anything. A reply that is not statistics is left out, and so is
   an impossible part of one. No reply raises an error.
2. Every part of the result is bounded. `cut` says that there was more.
3. Replies are read in short steps, so that requests do not wait.
"""

from dataclasses import dataclass, field

from ..errors import ConnectionLost, Draining, GatewayError, NotConnected, Overloaded, PermissionDenied
from ..nats.gathering import Gathered
from ..nats.link import Link
from ..pieces import Steps, run_in_pieces
from .messages import MAX_NAME, ServiceMessage, read_message, read_text

SUBJECT = "$SRV.STATS"
STATS = "io.nats.micro.v1.stats_response"

WITHIN = 2.0  # seconds for all replies
STALL = 0.5  # seconds without a new reply, after which it ends
MAX_SERVICES = 1000
MAX_INSTANCES = 10_000
MAX_REPLY = 128 * 1024  # bytes of a reply that is read: with MAX_PARTS this takes a few milliseconds
MAX_PARTS = 8000  # commas and brackets of a reply that is read; an endpoint has about ten
MAX_ENDPOINTS = 1000  # that are read for one instance
MAX_SUBJECTS = 100  # that are kept for one service
MAX_SUBJECT = 256  # characters of a kept subject
MAX_COUNT = 2**63 - 1  # services count in 64 bits

_NANOSECONDS = 1e9

_NOTES: dict[type[GatewayError], str] = {
    NotConnected: "The gateway has no connection to NATS.",
    Draining: "The gateway is shutting down.",
    PermissionDenied: f"NATS does not let the gateway's user publish to {SUBJECT}, so the services can't be asked.",
    ConnectionLost: "The connection to NATS was lost while the services answered, so some may be missing.",
    Overloaded: "The question could not be sent: NATS reads too slowly, or the services are being asked already.",
}


@dataclass(frozen=True, slots=True)
class EndpointSum:
    """An endpoint of a service, over all instances. `average` is the mean duration of a request in seconds, None before
    the first request."""

    name: str
    subject: str
    requests: int
    errors: int
    average: float | None


@dataclass(frozen=True, slots=True)
class Service:
    """All instances of a service with one name and version. `average` is the mean duration of a request in seconds,
    None before the first request. `subjects` are those of its endpoints, with wildcards."""

    name: str
    version: str
    instances: int
    requests: int
    errors: int
    average: float | None
    subjects: tuple[str, ...]
    endpoints: tuple[EndpointSum, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Services:
    """The services, sorted by name and version. `cut` says whether some were left out because there were too many.
    `note` is a sentence if they could not be asked, or if some may be missing."""

    services: tuple[Service, ...] = ()
    cut: bool = False
    note: str | None = None


async def ask_services(link: Link) -> Services:
    """Ask all services that the gateway's NATS user can reach. Takes at most WITHIN seconds, and usually STALL."""
    gathered = await link.gather(SUBJECT, b"", within=WITHIN, stall=STALL, most=MAX_INSTANCES)
    return await run_in_pieces(sum_up(gathered))


def sum_up(gathered: Gathered) -> Steps[Services]:
    """Sum up all replies. A step reads one reply or makes one service."""
    sums = _Sums(cut=gathered.cut)
    for reply in gathered.replies:
        if _is_too_much(reply.payload):
            sums.cut = True
        elif instance := read_message(reply.payload, STATS):
            sums.add(instance)
        yield
    error = gathered.error
    note = None if error is None else _NOTES.get(type(error), "The services could not be asked.")
    services = yield from sums.finish()
    return Services(services, sums.cut, note)


def _is_too_much(payload: bytes) -> bool:
    """Whether the payload would take too long to read. A short text with many tiny values takes as long as a long
    one."""
    return len(payload) > MAX_REPLY or sum(map(payload.count, b",{[")) > MAX_PARTS


def _read_count(value: object) -> int:
    """The number if it is possible, else 0. JavaScript writes large numbers as 1e21."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 <= value <= MAX_COUNT else 0  # NaN is outside


def _average(time: int, requests: int) -> float | None:
    return time / requests / _NANOSECONDS if requests else None


@dataclass(slots=True)
class _Sum:
    """The sums of one name and version. `time` is nanoseconds. `subjects` keeps their order."""

    ids: set[str] = field(default_factory=set)
    requests: int = 0
    errors: int = 0
    time: int = 0
    subjects: dict[str, None] = field(default_factory=dict)
    endpoints: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """By name and subject: the requests, the errors, and the time."""

    def finish(self, name: str, version: str) -> Service:
        """The service with these sums."""
        requests, errors = min(self.requests, MAX_COUNT), min(self.errors, MAX_COUNT)
        average = _average(self.time, self.requests)
        endpoints = tuple(
            EndpointSum(*key, min(counts[0], MAX_COUNT), min(counts[1], MAX_COUNT), _average(counts[2], counts[0]))
            for key, counts in self.endpoints.items()
        )
        return Service(name, version, len(self.ids), requests, errors, average, tuple(self.subjects), endpoints)


@dataclass(slots=True)
class _Sums:
    cut: bool
    found: dict[tuple[str, str], _Sum] = field(default_factory=dict)

    def add(self, instance: ServiceMessage) -> None:
        """Add an instance. An instance with an id that was added before is left out."""
        key = instance.name, instance.version
        found = self.found.get(key)
        if found is None:
            if len(self.found) >= MAX_SERVICES:
                self.cut = True
                return
            found = self.found[key] = _Sum()
        if instance.id not in found.ids:
            found.ids.add(instance.id)
            self.cut |= len(instance.endpoints) > MAX_ENDPOINTS
            for endpoint in instance.endpoints[:MAX_ENDPOINTS]:
                if isinstance(endpoint, dict):
                    self._add_endpoint(found, endpoint)

    def _add_endpoint(self, found: _Sum, endpoint: dict[object, object]) -> None:
        counts = [_read_count(endpoint.get(key)) for key in ("num_requests", "num_errors", "processing_time")]
        found.requests += counts[0]
        found.errors += counts[1]
        found.time += counts[2]
        subject = read_text(endpoint.get("subject"), MAX_SUBJECT)
        if subject is None:
            return
        if subject not in found.subjects and len(found.subjects) >= MAX_SUBJECTS:
            self.cut = True
            return
        found.subjects[subject] = None
        key = read_text(endpoint.get("name"), MAX_NAME) or "", subject
        if key in found.endpoints or len(found.endpoints) < MAX_SUBJECTS:
            before = found.endpoints.get(key, (0, 0, 0))
            found.endpoints[key] = [one + other for one, other in zip(before, counts, strict=True)]

    def finish(self) -> Steps[tuple[Service, ...]]:
        """All services, sorted by name and version. A step makes one."""
        services: list[Service] = []
        for key in sorted(self.found):
            services.append(self.found.pop(key).finish(*key))
            yield
        return tuple(services)
