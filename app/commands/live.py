"""Route files for commands, with the routes of services that `discover` names.

Only NATS knows these routes. Commands that need no NATS ask it with `--live`, and say otherwise that they don't.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .endings import CommandError

if TYPE_CHECKING:
    from ..discovery.infos import Remark, Service
    from ..routefile.file import RouteFile

CONNECT_WITHIN = 5.0  # seconds

LiveOption = Annotated[
    bool, typer.Option("--live", help="Ask NATS for the routes of the services that `discover` names, too (NATS_URL).")
]
"""The option for `load_routes`."""


def load_routes(path: Path, *, live: bool) -> "RouteFile":
    """The route file. With `live` it has the routes of its services, and without it a line on stderr says that they are
    missing. Raises CommandError if NATS can't be asked."""
    from ..routefile.load import load_route_file

    file = load_route_file(path)
    if file.discover is None:
        return file
    names = file.discover.services
    if not live:
        which = "the service" if len(names) == 1 else "the services"
        _warn(f"{path}: routes of {which} {', '.join(names)} are not included, since only NATS knows them: add --live")
        return file
    services, remarks = ask(names, file.discover.nats)
    found = {service.info.name for service in services}
    for name in names:
        if name not in found:
            _warn(f"no service named {name} answers on $SRV.INFO")
    whole = load_route_file(path, services, remarks)
    for remark in whole.remarks:
        _warn(str(remark))
    return whole


def _warn(text: str) -> None:
    typer.echo(f"nats-http: warning: {text}", err=True)


def ask(names: Sequence[str], nats: str | None = None) -> "tuple[Sequence[Service], Sequence[Remark]]":
    """The services of these names that answer on NATS, or all if there are no names, and what of them can't be used.
    `nats` is the name of a NATS cluster. Raises CommandError."""
    import asyncio

    from ..discovery.asking import ask_infos
    from ..errors import GatewayError
    from ..formats.clusters import MAIN
    from ..nats.link import Link
    from ..observe.log import configure_logging
    from ..settings import load_settings

    known = load_settings(check_files=True).nats
    servers = known.get(nats or MAIN)
    if servers is None:
        raise CommandError(f"--nats {nats}: known are {', '.join(known)}; GATEWAY_NATS has the names")

    async def ask() -> "tuple[Sequence[Service], Sequence[Remark]]":
        async with Link(servers.nats_url, max_in_flight=16, credentials=servers.credentials) as link:
            return await ask_infos(link, names, connect_within=CONNECT_WITHIN)

    configure_logging(color=False, form="text", level="error")
    try:
        return asyncio.run(ask())
    except GatewayError as error:
        raise CommandError(f"{', '.join(servers.nats_url)}: {error.detail}") from None
