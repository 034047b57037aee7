"""Addresses of NATS servers, parsed once. Pure."""

import ipaddress
import re
from dataclasses import dataclass, field, replace
from urllib.parse import unquote, urlsplit

DEFAULT_PORT = 4222
SCHEMES = ("nats", "tls")

_HOST = re.compile(r"[^\s%/]+")


@dataclass(frozen=True, slots=True)
class Address:
    """The address of one server. A `tls` server never gets clear text. The repr and `address` contain no
    credentials."""

    scheme: str
    host: str
    port: int
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls_name: str | None = None
    """The name that its certificate must have; None means its host."""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Parse `[nats://|tls://][user:password@|token@]host[:port]`. User, password and token are percent-encoded.
        Raises ValueError, whose text does not contain the address: it may have a password."""
        try:
            parts = urlsplit(text if "://" in text else f"nats://{text}")
            port = parts.port if parts.port is not None else DEFAULT_PORT
        except ValueError:
            raise ValueError(_FORM) from None
        host = parts.hostname or ""
        if parts.scheme not in SCHEMES or not _HOST.fullmatch(host) or port == 0 or parts.path.strip("/"):
            raise ValueError(_FORM)
        if parts.query or parts.fragment:
            raise ValueError(f"{_FORM}; write '#', '?', '/' and '@' of a password as %23, %3F, %2F and %40")
        user, password = (None if text is None else unquote(text) for text in (parts.username, parts.password))
        return cls(parts.scheme, host, port, user, password)

    @property
    def address(self) -> str:
        """host:port, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Scheme, host and port; no credentials."""
        return f"{self.scheme}://{self.address}"

    @property
    def is_address(self) -> bool:
        """Whether its host is an IP address, not a name."""
        return _is_ip(self.host)

    def at(self, host: str, port: int | None) -> "Address":
        """The address of another server of the same cluster, with the same scheme and credentials. Servers announce
        each other by IP address, but few certificates contain these. Then the certificate must have the name by which
        the first server was found, as in nats.go."""
        name = self.tls_name or (None if _is_ip(self.host) else self.host)
        return replace(self, host=host, port=port or DEFAULT_PORT, tls_name=name if _is_ip(host) else None)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


_FORM = "a NATS server is nats://host:port or tls://host:port, with user:password@ or token@ if it requires a login"
