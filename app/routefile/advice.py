"""What `nats-http check` warns of in a route file that is right: each is allowed, and perhaps not meant. Pure."""

from collections.abc import Iterator, Sequence

from .auth import SchemeSource


def find_unproven(sources: Sequence[SchemeSource], *, can_be_shown: bool) -> Iterator[str]:
    """A line for each scheme of client certificates, where nothing can show one to the gateway."""
    for source in sources:
        if source.declared.get("type") == "client-certificate" and not can_be_shown:
            yield (
                f"auth.{source.name}: nobody can show a certificate: neither GATEWAY_TLS_CLIENT_CA nor "
                "GATEWAY_TRUSTED_PROXIES is set"
            )
