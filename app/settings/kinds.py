"""The types of settings, and how each is read from a text."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from ..edge.networks import parse_network
from ..edge.page_rules import PageRules, parse_page_rules
from ..edge.proxies import parse_root
from ..formats.storages import parse_storage
from ..formats.units import parse_age, parse_count, parse_duration, parse_place, parse_size, parse_switch
from ..formats.words import SERVICE_NAME
from ..nats.addresses import Address


def split_servers(text: object) -> object:
    """The addresses of NATS servers in a text, which are separated by commas. Any other type is returned unchanged.
    Raises ValueError for a part that is not such an address."""
    if not isinstance(text, str):
        return text
    servers = tuple(server.strip() for server in text.split(","))
    for server in servers:
        Address.parse(server)
    return servers


def split_networks(text: object) -> object:
    """The networks in a text, which are separated by commas. Any other type is returned unchanged. Raises ValueError
    for a part that is neither an address nor a network."""
    if not isinstance(text, str):
        return text
    networks = tuple(network.strip() for network in text.split(","))
    for network in networks:
        if len(parts := network.split()) > 1:
            raise ValueError(f"must have commas between the addresses and networks: {', '.join(parts)}")
        parse_network(network)
    return networks


def parse_services(text: str) -> str:
    """Names of services, with commas between. Raises ValueError."""
    for name in (part.strip() for part in text.split(",")):
        if not SERVICE_NAME.fullmatch(name):
            raise ValueError(f"'{name}' is not the name of a service, of letters, digits, _ and - (put commas between)")
    return text


def from_text(parse: Callable[[str], float | str | tuple[str, int] | PageRules | None]) -> BeforeValidator:
    """A validator that reads texts with `parse`, and leaves values of other types as they are."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


_LEAST_BUFFERED = 1024 * 1024

Duration = Annotated[float, from_text(parse_duration)]
Size = Annotated[int, from_text(parse_size)]
BufferSize = Annotated[int, from_text(partial(parse_size, least=_LEAST_BUFFERED)), Field(ge=_LEAST_BUFFERED)]
Count = Annotated[int, from_text(partial(parse_count, least=1)), Field(ge=1)]
Port = Annotated[int, from_text(partial(parse_count, least=0, most=65535)), Field(ge=0, le=65535)]
Switch = Annotated[bool, from_text(parse_switch)]
Place = Annotated[bool | tuple[str, int], from_text(parse_place)]
"""The place of a page: True for the gateway's own port, False for nowhere, else a host and a port."""
StorageUrl = Annotated[str, from_text(parse_storage)]
Fallback = Literal["open", "closed"]
LogFormat = Literal["json", "text"]
LogLevel = Literal["debug", "info", "warning", "error"]
Age = Annotated[int | None, from_text(parse_age)]
"""Whole seconds, or None for `off`."""
PagesAuth = Annotated[PageRules, from_text(parse_page_rules)]
RootPath = Annotated[str, from_text(parse_root)]
