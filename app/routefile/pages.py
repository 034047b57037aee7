"""Whether a route file has the schemes by which callers are to see the gateway's own pages."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..edge.identity import Scheme
from ..edge.page_rules import PageRules
from .faults import RouteFileError


def check_page_rules(rules: PageRules | None, schemes: Mapping[str, Scheme], files: Sequence[Path] = ()) -> None:
    """Raises RouteFileError where one of them is not among those of the file."""
    if rules and (faults := list(rules.find_faults(tuple(schemes)))):
        raise RouteFileError(faults, files)
