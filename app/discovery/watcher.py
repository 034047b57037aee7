"""Watches the services of a few names: which instances there are (`$SRV.PING`), and what each says (`$SRV.INFO`).

Laws:
1. What an instance says about itself does not change (ADR-32): each is asked for its INFO once. An instance that is
   silent for `forget_after` is forgotten. Time without a connection to NATS does not count.
2. Anybody may answer. The number of instances, and the bytes of what they say, are bounded; a Remark tells what is left
   out. An instance that answers with another name or id than was asked for is left out.
3. The order of services is the order in which they became known.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ..formats.words import suggest
from ..nats.gathering import MAX_GATHERINGS
from ..nats.link import Link
from .infos import Info, Remark, Service, choose, read_info
from .messages import read_message

PING = "io.nats.micro.v1.ping_response"
EVERY = 0.6  # seconds from one PING to the next
AGAIN = 0.1  # seconds until NATS is asked again, if it could not be asked
PER_INSTANCE = 0.0004  # seconds more for each instance, so that many of them cost little
WITHIN, STALL = 1.0, 0.2  # seconds for the answers to a PING, and after the last of them
TIMEOUT = 2.0  # seconds for an INFO
AT_ONCE = 64  # questions for an INFO
MAX_NEW = 1000  # instances that are asked for their INFO after one PING
MAX_INSTANCES = 10_000
MAX_PING = 128 * 1024  # bytes of an answer to a PING
MAX_KNOWN = 2048  # bytes of such an answer that is known again byte for byte; a larger one is read each time
MAX_BYTES = 64 * 1024 * 1024  # of what all instances say
MAX_LISTED = 1000  # names among which a misspelled one is looked up
MAX_SHOWN = 5  # of these in a Remark

_ALL = "$SRV.PING"

Tell = Callable[[Sequence[Service], Sequence[Remark]], None]
"""Takes all services, whenever something has changed."""


@dataclass(slots=True)
class _Known:
    """An instance, what it says, what of that is not used, and the instant at which it was last heard."""

    info: Info
    remarks: Sequence[Remark]
    size: int
    heard: float


@dataclass(slots=True)
class _State:
    instances: dict[tuple[str, str], _Known] = field(default_factory=dict)
    size: int = 0
    answers: dict[bytes, tuple[str, str]] = field(default_factory=dict)
    """The instance of each answer to a PING, byte for byte."""
    order: dict[str, None] = field(default_factory=dict)
    """The names of services, in the order in which they became known."""
    remarks: list[Remark] = field(default_factory=list)
    missing: dict[str, Remark] = field(default_factory=dict)
    """By name, those that no instance has answered for."""


class Watcher:
    """Watches the services of these names. `run` never returns."""

    def __init__(self, link: Link, names: Sequence[str], *, forget_after: float, tell: Tell) -> None:
        self._link = link
        self._names = frozenset(names)
        self._forget_after = forget_after
        self._tell = tell
        self._state = _State()
        self._told: object = None

    async def run(self) -> None:
        """Watch, and tell each change."""
        while True:
            began = time.monotonic()
            is_whole = await self._look()
            if is_whole:
                self._forget(began)
                await self._note_missing()
                self._tell_changes()
            interval = max(EVERY, len(self._state.instances) * PER_INSTANCE) if is_whole else AGAIN
            await asyncio.sleep(max(0.0, began + interval - time.monotonic()))
            if not is_whole:
                self._wait_for(time.monotonic() - began)

    async def _look(self) -> bool:
        """Ask who is there, and the new ones what they say. Returns False if NATS could not be asked."""
        subjects = [_ALL] if len(self._names) > MAX_GATHERINGS else [f"{_ALL}.{name}" for name in self._names]
        found = await asyncio.gather(*(self._ping(subject) for subject in subjects))
        answers = [payload for answer in found if answer is not None for payload in answer]
        now = time.monotonic()
        fresh: dict[tuple[str, str], None] = {}
        for payload in answers:
            if key := self._find_instance(payload):
                if known := self._state.instances.get(key):
                    known.heard = now
                else:
                    fresh[key] = None
        asked = list(fresh) if len(fresh) <= MAX_NEW else random.sample(list(fresh), MAX_NEW)
        for start in range(0, len(asked), AT_ONCE):
            await asyncio.gather(*(self._ask(*key) for key in asked[start : start + AT_ONCE]))
        return None not in found

    async def _ping(self, subject: str) -> list[bytes] | None:
        gathered = await self._link.gather(subject, b"", within=WITHIN, stall=STALL, most=MAX_INSTANCES)
        return None if gathered.error is not None else [reply.payload for reply in gathered.replies]

    def _find_instance(self, payload: bytes) -> tuple[str, str] | None:
        """The instance that has answered; None if it is of no service of these names."""
        answers = self._state.answers
        key = answers.get(payload)
        if key is None:
            message = read_message(payload, PING) if len(payload) <= MAX_PING else None
            if message is None or message.name not in self._names:
                return None
            key = message.name, message.id
            if len(payload) > MAX_KNOWN:
                return key
            if len(answers) >= 2 * MAX_INSTANCES:  # of instances that have gone, or of somebody who makes them up
                answers.clear()
            answers[payload] = key
        return key

    async def _ask(self, name: str, id_: str) -> None:
        """Ask an instance what it says."""
        if not _is_token(id_):
            return
        reply = await self._link.request(f"$SRV.INFO.{name}.{id_}", b"", b"", time.monotonic() + TIMEOUT)
        payload = getattr(reply, "payload", b"")
        found = read_info(payload)
        if found is None or (found[0].name, found[0].id) != (name, id_):
            return
        state = self._state
        if len(state.instances) >= MAX_INSTANCES or state.size + len(payload) > MAX_BYTES:
            remark = Remark(name, None, "there are too many instances, or they say too much; the rest is left out")
            state.remarks = [*(one for one in state.remarks if one != remark), remark][-MAX_NEW:]
            return
        state.size += len(payload)
        state.order.setdefault(name)
        state.instances[name, id_] = _Known(found[0], found[1], len(payload), time.monotonic())

    def _forget(self, now: float) -> None:
        """Forget the instances that have been silent for too long."""
        state = self._state
        for key, known in list(state.instances.items()):
            if now - known.heard > self._forget_after:
                del state.instances[key]
                state.size -= known.size
        left = {name for name, _ in state.instances}
        state.order = {name: None for name in state.order if name in left}

    async def _note_missing(self) -> None:
        """Note the names that nobody answers for. The first time, ask for all names, since one may be misspelled."""
        state = self._state
        missing = [name for name in self._names if name not in state.order]
        if fresh := [name for name in missing if name not in state.missing]:
            others = await self._list_names()
            for name in sorted(fresh):
                state.missing[name] = Remark(name, None, _describe_missing(name, others), is_missing=True)
        state.missing = {name: remark for name, remark in state.missing.items() if name in missing}

    async def _list_names(self) -> Sequence[str]:
        """The names of all services that answer, at most MAX_LISTED."""
        messages = (read_message(payload, PING) for payload in await self._ping(_ALL) or () if len(payload) <= MAX_PING)
        return sorted({message.name for message in messages if message is not None})[:MAX_LISTED]

    def _wait_for(self, seconds: float) -> None:
        """Give every instance so much more time: NATS could not be asked."""
        for known in self._state.instances.values():
            known.heard += seconds

    def _tell_changes(self) -> None:
        current = {key: (known.info, known.remarks) for key, known in self._state.instances.items()}
        fingerprint = frozenset(current), len(self._state.remarks), frozenset(self._state.missing)
        if fingerprint == self._told:
            return
        self._told = fingerprint
        remarks: dict[Remark, None] = dict.fromkeys([*self._state.missing.values(), *self._state.remarks])
        services: list[Service] = []
        for name in self._state.order:
            own = [known for (service, _), known in self._state.instances.items() if service == name]
            more: list[Remark] = []
            services.append(choose([known.info for known in own], more))
            remarks |= dict.fromkeys(_chain(known.remarks for known in own)) | dict.fromkeys(more)
        self._tell(services, list(remarks))


def _chain(lists: Iterable[Sequence[Remark]]) -> Iterable[Remark]:
    return (remark for remarks in lists for remark in remarks)


def _describe_missing(name: str, others: Sequence[str]) -> str:
    text = f"no service named {name} answers"
    if near := suggest(name, others):
        return f"{text}{near}"
    shown = ", ".join(others[:MAX_SHOWN])
    more = f" and {len(others) - MAX_SHOWN} more" if len(others) > MAX_SHOWN else ""
    return f"{text}; others do: {shown}{more}" if others else f"{text}, nor does any other"


def _is_token(text: str) -> bool:
    """Whether this can be one token of a subject."""
    return text.isascii() and not set(text) & set(" .*>")
