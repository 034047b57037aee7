"""The examples of docs/authentication.md and its neighbours, as they stand there."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.edge.api_keys import digest_key
from app.routefile.load import load_route_file
from tests.harness import PATIENCE, NatsServer
from tests.process.programs import PROGRAM, call, run
from tests.process.test_readme import find_examples, run_examples

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("authentication.md", "cors.md", "rate-limits.md")
PAGE = (DOCS / "authentication.md").read_text(encoding="utf-8")


def find_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf'^```{language}(?: title="[^"]+")?\n(.*?)^```', text, re.MULTILINE | re.DOTALL)


def write_route_file(folder: Path, word: str) -> Path:
    """The one of the page that has this word."""
    (text,) = [block for block in find_blocks(PAGE, "yaml") if word in block]
    path = folder / "routes.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("page", PAGES)
def test_each_route_file_of_a_page_is_right_as_it_stands_there(tmp_path: Path, page: str) -> None:
    (tmp_path / "keys.yaml").write_text(f"version: 1\nkeys: [{{name: a, sha256: {digest_key(b'a')}}}]\n")
    blocks = find_blocks((DOCS / page).read_text(encoding="utf-8"), "yaml")
    files = [block for block in blocks if "\nkeys:" not in block]
    assert len(files) > 1
    for text in files:
        (tmp_path / "routes.yaml").write_text(text, encoding="utf-8")
        assert load_route_file(tmp_path / "routes.yaml").table.routes, text


def test_the_script_of_an_issuer_makes_keys_and_a_token_that_a_route_takes(tmp_path: Path) -> None:
    (script,) = find_blocks(PAGE, "python")
    made = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE
    )
    path = write_route_file(tmp_path, "jwks_url: https://id.example.com/.well-known/jwks.json\n")
    path.write_text(re.sub("jwks_url: .*", "jwks_file: jwks.json", path.read_text()))
    done = call(
        *("explain", "POST", "/orders", "--routes", str(path)),
        *("-d", "{}", "-H", "Content-Type: application/json", "-H", f"Authorization: Bearer {made.stdout.strip()}"),
    )
    assert done.returncode == 0, done.stdout + made.stderr
    assert "caller   sue, known by users, with scopes orders:write" in done.stdout


async def test_the_certificates_of_the_page_are_what_its_gateway_and_its_caller_need(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    made = [example for example in find_examples(PAGE) if example.command.startswith("openssl")]
    run_examples(made, tmp_path, "")
    assert len(made) == 4
    routes = write_route_file(tmp_path, "client-certificate")
    names = {"GATEWAY_TLS_CERT": "cert.pem", "GATEWAY_TLS_KEY": "key.pem", "GATEWAY_TLS_CLIENT_CA": "clients.pem"}
    settings = {name: str(tmp_path / file) for name, file in names.items()}
    command = [*PROGRAM, "serve", "--port", "0", str(routes)]
    with run(command, tmp_path / "log", NATS_URL=own_nats.url, **settings) as gateway:
        url = gateway.find(r'"address":"(https://[^"]+)"')
        gateway.wait_for_connections(1)
        curl = f"curl -s -o /dev/null -w '%{{http_code}}' --cacert cert.pem {url}/orders"
        for more, status in ((" --cert billing.pem --key billing.key", "503"), ("", "401")):
            assert await asyncio.to_thread(read_output, curl + more, tmp_path) == status
        assert gateway.stop() == 0


def read_output(command: str, folder: Path) -> str:
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    return done.stdout
