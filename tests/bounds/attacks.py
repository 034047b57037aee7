"""What an attack is, and the law that it tries to break. The tables are in attacks_on_*.py."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.http.lane import LaneName
from tests.bounds.bystander import Question
from tests.bounds.memory import MIB
from tests.bounds.sending import Sending
from tests.bounds.shaking import Shaking

ROUTES = Path(__file__).with_name("routes.yaml")

IS_BUSY = bool(os.environ.get("CI"))
"""Whether the machine is slow, and others work on it too."""
PROMPT = 0.250 if IS_BUSY else 0.050  # seconds in which another caller is answered
MANY = 0.5 if IS_BUSY else 0.25  # where many connections are dear in one moment: several turns of the loop
STORM = 1.2 if IS_BUSY else 0.6  # where thousands of connections come at once: they wait in line (docs/security.md)
DEAR = 4.0 if IS_BUSY else 2.0  # where each of these connections asks for much (docs/security.md)
REST = 0.005  # seconds in which a bystander is answered at rest, on a machine that these limits fit
CHILDREN = 2 * 2 * 160 * MIB  # two processes that check bodies, and a child of each
GROWTH = 64 * MIB  # the most that the process may grow by

Act = Callable[[int, Path], None]
"""Something that is done to a gateway: to the process of this id, and to its route file."""


@dataclass(frozen=True, slots=True)
class Attack:
    """What is sent, and what it may cost."""

    name: str
    sends: tuple[Sending | Shaking, ...] = ()
    """A process sends each."""
    seconds: float = 1.0
    settings: Mapping[str, str] = field(default_factory=dict)
    watches: str = "/livez"
    """What the bystander asks for. It must be 200."""
    shows: str = ""
    """A header field by which the bystander is known."""
    growth: int = GROWTH
    prompt: float = PROMPT
    """Seconds in which the bystander is answered."""
    acts: Act | None = None
    awaits: str = ""
    """An event in the log that ends the attack, after its seconds."""
    lies: bytes = b""
    """What the NATS server says over and over. Then there are no services."""
    has_slow_issuer: bool = False
    """Whether the issuer of tokens tells its keys once, and never again."""
    fills_pipe: bool = False
    """Whether nobody reads the log."""
    speaks_tls: bool = False
    """Whether the gateway speaks HTTPS, and so does the bystander."""
    asks_certificates: bool = False
    """Whether it asks callers for certificates."""
    is_quick: bool = False
    """Whether `make test` runs it as well."""

    @property
    def lanes(self) -> tuple[LaneName, ...]:
        """The lanes that it is run over: one where the lane has no part in it."""
        return ("fast",) if self.acts or self.lies else ("fast", "asgi")

    def allow(self, rest: float) -> float:
        """Seconds that a bystander may have to wait for whom it took so long at rest."""
        return self.prompt * max(1.0, rest / REST)

    @property
    def question(self) -> Question:
        """What the bystander asks."""
        return Question(self.watches, self.shows)

    @property
    def spoils(self) -> bool:
        """Whether the gateway is not the same afterwards."""
        return bool(
            self.acts or self.lies or self.has_slow_issuer or self.fills_pipe or self.settings or self.speaks_tls
        )


def head(method: str, target: str, *fields: str) -> bytes:
    """A request head."""
    return "".join(f"{line}\r\n" for line in (f"{method} {target} HTTP/1.1", "Host: t", *fields, "")).encode()


def get(target: str, *fields: str) -> bytes:
    """A GET."""
    return head("GET", target, *fields)


def get_once(target: str, *fields: str) -> bytes:
    """A GET that closes its connection."""
    return get(target, "Connection: close", *fields)


def post(target: str, body: bytes, *fields: str) -> bytes:
    """A POST of JSON that closes its connection."""
    about = (f"Content-Length: {len(body)}", "Content-Type: application/json", "Connection: close")
    return head("POST", target, *about, *fields) + body


def chunked(target: str, *fields: str) -> bytes:
    """The head of a POST whose body comes in chunks."""
    return head("POST", target, "Transfer-Encoding: chunked", *fields)
