"""The settings of a responder: its arguments and environment, read once at its start.

If they are wrong, the process ends with status 2 and one line on stderr.
"""

import argparse
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from nats.aio.client import Client
from nats.errors import Error

DEFAULT_URL = "nats://localhost:4222"
SCHEMES = ("nats://", "tls://")
_MARKS = {"NATS_CREDS": "-----BEGIN NATS USER JWT", "NATS_NKEY_SEED": "SU"}


@dataclass(frozen=True)
class Connection:
    """The servers, and the credentials for them, in the form of `nats.connect`."""

    servers: list[str] = field(repr=False)
    user_credentials: str | None
    nkeys_seed: str | None
    user: str | None
    password: str | None = field(repr=False)
    token: str | None = field(repr=False)
    tls: ssl.SSLContext | None


def read_connection(name: str) -> Connection:
    """The connection by NATS_URL, a comma-separated list, else by DEFAULT_URL, and by the other variables of the
    gateway."""
    creds, seed, user, password, token, ca, cert, key = (
        os.environ.get(f"NATS_{variable}") or None
        for variable in ("CREDS", "NKEY_SEED", "USER", "PASSWORD", "TOKEN", "TLS_CA", "TLS_CERT", "TLS_KEY")
    )
    _check_files(name, NATS_CREDS=creds, NATS_NKEY_SEED=seed)
    if user is not None and password is None:
        password = ""
    return Connection(_read_servers(name), creds, seed, user, password, token, _make_tls(name, ca, cert, key))


def _check_files(name: str, **files: str | None) -> None:
    for variable, file in files.items():
        try:
            # In a creds file without a JWT, nats-py would search for it for ever.
            if file is not None and _MARKS[variable] not in Path(file).read_text():
                raise ValueError
        except (OSError, ValueError):
            _refuse(name, f"{variable} is not the path of a file that has {_MARKS[variable]}…")


def _make_tls(name: str, ca: str | None, cert: str | None, key: str | None) -> ssl.SSLContext | None:
    if not (ca or cert or key):
        return None
    try:
        context = ssl.create_default_context(cafile=ca)
        if cert:
            context.load_cert_chain(cert, key, password="")  # else it would ask for one at the terminal
    except OSError:
        _refuse(name, "NATS_TLS_CA, NATS_TLS_CERT and NATS_TLS_KEY are not files in PEM form that fit")
    return context


def _read_servers(name: str) -> list[str]:
    servers = [server.strip() for server in (os.environ.get("NATS_URL") or DEFAULT_URL).split(",")]
    try:
        if any("://" in server and not server.startswith(SCHEMES) for server in servers):
            raise Error
        Client().set_server_pool(servers)
    except Error:
        # Shows no part of it: it may contain a password.
        _refuse(name, "NATS_URL is not a comma-separated list of addresses like nats://host:4222")
    return servers


def read_sign_fd(name: str) -> int | None:
    """The file descriptor in NATS_HTTP_DEV: a pipe in which `nats-http dev` waits for a byte, which says that requests
    are answered. None if another program started the responder."""
    text = os.environ.get("NATS_HTTP_DEV", "")
    if text and not text.isdecimal():
        _refuse(name, "NATS_HTTP_DEV is for `nats-http dev` alone")
    return int(text) if text else None


def read_delay(name: str) -> float:
    """The seconds that each answer of the responder `name` takes: `--delay`, else `<NAME>_DELAY`, else 0."""
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
    # Without the lines about usage, an error is one line.
    return argparse.ArgumentParser(prog=f"responders.{name}", usage=argparse.SUPPRESS)
