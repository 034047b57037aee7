"""Finds the messages of all subscriptions in the bytes that a server sends. Pure."""

from .inbox import Inbox


class Deliveries(Inbox):
    """An inbox that takes the messages of every subscription. Its token is `subject sid`, or `subject sid reply` for a
    message with a reply subject. Messages are taken in short turns, since they may be a flood, and the callers who get
    them need turns of their own."""

    is_paced = True

    @staticmethod
    def make_patterns(_prefix: bytes) -> tuple[bytes, bytes]:
        """As in Inbox."""
        token = rb"([^ \r\n]+ \d{1,9}(?: [^ \r\n]+)?)"
        return rb"MSG %b (\d{1,9})\r\n" % token, rb"HMSG %b (\d{1,9}) (\d{1,9})\r\n" % token

    def make_token(self, subject: bytes, sid: int, reply: bytes) -> bytes:
        """As in Inbox."""
        return b"%b %d %b" % (subject, sid, reply) if reply else b"%b %d" % (subject, sid)


def split_token(token: bytes) -> tuple[bytes, int, bytes]:
    """The subject, the id of the subscription, and the reply subject, which may be empty."""
    subject, sid, *reply = token.split(b" ")
    return subject, int(sid), reply[0] if reply else b""
