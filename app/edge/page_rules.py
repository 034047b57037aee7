"""The setting GATEWAY_PAGES_AUTH: who may see the gateway's own pages. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..formats.words import suggest
from .auth import Authenticate
from .identity import Scheme, check_scope

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SETTING = "GATEWAY_PAGES_AUTH"


@dataclass(frozen=True, slots=True)
class PageRules:
    """A caller must pass one of the `schemes` of the route file, and have all `scopes`."""

    schemes: tuple[str, ...]
    scopes: tuple[str, ...] = ()

    def find_faults(self, known: Sequence[str]) -> Iterator[str]:
        """One line for each name that is not a scheme of the route file. `known` has the names of its schemes."""
        for name in self.schemes:
            if name not in known:
                hint = suggest(name, known) or (f"; known are {', '.join(known)}" if known else "; it has no schemes")
                yield f"{_SETTING} '{name}': no scheme of this name is under `auth` of the route file{hint}"

    def make_policy(self, schemes: Mapping[str, Scheme]) -> Authenticate:
        """The policy for pages. A scheme that does not exist admits nobody."""
        found = {name: schemes[name] for name in self.schemes if name in schemes}
        return Authenticate(found, scopes=self.scopes)


def parse_page_rules(text: str) -> PageRules:
    """Parse `users`, `users:pages:read` or `users,widgets:read write`: names of schemes, and scopes after the first
    colon. Raises ValueError, whose text says how to write it."""
    names, _, scopes = text.partition(":")
    found = tuple(name.strip() for name in names.split(","))
    if not all(map(_NAME.fullmatch, found)) or (":" in text and not scopes.split()):
        raise ValueError(
            "must be schemes of the route file, separated by commas. Scopes may come after a colon, separated by "
            "blanks, such as users or users:pages:read"
        )
    for scope in scopes.split():
        check_scope(scope)
    return PageRules(tuple(dict.fromkeys(found)), tuple(scopes.split()))
