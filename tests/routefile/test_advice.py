"""What `check` warns of."""

from pathlib import Path

import pytest

from app.edge.api_keys import digest_key
from app.routefile.advice import find_advice
from app.routefile.keys import parse_expiry
from tests.routefile.files import load

NOW = parse_expiry("2027-01-31T12:00:00Z")
HEAD = """\
version: 1
auth:
  partners: {type: api-key, header: X-API-Key, file: keys.yaml}
  machines: {type: client-certificate}
rate_limits: {public: {average: 5}, other: {average: 5}}
routes:
"""
ROUTE = "  - {{name: {0}, method: GET, path: /{0}, subject: a{1}}}\n"


def advise(file: Path, routes: str, *, pages: tuple[str, ...] = (), expires: str = "2999-01-01") -> list[str]:
    key = f"{{name: sue, sha256: {digest_key(b'key')}, expires: {expires}}}"
    (file.parent / "keys.yaml").write_text(f"version: 1\nkeys: [{key}]\n")
    return list(find_advice(load(file, HEAD + routes), pages=pages, can_be_shown=True, now=NOW))


def test_a_scheme_and_a_limit_that_no_route_uses_get_a_warning(file: Path) -> None:
    assert advise(file, ROUTE.format("a", ", auth: partners, rate_limit: public")) == [
        "auth.machines: no route uses this scheme, nor does GATEWAY_PAGES_AUTH",
        "rate_limits.other: no route uses this limit",
    ]


def test_a_scheme_of_any_route_or_of_the_pages_gets_none(file: Path) -> None:
    rules = ", auth: {any: [partners, machines]}, rate_limit: [public, other]"
    assert advise(file, ROUTE.format("a", ", auth: none") + ROUTE.format("b", rules)) == []
    limited = ", auth: partners, rate_limit: [public, other]"
    assert advise(file, ROUTE.format("a", limited), pages=("machines",)) == []
    discover = "discover: {services: [orders], auth: machines}\n"
    assert advise(file, ROUTE.format("a", limited) + discover) == []


@pytest.mark.parametrize(
    ("expires", "is_over"),
    [("2027-01-31T12:00:00Z", True), ("2027-01-31T12:00:01Z", False), ("2027-01-31", True), ("2027-02-01", False)],
)
def test_a_key_that_has_expired_gets_a_warning(file: Path, expires: str, is_over: bool) -> None:
    rules = ", auth: {any: [partners, machines]}, rate_limit: [public, other]"
    told = ["keys.yaml: 1 of 1 keys have expired: sue"] if is_over else []
    assert advise(file, ROUTE.format("a", rules), expires=expires) == told
