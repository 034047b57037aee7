"""`signature` in a route file, and the file with its secrets."""

from pathlib import Path

import pytest

from app.edge.signature import Signature
from app.pieces import run_at_once
from app.prepared import pack, unpack
from app.routefile.load import load_route_file
from tests.routefile.files import read_faults

SECRET = "0123456789abcdef"  # noqa: S105
ROUTE = "version: 1\nroutes:\n  - {{name: a, method: {0}, path: /a, subject: a, {1}}}\n"
SIGNED = "signature: {header: X-S, secret_file: s.txt}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "routes.yaml"


@pytest.mark.parametrize("text", [SECRET, f"{SECRET}\n", f"{SECRET}\r\n\n{SECRET}x\n"])
def test_a_file_has_a_secret_a_line(text: str, file: Path) -> None:
    (file.parent / "s.txt").write_bytes(text.encode())
    file.write_text(ROUTE.format("POST", SIGNED))
    (route,) = load_route_file(file).table.routes
    assert route.policies == (Signature("X-S", [line.encode() for line in text.split()]),)
    assert load_route_file(file).files == (file, file.parent / "s.txt")


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "it must have 1 to 3 secrets, each in a line of its own"),
        (f"{SECRET}\n".encode() * 4, "it must have 1 to 3 secrets, each in a line of its own"),
        (b"tooshort", "a secret has at least 16 bytes; `openssl rand -hex 32` makes one"),
        (b"\xff" * 20, "it is not UTF-8"),
        (None, "s.txt: no such file or directory"),
    ],
)
def test_a_wrong_file_is_refused_without_showing_it(data: bytes | None, fault: str, file: Path) -> None:
    if data is not None:
        (file.parent / "s.txt").write_bytes(data)
    (line,) = read_faults(file, ROUTE.format("POST", SIGNED))
    assert "routes[0].signature.secret_file: " in line
    assert line.endswith(fault)
    assert "tooshort" not in line


@pytest.mark.parametrize(
    ("method", "more", "fault"),
    [
        ("GET", SIGNED, "routes[0].signature: this route sends no body"),
        ("POST", SIGNED + ", max_body: 5MiB", "routes[0].max_body: \"5MiB\": with `signature` it is at most 4MiB"),
        ("POST", "signature: {header: 'X S', secret_file: s.txt}", "\"X S\": must be the name of a header"),
        ("POST", "signature: {header: X-S}", "routes[0].signature.secret_file: is missing"),
        ("POST", "signature: {header: X-S, secret_fil: s.txt}", "unknown key, did you mean `secret_file`?"),
        ("POST", "signature: {header: X-S, secret_file: s.txt, encoding: hax}", "must be 'hex' or 'base64'"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(method: str, more: str, fault: str, file: Path) -> None:
    (file.parent / "s.txt").write_text(SECRET)
    found = read_faults(file, ROUTE.format(method, more))
    assert any(fault in line for line in found), found


def test_the_file_of_an_included_file_is_beside_it(file: Path) -> None:
    (file.parent / "more").mkdir()
    (file.parent / "more" / "s.txt").write_text(SECRET)
    (file.parent / "more" / "r.yaml").write_text(
        "version: 1\ndefaults: {signature: {header: X-S, secret_file: s.txt}}\n"
        "routes:\n  - {name: a, method: POST, path: /a, subject: a}\n  - {name: b, method: GET, path: /b, subject: b}\n"
    )
    file.write_text("version: 1\ninclude: [more/r.yaml]\n")
    one, other = load_route_file(file).table.routes
    assert (one.signature, other.signature) == (Signature("X-S", [SECRET.encode()]), None)


def test_workers_get_the_secrets(file: Path) -> None:
    (file.parent / "s.txt").write_text(SECRET)
    file.write_text(ROUTE.format("POST", SIGNED))
    served = run_at_once(unpack(pack(load_route_file(file))))
    assert served.table.routes[0].signature == Signature("X-S", [SECRET.encode()])
