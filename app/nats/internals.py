"""Lists the names of nats-py beyond its public API that this package uses, and checks that the installed version has
them.

Without this check at the start, a missing name would show as a connection that can never be made.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version

from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.protocol.parser import Parser

from .. import __version__
from ..errors import CannotStart

TRIED = "2.16"
"""The last minor version with which tests/nats/test_contract.py was run."""

_METHODS: Mapping[str, Sequence[str]] = {
    "_process_msg": ("sid", "subject", "reply", "data", "headers"),
    "_process_err": ("err_msg",),
    "_process_op_err": ("e",),
    "_process_info": ("info", "initial_connection"),
}
"""Methods of the client that this package replaces, and their parameters."""
_OF_A_CLIENT = ("_flusher_task", "_nuid", "_ping_interval_task", "_ps", "_reading_task", "_transport", "options")
_OF_A_TRANSPORT = ("_bare_io_writer", "_io_reader", "_io_writer")
_OF_A_PARSER = ("buf", "needed", "parse", "state")


class IncompatibleNats(CannotStart):
    """The installed nats-py lacks a name. The text is one sentence with the versions of nats-py and of the gateway."""


def check_nats() -> None:
    """Raises IncompatibleNats if the installed nats-py lacks a name."""
    missing = list(_find_missing())
    if missing:
        raise IncompatibleNats(
            f"nats-py {version('nats-py')} has no {', '.join(missing)}, which nats-http-gateway {__version__} needs: "
            f"install nats-py {TRIED}, or a newer nats-http-gateway"
        )


def _find_missing() -> Iterator[str]:
    for name, parameters in _METHODS.items():
        method = getattr(Client, name, None)
        if method is None or tuple(inspect.signature(method).parameters) != ("self", *parameters):
            yield f"Client.{name}({', '.join(parameters)})"
    client = Client()
    yield from (f"Client.{name}" for name in _OF_A_CLIENT if not hasattr(client, name))
    transport = TcpTransport()  # type: ignore[no-untyped-call]
    yield from (f"TcpTransport.{name}" for name in _OF_A_TRANSPORT if not hasattr(transport, name))
    reader = Parser(client)
    yield from (f"Parser.{name}" for name in _OF_A_PARSER if not hasattr(reader, name))
