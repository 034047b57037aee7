"""`nats-http settings`, as it is typed."""

import contextlib
import json
import os
import pty
import re
import subprocess

import pytest

from app.commands.settings_command import MAX_WIDTH
from tests.harness import clean_environment
from tests.process.programs import PROGRAM, call

LONG = ",".join(f"nats://user:s3cret@host{number}.example:4222" for number in range(9))


def test_it_lists_each_setting_on_a_line_with_its_source_and_no_secret() -> None:
    done = call("settings", NATS_URL=LONG, GATEWAY_WORKERS="2")
    lines = done.stdout.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines}
    assert (done.returncode, done.stderr) == (0, "")
    assert rows["SETTING"] == ["SOURCE", "VALUE"]
    assert (rows["GATEWAY_WORKERS"], rows["PORT"]) == (["environment", "2"], ["default", "8000"])
    assert rows["GATEWAY_ROUTES"] == ["default", "unset"]
    assert rows["NATS_URL"][1].startswith("nats://user:***@host0.example:4222,nats://user:***@host1")
    assert "s3cret" not in done.stdout
    assert {line.index(rows[line.split()[0]][0]) for line in lines} == {lines[0].index("SOURCE")}
    assert max(map(len, lines)) == MAX_WIDTH


def test_json_has_the_same_for_programs() -> None:
    done = call("settings", "--json", GATEWAY_TIMEOUT="3s", NATS_USER="u", NATS_PASSWORD="s3cret")  # noqa: S106 - for tests
    rows = {row.pop("name"): row for row in json.loads(done.stdout)}
    assert done.returncode == 0
    assert rows["GATEWAY_TIMEOUT"] == {"value": "3s", "source": "environment", "is_wrong": False}
    assert rows["NATS_PASSWORD"] == {"value": "***", "source": "environment", "is_wrong": False}
    assert rows["NATS_CREDS"] == {"value": None, "source": "default", "is_wrong": False}


def test_what_is_wrong_is_marked_in_the_list_told_and_exit_code_1() -> None:
    wrong = {"PORT": "abc", "GATEWAY_FOO": "1", "NATS_CREDS": "SUSEED"}
    done = call("settings", **wrong, GATEWAY_WORKERS="2")
    assert done.returncode == 1
    assert re.search(r"^PORT +environment, wrong +abc$", done.stdout, re.MULTILINE)
    assert re.search(r"^GATEWAY_WORKERS +environment +2$", done.stdout, re.MULTILINE)
    assert done.stderr.splitlines() == [
        "nats-http: GATEWAY_FOO: unknown setting, `nats-http settings` lists all that there are",
        "nats-http: PORT 'abc': must be a whole number, from 0 to 65535",
    ]
    assert {row["name"] for row in json.loads(call("settings", "--json", **wrong).stdout) if row["is_wrong"]} == {
        "PORT"
    }


@pytest.mark.parametrize("columns", [60, 200])
def test_a_terminal_gets_a_table_that_fits(columns: int) -> None:
    ours, theirs = pty.openpty()
    environment = clean_environment(NATS_URL=LONG, PORT="abc", TERM="xterm", COLUMNS=str(columns))
    with subprocess.Popen([*PROGRAM, "settings"], env=environment, stdout=theirs, stderr=subprocess.PIPE) as process:
        os.close(theirs)
        lines = read_terminal(ours)
        assert process.stderr is not None
        assert process.stderr.read().count(b"nats-http: ") == 1
    text = "".join(lines)
    assert process.returncode == 1
    assert max(map(len, lines)) <= min(columns, MAX_WIDTH)
    assert "─────" in text
    assert "s3cret" not in text
    assert re.sub(r"\s+", "", text).count("host") == 9  # nothing of a long value is left out


def read_terminal(fd: int) -> list[str]:
    """All lines that are written to a terminal until it is closed, without colours."""
    shown = b""
    with os.fdopen(fd, "rb", buffering=0) as reader, contextlib.suppress(OSError):  # once the other side is closed
        while piece := reader.read(4096):
            shown += piece
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
