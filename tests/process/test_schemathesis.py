"""schemathesis, as its command line, against `nats-http dev`: what the OpenAPI document says is what callers see."""

import json
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness import PATIENCE, clean_environment, follow_references
from tests.process.programs import PROGRAM, run

# Checks that look at one thing alone, and what is left out:
# - positive_data_acceptance: a note that the schema allows may still be 404, 412 or, for a name that no pattern can
#   describe, 422.
CHECKS = ("--checks", "all", "--exclude-checks", "positive_data_acceptance")
# What the gateway says to data that breaks the document, beyond what schemathesis expects of itself; a condition that
# does not hold may be told first.
CONFIG = """\
[checks]
negative_data_rejection.expected-statuses = ["400", "404", "405", "412", "413", "414", "415", "422", "431"]
"""
EXAMPLES = 60  # of each operation
STREAM = "/clock/ticks"
"""The path of a stream: it has no end, and Schemathesis would wait for it."""


# The statuses of problems that a request of schemathesis can meet on any route; docs/problems.md has them all.
OF_ANY_REQUEST = ("408", "413", "414", "415", "422", "431")


def make_strict(document: dict[str, Any]) -> dict[str, Any]:
    """Without server errors, and with each client error in the place of all of them, which would allow every status."""
    follow_references(document)
    for operations in document["paths"].values():
        for operation in operations.values():
            refused = operation["responses"].pop("4XX")
            operation["responses"] = {**dict.fromkeys(OF_ANY_REQUEST, refused), **operation["responses"]}
            del operation["responses"]["5XX"]
    return document


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_no_status_is_undocumented_and_no_answer_is_a_server_error(tmp_path: Path) -> None:
    with run([*PROGRAM, "dev", "--port", "0", "--nats-port", "0"], tmp_path / "log", TMPDIR=str(tmp_path)) as dev:
        url = dev.find(r"gateway +(http://\S+)")
        dev.find("(try: curl)")
        document = make_strict(httpx.get(f"{url}/openapi.json", trust_env=False, timeout=PATIENCE).json())
        (tmp_path / "openapi.json").write_text(json.dumps(document))
        (tmp_path / "schemathesis.toml").write_text(CONFIG)
        program = Path(sysconfig.get_path("scripts")) / "st"
        command = [program, "run", "openapi.json", "--url", url, *CHECKS, "--max-examples", str(EXAMPLES), "--no-color"]
        command += ["--exclude-path", STREAM]
        done = subprocess.run(
            [*map(str, command), "--generation-deterministic", "--workers", "1"],
            cwd=tmp_path,
            env=clean_environment(HOME=str(tmp_path)),
            capture_output=True,
            text=True,
            timeout=240,
        )
        statuses = set(map(int, re.findall(r" gateway  (\d{3}) ", dev.log)))
        assert dev.stop() == 0
    assert done.returncode == 0, shorten(done.stdout + done.stderr)
    assert {200, 201, 204, 404, 405, 412, 422} <= statuses  # it has really been everywhere
    assert not [status for status in statuses if status >= 500]


def shorten(text: str) -> str:
    """Bodies may be large."""
    return "\n".join(line[:300] for line in text.splitlines())[-8000:]
