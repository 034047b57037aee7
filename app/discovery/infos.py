"""What services say about their endpoints (`$SRV.INFO`, ADR-32), and which instance of a service counts. Pure.

Laws:
1. Every part is bounded. What is too large, or can't be read, is left out, and a Remark says so.
2. All instances of a service should say the same. The gateway follows what most of them say, and in a tie the highest
   version. A Remark names the others.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .messages import ServiceMessage, read_message, read_text

INFO = "io.nats.micro.v1.info_response"
MAX_INFO = 1024 * 1024  # bytes of a message
MAX_ENDPOINTS = 1000  # of one service
MAX_SUBJECT = 256  # characters
MAX_METADATA = 128 * 1024  # characters of all metadata of one endpoint, as in ADR-33
MAX_DESCRIPTION = 2000  # characters that are kept of a description
MAX_REMARK = 500  # characters that are kept of a remark
MAX_OTHERS = 10  # remarks about instances of one service that say something else

# Control characters, halves of surrogate pairs, and marks that change the direction of a text.
_CONTROL = re.compile(
    r"[^\S\n ]|[^\x20-\x7e\n\xa0-\ud7ff\ue000-\U0010ffff]|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint of a service. Its subject may have wildcards."""

    name: str
    subject: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Info:
    """What an instance says about its service."""

    name: str
    version: str
    id: str
    description: str = ""
    endpoints: Sequence[Endpoint] = ()

    @property
    def offer(self) -> tuple[object, ...]:
        """All but the id: equal for instances that say the same."""
        described = tuple((one.name, one.subject, tuple(sorted(one.metadata.items()))) for one in self.endpoints)
        return self.version, self.description, described


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about a service, or one of its endpoints, that the gateway does not use, and why. Or the whole service
    `is_missing`: nobody answers for its name.

    The text may quote the service. It has at most MAX_REMARK characters, and those that could change a page, a log or a
    terminal are escaped."""

    service: str
    endpoint: str | None
    text: str
    is_missing: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", _quote(self.text))

    def __str__(self) -> str:
        place = f"{self.service}.{self.endpoint}" if self.endpoint else self.service
        return f"{place}: {self.text}"


@dataclass(frozen=True, slots=True)
class Service:
    """A service: what most of its instances say, and how many instances there are."""

    info: Info
    instances: int


def read_info(payload: bytes) -> tuple[Info, list[Remark]] | None:
    """What a message says. None if it is not the INFO of an instance, or if it is larger than MAX_INFO."""
    message = read_message(payload, INFO) if len(payload) <= MAX_INFO else None
    if message is None:
        return None
    remarks: list[Remark] = []
    found = message.endpoints
    if len(found) > MAX_ENDPOINTS:
        remarks.append(Remark(message.name, None, f"it has more than {MAX_ENDPOINTS} endpoints; the rest is left out"))
    endpoints = list(_read_endpoints(message, found[:MAX_ENDPOINTS], remarks))
    description = clean(message.body.get("description"))
    return Info(message.name, message.version, message.id, description, endpoints), remarks


def _read_endpoints(message: ServiceMessage, found: Sequence[object], remarks: list[Remark]) -> Iterable[Endpoint]:
    for number, entry in enumerate(found):
        entry = entry if isinstance(entry, dict) else {}
        name, subject = read_text(entry.get("name"), MAX_SUBJECT), read_text(entry.get("subject"), MAX_SUBJECT)
        metadata = entry.get("metadata") or {}
        if name is None or subject is None:
            text = f"endpoint {number + 1} has no name or no subject that can be used"
            remarks.append(Remark(message.name, None, text))
        elif not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            remarks.append(Remark(message.name, name, "its metadata are not texts by name"))
        elif sum(len(key) + len(value) for key, value in metadata.items()) > MAX_METADATA:
            remarks.append(Remark(message.name, name, f"it has more than {MAX_METADATA} characters of metadata"))
        else:
            yield Endpoint(name, subject, metadata)


def _quote(text: str) -> str:
    shown = text if len(text) <= MAX_REMARK else f"{text[: MAX_REMARK - 1]}…"
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in shown)


def clean(text: object) -> str:
    """A description for the documentation: at most MAX_DESCRIPTION characters, without control characters, and with
    `<` as text, so that it can't become HTML."""
    return clean_line(text).replace("<", "&lt;").strip()


def clean_line(text: object) -> str:
    """A text that is never read as HTML, such as a title: like a description, but it keeps its `<`."""
    return _CONTROL.sub("", text[:MAX_DESCRIPTION]) if isinstance(text, str) else ""


def choose(instances: Sequence[Info], remarks: list[Remark]) -> Service:
    """What counts of a service. `instances` has at least one, all of one name."""
    groups: dict[tuple[object, ...], list[Info]] = {}
    for info in instances:
        groups.setdefault(info.offer, []).append(info)
    ranked = sorted(groups.values(), key=lambda group: (len(group), _read_version(group[0].version)), reverse=True)
    first = ranked[0]
    for group in ranked[1 : MAX_OTHERS + 1]:
        count = "1 instance" if len(group) == 1 else f"{len(group)} instances"
        remarks.append(
            Remark(
                first[0].name,
                None,
                f"{count} of version {group[0].version} (such as {group[0].id}) say something else than "
                f"{len(first)} of version {first[0].version}, which the gateway follows",
            )
        )
    if rest := sum(map(len, ranked[MAX_OTHERS + 1 :])):
        remarks.append(Remark(first[0].name, None, f"{rest} more instances say something else as well"))
    return Service(first[0], len(instances))


def _read_version(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d{1,9}", version.partition("+")[0].partition("-")[0]))


def pack_services(services: Sequence[Service], remarks: Sequence[Remark]) -> bytes:
    """One line of JSON, for `unpack_services`."""
    return json.dumps([list(map(asdict, services)), list(map(asdict, remarks))]).encode("ascii")


def unpack_services(packed: bytes) -> tuple[list[Service], list[Remark]]:
    services, remarks = json.loads(packed)
    return list(map(_unpack_service, services)), [Remark(**remark) for remark in remarks]


def _unpack_service(packed: dict[str, Any]) -> Service:
    endpoints = [Endpoint(**endpoint) for endpoint in packed["info"].pop("endpoints")]
    return Service(Info(**packed["info"], endpoints=endpoints), packed["instances"])
