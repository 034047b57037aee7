"""Checks that a route file has the schemes that GATEWAY_PAGES_AUTH names."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..edge.identity import Scheme
from ..edge.page_rules import PageRules
from .faults import RouteFileError


def check_page_rules(rules: PageRules | None, schemes: Mapping[str, Scheme], files: Sequence[Path] = ()) -> None:
    """Raises RouteFileError if the rules name a scheme that `schemes`, those of the route file, do not have."""
    if rules and (faults := list(rules.find_faults(tuple(schemes)))):
        raise RouteFileError(faults, files)
