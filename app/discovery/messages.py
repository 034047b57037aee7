"""Reads what services say about themselves (ADR-32). Pure.

Law: anybody on NATS may say anything. What is not such a message is None, and no message raises an error.
"""

import json
from dataclasses import dataclass

from ..formats.schemas import is_unicode

MAX_NAME = 128  # characters of a name, a version or an id


@dataclass(frozen=True, slots=True)
class ServiceMessage:
    """What one instance of a service says: who it is, and the rest of the message."""

    name: str
    version: str
    id: str
    body: dict[str, object]

    @property
    def endpoints(self) -> list[object]:
        """What it says about its endpoints; Go writes null for an empty list."""
        found = self.body.get("endpoints")
        return found if isinstance(found, list) else []


def read_message(payload: bytes, kind: str) -> ServiceMessage | None:
    """The message, if it is one of this type."""
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("type") != kind:
        return None
    if b"\\u" in payload and not is_unicode(found):  # a text of it could not be written again
        return None
    name, version, id_ = (read_text(found.get(key), MAX_NAME) for key in ("name", "version", "id"))
    if not name or not version or not id_ or not isinstance(found.get("endpoints") or [], list):
        return None
    return ServiceMessage(name, version, id_, found)


def read_text(value: object, most: int) -> str | None:
    """The text if it is not empty, not too long and printable, else None. Other characters could change a page or a
    terminal."""
    return value if isinstance(value, str) and 0 < len(value) <= most and value.isprintable() else None
