"""The command line's small commands."""

import asyncio
import subprocess
import sys

import pytest

from app import __version__
from tests.harness import NatsServer, eventually, run_gateway
from tests.process.programs import PROGRAM, call, finish


def test_version_and_help_read_well() -> None:
    assert call("--version").stdout == f"nats-http-gateway {__version__}\n"
    for arguments in ([], ["--help"]):
        shown = call(*arguments)
        assert all(command in shown.stdout + shown.stderr for command in ("dev", "serve", "healthcheck"))
    for command in ("dev", "serve", "healthcheck"):
        help_text = call(command, "--help").stdout
        assert "Usage: " in help_text
        assert "--fd" not in help_text


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["nothing"], "nothing"), (["serve", "--port", "x"], "--port"), (["serve", "--workers", "0"], "--workers")],
    ids=str,
)
def test_a_wrong_call_exits_with_2_and_says_what_is_wrong(arguments: list[str], named: str) -> None:
    done = call(*arguments, NO_COLOR="1")
    assert done.returncode == 2
    assert named in done.stderr


async def test_healthcheck_exits_with_0_only_when_the_gateway_is_ready(own_nats: NatsServer) -> None:
    async with run_gateway(own_nats.url) as gateway:
        # A proxy for the internet is none for the gateway beside us.
        ready = await _call_beside("healthcheck", PORT=str(gateway.port), http_proxy="http://127.0.0.1:1")
        assert (ready[0], ready[1]) == (0, '{"status":"ready"}\n')
        own_nats.stop()
        await eventually(lambda: "connection refused" in str(gateway.link.reason))
        code, _, error = await _call_beside("healthcheck", "--url", f"{gateway.url}/readyz")
        assert code == 1
        assert "503" in error
        assert '"reason":"not connected to NATS"' in error
        assert (await _call_beside("healthcheck", "--url", f"{gateway.url}/livez"))[0] == 0
    for url in (f"{gateway.url}/readyz", "nonsense", "http://[::1", own_nats.start().url.replace("nats", "http", 1)):
        code, _, error = await _call_beside("healthcheck", "--url", url)
        assert (code, len(error.splitlines())) == (1, 1)


async def _call_beside(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """As `call`, while this event loop goes on serving."""
    done = await asyncio.to_thread(finish, [*PROGRAM, *arguments], **environment)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(("command", "is_taken"), [("serve", True), ("dev", True), ("check", False)])
def test_a_gateway_takes_sighup_before_it_loads_anything_that_takes_long(command: str, is_taken: bool) -> None:
    script = (
        "import signal, sys\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # it may be ignored where the tests run
        "class Look:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer': print(signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL)\n"
        "sys.meta_path.insert(0, Look())\n"
        f"sys.argv = ['nats-http', '{command}', '--help']\n"
        "from app.__main__ import main\n"
        "main()\n"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert output.stdout.split()[0] == str(is_taken), output.stderr


def test_the_version_is_printed_without_what_only_other_commands_need() -> None:
    script = (
        "import sys\n"
        "from app.commands.cli import cli\n"
        "try: cli(['--version'])\n"
        "except SystemExit: print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert output.startswith("nats-http-gateway ")
    assert not {"asyncio", "fastapi", "nats", "pydantic", "structlog", "uvicorn", "yaml"} & set(output.split())
