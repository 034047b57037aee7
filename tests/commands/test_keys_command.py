"""`nats-http keys`, as it is typed."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.commands.key_file import KeyFile, change_key_file
from app.edge.api_keys import PREFIX, digest_key
from tests.process.programs import call


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def test_a_key_is_printed_once_and_its_digest_is_written_for_its_owner_alone(keys: Path) -> None:
    done = call("keys", "add", "sue", "--scope", "a:read", "--claim", "tenant=acme", "--file", str(keys))
    key = done.stdout.strip()
    assert (done.returncode, key[: len(PREFIX)]) == (0, PREFIX)
    assert key not in done.stderr
    assert key not in keys.read_text()
    assert digest_key(key.encode()) in keys.read_text()
    assert keys.stat().st_mode & 0o777 == 0o600


def test_keys_are_listed_without_their_digests(keys: Path) -> None:
    call("keys", "add", "sue", "--scope", "a", "--scope", "b", "--claim", "tenant=acme", "--file", str(keys))
    call("keys", "add", "bob", "--expires", "2027-01-31", "--file", str(keys))
    done = call("keys", "list", "--file", str(keys))
    assert [line.split(None, 1) for line in done.stdout.splitlines()] == [
        ["NAME", "SCOPES  CLAIMS              EXPIRES"],
        ["sue", 'a b     {"tenant": "acme"}  never'],
        ["bob", "-       -                   2027-01-31"],
    ]


def test_claims_of_a_key_may_be_any_json(keys: Path) -> None:
    values = ("level=5", "is_admin=true", "groups=[1, 2.5e20]", 'org={"id": "o1"}', 'code="007"')
    claims = [word for value in values for word in ("--claim", value)]
    assert call("keys", "add", "sue", *claims, "--file", str(keys)).returncode == 0
    shown = '{"level": 5, "is_admin": true, "groups": [1, 2.5e+20], "org": {"id": "o1"}, "code": "007"}'
    assert shown in call("keys", "list", "--file", str(keys)).stdout


def test_a_key_that_has_expired_is_marked_in_the_list(keys: Path) -> None:
    keys.write_text(f"version: 1\nkeys:\n  - {{name: a, sha256: {digest_key(b'a')}, expires: 2020-01-31}}\n")
    assert call("keys", "list", "--file", str(keys)).stdout.splitlines()[1].endswith("2020-01-31 (expired)")


def test_a_key_that_is_revoked_is_gone_and_all_else_stays_as_it_was_written(keys: Path) -> None:
    written = f"# Ours\nversion: 1\nkeys:\n- name: a  # first\n  sha256: {digest_key(b'a')}\n"
    keys.write_text(written)
    keys.chmod(0o640)
    for name in ("b", "c"):
        assert call("keys", "add", name, "--file", str(keys)).returncode == 0
    assert keys.read_text().startswith(written)
    assert call("keys", "revoke", "b", "--file", str(keys)).returncode == 0
    assert call("keys", "revoke", "c", "--file", str(keys)).returncode == 0
    assert keys.read_text() == written
    assert keys.stat().st_mode & 0o777 == 0o640
    assert list(keys.parent.iterdir()) == [keys]


def test_a_file_stays_that_of_its_owner_whoever_changes_it(keys: Path) -> None:
    call("keys", "add", "sue", "--file", str(keys))
    owner = (65534, 65534) if os.getuid() == 0 else (os.getuid(), os.getgid())  # root can give it to nobody
    os.chown(keys, *owner)
    assert call("keys", "add", "bob", "--file", str(keys)).returncode == 0
    assert (keys.stat().st_uid, keys.stat().st_gid) == owner


def test_who_changes_it_at_once_loses_no_change_of_another(keys: Path) -> None:
    names = [f"key-{number}" for number in range(40)]

    def add(name: str) -> None:
        with change_key_file(keys, may_be_new=True) as file:
            file.add(name, digest_key(name.encode()), scopes=(), claims={}, expires=None)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, names))
    assert sorted(row[0] for row in KeyFile.read(keys).list_rows(0.0)) == sorted(names)


def test_the_last_key_can_be_revoked_and_another_added(keys: Path) -> None:
    for command in ("add", "revoke", "add"):
        assert call("keys", command, "sue", "--file", str(keys)).returncode == 0
    assert call("keys", "list", "--file", str(keys)).stdout.count("\n") == 2


def test_a_key_can_be_added_to_an_empty_list(keys: Path) -> None:
    keys.write_text("version: 1\nkeys: []  # none yet\n")
    assert call("keys", "add", "sue", "--file", str(keys)).returncode == 0
    assert keys.read_text().startswith("version: 1\nkeys:  # none yet\n  - name: ")
    assert call("keys", "list", "--file", str(keys)).stdout.splitlines()[1].startswith("sue ")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["add", "sue"], "has a key of sue already"),
        (["add", "a b"], "a name is 1 to 128 of letters"),
        (["add", "bob", "--scope", "a,b"], "--scope 'a,b': give each scope by itself: --scope a --scope b"),
        (["add", "bob", "--claim", "tenant"], "a claim is NAME=VALUE"),
        (["add", "bob", "--expires", "tomorrow"], "--expires 'tomorrow': must be a date such as"),
        (["add", "bob", "--expires", "2020-01-01"], "--expires '2020-01-01': this is in the past"),
        (["revoke", "bob"], "has no key of bob"),
    ],
)
def test_what_can_not_be_done_is_said_and_changes_nothing(keys: Path, arguments: list[str], text: str) -> None:
    call("keys", "add", "sue", "--file", str(keys))
    before = keys.read_text()
    done = call("keys", *arguments, "--file", str(keys))
    assert (done.returncode, done.stdout) == (1, "")
    assert text in done.stderr
    assert keys.read_text() == before


def test_a_file_that_is_no_list_of_lines_is_left_to_a_person(keys: Path) -> None:
    keys.write_text(f"version: 1\nkeys: [{{name: a, sha256: {digest_key(b'a')}}}]\n")
    done = call("keys", "add", "bob", "--file", str(keys))
    assert done.returncode == 1
    assert len(keys.read_text().splitlines()) == 2


def test_the_file_is_that_of_the_route_file(tmp_path: Path) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text("version: 1\nauth: {a: {type: api-key, header: x, file: my-keys.yaml}}\nroutes: []\n")
    assert call("keys", "add", "sue", GATEWAY_ROUTES=str(routes)).returncode == 0
    assert (tmp_path / "my-keys.yaml").exists()
    for command in (("add", "bob"), ("list",), ("revoke", "bob")):
        assert call("keys", *command, "--routes", str(routes)).returncode == 0
    done = call("keys", "list", "--routes", str(routes), "--file", "keys.yaml")
    assert (done.returncode, done.stderr) == (
        1,
        "nats-http: --file and --routes both name the file of keys: give one\n",
    )
    assert call("keys", "list", "--file", str(tmp_path / "none.yaml")).stderr.endswith("no such file or directory\n")
