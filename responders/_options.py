"""What a responder is told from outside, read once at its start.

Where that makes no sense, the process ends with status 2 and one line on stderr.
"""

import argparse
import os
from typing import NoReturn

from nats.aio.client import Client
from nats.errors import Error

DEFAULT_URL = "nats://localhost:4222"
SCHEMES = ("nats://", "tls://")


def read_servers(name: str) -> list[str]:
    """The addresses in NATS_URL, a comma-separated list; else DEFAULT_URL."""
    servers = [server.strip() for server in (os.environ.get("NATS_URL") or DEFAULT_URL).split(",")]
    try:
        if any("://" in server and not server.startswith(SCHEMES) for server in servers):
            raise Error
        Client().set_server_pool(servers)
    except Error:
        # Quotes nothing of it: there may be a password.
        _refuse(name, "NATS_URL is not a comma-separated list of addresses like nats://host:4222")
    return servers


def read_delay(name: str) -> float:
    """How many seconds an answer of the responder `name` shall take: `--delay`, else `<NAME>_DELAY`, else 0."""
    variable = f"{name.upper()}_DELAY"
    parser = _make_parser(name)
    parser.add_argument("--delay", metavar="SECONDS", help=f"how long each answer takes (else {variable}, else 0)")
    option = parser.parse_args().delay
    source, text = (variable, os.environ.get(variable) or "0") if option is None else ("--delay", option)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        _refuse(name, f"{source} takes a number of seconds, 0 or more, not {text!r}")
    return seconds


def _refuse(name: str, reason: str) -> NoReturn:
    _make_parser(name).error(reason)


def _make_parser(name: str) -> argparse.ArgumentParser:
    # Without the lines about usage an error is one line.
    return argparse.ArgumentParser(prog=f"responders.{name}", usage=argparse.SUPPRESS)
