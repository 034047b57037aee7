"""One frozen record for each response. Each consumer is one file beside this."""

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import Delivered


@dataclass(frozen=True, slots=True)
class Record:
    """A response. `route` is None where none matched, `slug` where nothing failed; `duration` is seconds from the
    request head to the moment when the response is ready."""

    route: str | None
    method: str
    status: int
    slug: str | None
    delivered: Delivered
    duration: float
    request_id: str


Observer = Callable[[Record], None]


@dataclass(frozen=True, slots=True)
class Observers:
    """Who is told of what: `failure` is for 5xx, `other` for the rest. What nobody is told of costs nothing."""

    failure: tuple[Observer, ...] = ()
    other: tuple[Observer, ...] = ()
