"""`nats-http settings`, as it is typed."""

import contextlib
import json
import os
import pty
import re
import subprocess

import pytest

from app.commands.settings_command import MAX_WIDTH, list_settings
from tests.harness import clean_environment
from tests.process.programs import PROGRAM, call
from tests.test_settings import SECRET, environment, read_reference

__all__ = ["environment"]  # a fixture

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
        "nats-http: GATEWAY_FOO: unknown setting, `nats-http settings` lists all settings",
        "nats-http: PORT 'abc': must be a whole number, from 0 to 65535",
    ]
    assert {row["name"] for row in json.loads(call("settings", "--json", **wrong).stdout) if row["is_wrong"]} == {
        "PORT"
    }


def test_the_settings_of_other_clusters_are_listed_without_their_secrets(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GATEWAY_NATS", "factory,edge")
    environment.setenv("NATS_FACTORY_URL", "nats://u:s3cret@a")
    environment.setenv("NATS_EDGE_TOKEN", "s3cret")
    listed = [(setting.name, setting.value) for setting in list_settings() if setting.source == "environment"]
    assert listed == [
        ("GATEWAY_NATS", "factory,edge"),
        ("NATS_FACTORY_URL", "nats://u:***@a"),
        ("NATS_EDGE_TOKEN", "***"),
    ]
    environment.setenv("GATEWAY_NATS", "factory,,")
    assert [setting.name for setting in list_settings() if setting.source == "environment"] == ["GATEWAY_NATS"]


def test_each_setting_is_listed_as_it_would_be_written_and_with_its_source(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GATEWAY_TIMEOUT", "0.5m")
    environment.setenv("PORT", "abc")
    listed = {setting.name: (setting.value, setting.source) for setting in list_settings()}
    documented = {name: None if value == "unset" else value for name, (value, _) in read_reference().items()}
    expected = {name: (value, "default") for name, value in documented.items()}
    assert listed == expected | {"GATEWAY_TIMEOUT": ("0.5m", "environment"), "PORT": ("abc", "environment")}


@pytest.mark.parametrize(
    ("variable", "text", "shown"),
    [
        ("NATS_URL", f"nats://u:{SECRET}@a:1, tls://{SECRET}@b,c", "nats://u:***@a:1, tls://***@b,c"),
        ("NATS_URL", f"u:{SECRET}@a", "u:***@a"),
        ("NATS_URL", f"nats://u:{SECRET},{SECRET}@a", "***"),
        ("NATS_URL", f"http://{SECRET}", "***"),
        ("GATEWAY_RATE_LIMIT_STORAGE", f"redis://u:{SECRET}@a:1/2", "redis://***@a:1/2"),
        ("GATEWAY_RATE_LIMIT_STORAGE", "valkeys://a", "valkeys://a"),
        ("GATEWAY_RATE_LIMIT_STORAGE", f"redis://:{SECRET}", "***"),
        ("NATS_USER", "u", "u"),
        ("NATS_PASSWORD", SECRET, "***"),
        ("NATS_TOKEN", SECRET, "***"),
        ("NATS_CREDS", SECRET, "***"),
        ("NATS_NKEY_SEED", SECRET * 100, "***"),
        ("NATS_CREDS", __file__, __file__),
    ],
)
def test_a_list_of_settings_has_no_secret(
    environment: pytest.MonkeyPatch, variable: str, text: str, shown: str
) -> None:
    environment.setenv(variable, text)
    assert {setting.value for setting in list_settings() if setting.name == variable} == {shown}


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
