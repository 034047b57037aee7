"""Names of NATS clusters and accounts, and of the settings of each. Pure."""

import re
from collections.abc import Sequence

MAIN = "main"
"""The name of the NATS cluster that NATS_URL names."""
MOST_CLUSTERS = 16  # besides MAIN: each has connections of its own, and a value of the label `nats`

SETTINGS = (
    "NATS_URL",
    "NATS_CREDS",
    "NATS_NKEY_SEED",
    "NATS_USER",
    "NATS_PASSWORD",
    "NATS_TOKEN",
    "NATS_TLS_CA",
    "NATS_TLS_CERT",
    "NATS_TLS_KEY",
)
"""The settings of MAIN. Those of another cluster have its name after `NATS_`."""

_NAME = re.compile(r"[a-z](?:-?[a-z0-9]){0,31}")
_VARIABLE = re.compile(rf"\bNATS_(?=(?:{'|'.join(name.removeprefix('NATS_') for name in SETTINGS)})\b)")


def parse_clusters(text: str) -> Sequence[str]:
    """The names in a text, which are separated by commas. Raises ValueError."""
    names = [name.strip() for name in text.split(",")]
    for index, name in enumerate(names):
        if _NAME.fullmatch(name) is None:
            raise ValueError("must be names, separated by commas: each has lower-case letters, digits and single `-`")
        if name == MAIN:
            raise ValueError(f"`{MAIN}` is the name of the NATS cluster of NATS_URL")
        if name in names[:index]:
            raise ValueError(f"`{name}` is listed twice")
    if len(names) > MOST_CLUSTERS:
        raise ValueError(f"must be at most {MOST_CLUSTERS} names")
    return names


def name_variables(text: str, cluster: str) -> str:
    """The text with the variables of this cluster, such as NATS_FACTORY_URL, instead of those of MAIN."""
    if cluster == MAIN:
        return text
    return _VARIABLE.sub(f"NATS_{cluster.upper().replace('-', '_')}_", text)
