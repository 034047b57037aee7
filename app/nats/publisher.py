"""Sends messages that nobody replies to."""

from .in_flight import InFlight
from .link import Link


class Publisher:
    """Sends over a link. The outcome of a message is an empty Reply once the server has taken it. So all laws of the
    link apply to messages too. If the connection breaks before that, the outcome is ConnectionLost: the server may have
    taken the message, or not."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def send(self, sent: InFlight, subject: str, headers: bytes, payload: bytes, deadline: float) -> None:
        """As in Sender."""
        sent.is_published = True
        self._link.send(sent, subject, headers, payload, deadline)
