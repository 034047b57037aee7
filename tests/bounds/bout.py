"""One attack on one gateway, and what a bystander and the kernel saw of it."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

from tests.bounds.attacks import CHILDREN, Attack
from tests.bounds.bystander import Wait, watch
from tests.bounds.memory import MIB, Memory
from tests.bounds.processes import hear, make_event, start_teller
from tests.bounds.sending import Sending
from tests.bounds.sending import attack as send
from tests.bounds.shaking import shake
from tests.bounds.stage import Gateway
from tests.pace import SLOWNESS

REST = 0.3  # seconds in which the bystander is alone
AFTERMATH = 0.2  # seconds of an attack that is over in which the bystander still looks
LONGEST = 40.0 * SLOWNESS  # seconds for what an attack awaits


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of an attack: waits of the bystander in seconds; bytes by which the gateway has grown since its start,
    and that its children take; what the attackers were answered, and what went wrong beside the bounds."""

    rest: float
    worst: float
    growth: int
    children: int
    answers: str
    troubles: list[str]

    def is_close(self, attack: Attack) -> bool:
        """Whether nothing but the wait is too much, so that the machine may be to blame."""
        return self.worst > attack.allow(self.rest) and self.growth <= attack.growth and not self.troubles

    def find_faults(self, attack: Attack) -> list[str]:
        """How it breaks the law."""
        wait, growth = f"{self.worst * 1000:.0f} ms", f"{self.growth / MIB:.0f} MiB"
        faults = {
            f"the bystander waited {wait}": self.worst > attack.allow(self.rest),
            f"the process grew by {growth}": self.growth > attack.growth,
            f"its children took {self.children / MIB:.0f} MiB": not attack.acts and self.children > CHILDREN,
        }
        return [text for text, is_so in faults.items() if is_so] + self.troubles


def run_attack(attack: Attack, gateway: Gateway) -> Seen:
    """All of an attack: the rest before it, and the gateway after it."""
    stop = make_event()
    gateway.go.clear()
    with contextlib.ExitStack() as stack:
        bystander = stack.enter_context(
            start_teller(watch, gateway.port, attack.question, attack.speaks_tls, gateway.pid, stop)
        )
        senders = [
            stack.enter_context(
                start_teller(
                    send if isinstance(sending, Sending) else shake, gateway.port, sending, attack.seconds, gateway.go
                )
            )
            for sending in attack.sends
        ]
        time.sleep(REST)
        memory = Memory(gateway.pid)
        began = time.monotonic()
        gateway.go.set()
        try:
            troubles = _wait_for_end(attack, gateway, began)
            answers = _join(senders)
            time.sleep(AFTERMATH)
            stop.set()
            waits = _take_waits(bystander)
        finally:
            peak = memory.end()
    if memory.was_killed:
        troubles.append("the gateway was killed since it grew")
    if waits is None:
        troubles.append("the bystander got no answer")
    rest, during = _split(waits or [], began)
    troubles += sorted({f"the bystander {wait.fault}" for wait in during if wait.fault})
    return Seen(
        max((wait.caused for wait in rest), default=0.0),
        max((wait.caused for wait in during), default=0.0),
        max(0, peak - gateway.size),
        memory.children,
        answers,
        troubles + gateway.find_troubles(attack),
    )


def _wait_for_end(attack: Attack, gateway: Gateway, began: float) -> list[str]:
    """Until its seconds are over, and what it awaits has come; what hasn't."""
    if attack.acts:
        attack.acts(gateway.pid, gateway.routes)
    time.sleep(max(0.0, began + attack.seconds - time.monotonic()))
    if not attack.awaits or _poll(lambda: attack.awaits in gateway.process.log, began + LONGEST):
        return []
    return [f"no {attack.awaits} in {LONGEST:.0f} s"]


def _poll(condition: Callable[[], bool], end: float) -> bool:
    while not (is_so := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return is_so


def _join(senders: list[Connection]) -> str:
    """How the connections of all senders ended."""
    total: Counter[str] = Counter()
    for sender in senders:
        counts = hear(sender)
        assert isinstance(counts, Counter), "a sender has failed"
        total += counts
    return ", ".join(f"{count:,} × {kind}" for kind, count in total.most_common(4))


def _take_waits(bystander: Connection) -> list[Wait] | None:
    waits = hear(bystander)
    return waits if isinstance(waits, list) else None


def _split(waits: list[Wait], began: float) -> tuple[list[Wait], list[Wait]]:
    """Those that were over when the attack began, and those that were not."""
    rest = [wait for wait in waits if wait.at + wait.seconds < began]
    return rest, waits[len(rest) :]
