"""Checks that a route file fits to the gateway's own pages."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..edge.identity import Scheme
from ..routing.routes import Route
from ..settings import Settings
from .faults import RouteFileError

CATALOGUE = "services"
"""The first segment of the path of the catalogue of services."""


def check_pages(
    settings: Settings, schemes: Mapping[str, Scheme], routes: Iterable[Route], files: Sequence[Path] = ()
) -> None:
    """Raises RouteFileError if GATEWAY_PAGES_AUTH names a scheme that the route file does not have, or if a route has a
    path of the catalogue of services that GATEWAY_SERVICES asks for."""
    faults = list(settings.pages_auth.find_faults(tuple(schemes))) if settings.pages_auth else []
    for route in routes if settings.services else ():
        if route.path.split("/")[1] == CATALOGUE:
            faults.append(f"route '{route.name}': {route.path} is taken by the page that GATEWAY_SERVICES asks for")
    if faults:
        raise RouteFileError(faults, files)
