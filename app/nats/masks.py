"""Masks the values of settings, so that they can be shown without passwords, tokens and keys."""

import os

from ..formats.storages import mask_storage
from .addresses import Address

MASK = "***"
"""The text that is shown instead of a secret."""

_SECRETS = frozenset(("NATS_PASSWORD", "NATS_TOKEN"))
_FILES = frozenset(("NATS_CREDS", "NATS_NKEY_SEED", "NATS_TLS_CA", "NATS_TLS_CERT", "NATS_TLS_KEY"))


def mask_variable(name: str, value: str) -> str:
    """The value of a setting, masked as far as necessary. The path of a file is only shown if the file exists: somebody
    may have set a seed or a password instead of a path."""
    if name in _SECRETS or (name in _FILES and not os.path.exists(value)):  # noqa: PTH110 - Path raises for long names
        return MASK
    mask = _URLS.get(name)
    return mask(value) if mask else value


def mask_servers(text: str) -> str:
    """Servers, separated by commas, with `***` instead of passwords and tokens. If one is not valid, the result is only
    `***`."""
    servers = text.split(",")
    try:
        for server in servers:
            Address.parse(server.strip())
    except ValueError:
        return MASK
    return ",".join(map(_mask_credentials, servers))


def _mask_credentials(server: str) -> str:
    scheme, separator, rest = server.rpartition("://")
    credentials, at, host = rest.rpartition("@")
    if not at:
        return server
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{separator}{user}:{MASK}@{host}" if colon else f"{scheme}{separator}{MASK}@{host}"


_URLS = {"NATS_URL": mask_servers, "GATEWAY_RATE_LIMIT_STORAGE": mask_storage}
