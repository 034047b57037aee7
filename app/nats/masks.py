"""What may be shown of the settings: no password, no token, and no key."""

import os

from ..formats.storages import mask_storage
from .addresses import Address

MASK = "***"
"""What is shown in the place of a secret."""

_SECRETS = frozenset(("NATS_PASSWORD", "NATS_TOKEN"))
_FILES = frozenset(("NATS_CREDS", "NATS_NKEY_SEED", "NATS_TLS_CA", "NATS_TLS_CERT", "NATS_TLS_KEY"))


def mask_variable(name: str, value: str) -> str:
    """The value of a setting, as far as it may be shown. The path of a file is shown where there is such a file: a seed
    or a password may stand where a path should."""
    if name in _SECRETS or (name in _FILES and not os.path.exists(value)):  # noqa: PTH110 - Path raises for long names
        return MASK
    mask = _URLS.get(name)
    return mask(value) if mask else value


def mask_servers(text: str) -> str:
    """Servers, separated by commas, with `***` in the place of passwords and tokens. Where one is wrong, only that."""
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
