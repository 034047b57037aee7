import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import SecretStr, ValidationError

from app.nats.addresses import Address
from app.nats.credentials import Credentials, CredentialsError
from app.settings import (
    Settings,
    SettingsError,
    child_environment,
    is_color_wanted,
    is_nats_url_set,
    load_settings,
)
from tests.credentials import Key, Operator, write_certificate

REFERENCE = Path(__file__).parent.parent / "docs" / "settings.md"
DEFAULTS = {
    "nats_url": ("nats://localhost:4222",),
    "nats_creds": None,
    "nats_nkey_seed": None,
    "nats_user": None,
    "nats_password": None,
    "nats_token": None,
    "nats_tls_ca": None,
    "nats_tls_cert": None,
    "nats_tls_key": None,
    "routes": None,
    "discover": None,
    "host": "127.0.0.1",
    "port": 8000,
    "workers": 1,
    "tls_cert": None,
    "tls_key": None,
    "tls_client_ca": None,
    "hsts": None,
    "root_path": None,
    "trusted_proxies": None,
    "proxy_protocol": False,
    "timeout": 2.0,
    "max_timeout": 30.0,
    "max_body": 1024 * 1024,
    "max_in_flight": 4096,
    "max_in_flight_per_caller": None,
    "max_streams": 1000,
    "rate_limit_storage": None,
    "rate_limit_fallback": "open",
    "max_connections": 10_000,
    "max_buffered": 16 * 1024 * 1024,
    "drain_timeout": 25.0,
    "access_log": None,
    "log_format": None,
    "log_level": "info",
    "health_details": None,
    "metrics_address": None,
    "status": True,
    "pages_auth": None,
    "services": False,
    "server_timing": False,
    "watch": False,
    "clusters": None,
}
VARIABLES = {field: str(info.validation_alias) for field, info in Settings.model_fields.items()}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment without a setting in it."""
    for name in list(os.environ):
        if name.upper().startswith(("GATEWAY_", "NATS_")) or name.upper() in ("PORT", *map(str.upper, VARIABLES)):
            monkeypatch.delenv(name)
    return monkeypatch


def read_faults() -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return str(caught.value).splitlines()


# Values


def test_nothing_needs_to_be_set() -> None:
    assert load_settings().model_dump() == DEFAULTS


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("NATS_URL", "nats://a:1", "nats_url", ("nats://a:1",)),
        ("NATS_URL", "nats://a:1, tls://b:2 ,c:3", "nats_url", ("nats://a:1", "tls://b:2", "c:3")),
        ("NATS_URL", "nats://user:p%40ss@a:1", "nats_url", ("nats://user:p%40ss@a:1",)),
        ("NATS_URL", "a", "nats_url", ("a",)),
        ("NATS_CREDS", "user.creds", "nats_creds", Path("user.creds")),
        ("NATS_NKEY_SEED", "user.nk", "nats_nkey_seed", Path("user.nk")),
        ("NATS_USER", "u", "nats_user", "u"),
        ("NATS_TOKEN", "t", "nats_token", SecretStr("t")),
        ("NATS_TLS_CA", "ca.pem", "nats_tls_ca", Path("ca.pem")),
        ("GATEWAY_ROUTES", "here/routes.yaml", "routes", Path("here/routes.yaml")),
        ("GATEWAY_DISCOVER", "orders,pets", "discover", "orders,pets"),
        ("GATEWAY_HOST", "192.0.2.1", "host", "192.0.2.1"),
        ("GATEWAY_HOST", "::", "host", "::"),
        ("PORT", "0", "port", 0),
        ("PORT", "65535", "port", 65535),
        ("GATEWAY_WORKERS", "4", "workers", 4),
        ("GATEWAY_ROOT_PATH", "/api", "root_path", "/api"),
        ("GATEWAY_ROOT_PATH", "/a-b/c.d/", "root_path", "/a-b/c.d"),
        ("GATEWAY_ROOT_PATH", "/", "root_path", ""),
        ("GATEWAY_TRUSTED_PROXIES", "10.0.0.0/8, ::1", "trusted_proxies", ("10.0.0.0/8", "::1")),
        ("GATEWAY_PAGES_AUTH", "users", "pages_auth", {"schemes": ("users",), "scopes": ()}),
        ("GATEWAY_PAGES_AUTH", "a:b:c", "pages_auth", {"schemes": ("a",), "scopes": ("b:c",)}),
        ("GATEWAY_PAGES_AUTH", "a, b.c:x  y", "pages_auth", {"schemes": ("a", "b.c"), "scopes": ("x", "y")}),
        ("GATEWAY_TIMEOUT", "500ms", "timeout", 0.5),
        ("GATEWAY_MAX_TIMEOUT", "2m", "max_timeout", 120.0),
        ("GATEWAY_MAX_BODY", "0", "max_body", 0),
        ("GATEWAY_MAX_BODY", "1048577", "max_body", 1_048_577),
        ("GATEWAY_MAX_BODY", "64KiB", "max_body", 65_536),
        ("GATEWAY_MAX_IN_FLIGHT", "1", "max_in_flight", 1),
        ("GATEWAY_MAX_IN_FLIGHT_PER_CALLER", "64", "max_in_flight_per_caller", 64),
        ("GATEWAY_RATE_LIMIT_STORAGE", "redis://a", "rate_limit_storage", "redis://a"),
        ("GATEWAY_RATE_LIMIT_STORAGE", "valkeys://u:p@a:1/2", "rate_limit_storage", "valkeys://u:p@a:1/2"),
        ("GATEWAY_RATE_LIMIT_STORAGE", "redis+unix:///run/r", "rate_limit_storage", "redis+unix:///run/r"),
        ("GATEWAY_RATE_LIMIT_FALLBACK", "Closed", "rate_limit_fallback", "closed"),
        ("GATEWAY_MAX_BUFFERED", "8MiB", "max_buffered", 8 * 1024 * 1024),
        ("GATEWAY_MAX_CONNECTIONS", "100", "max_connections", 100),
        ("GATEWAY_DRAIN_TIMEOUT", "1.5s", "drain_timeout", 1.5),
        ("GATEWAY_ACCESS_LOG", "on", "access_log", True),
        ("GATEWAY_ACCESS_LOG", "off", "access_log", False),
        ("GATEWAY_ACCESS_LOG", "True", "access_log", True),
        ("GATEWAY_LOG_FORMAT", "json", "log_format", "json"),
        ("GATEWAY_LOG_FORMAT", "Text", "log_format", "text"),
        ("GATEWAY_LOG_LEVEL", "WARNING", "log_level", "warning"),
        ("GATEWAY_HEALTH_DETAILS", "on", "health_details", True),
        ("GATEWAY_HEALTH_DETAILS", "off", "health_details", False),
        ("GATEWAY_METRICS_ADDRESS", "127.0.0.1:9090", "metrics_address", ("127.0.0.1", 9090)),
        ("GATEWAY_METRICS_ADDRESS", "[::1]:9090", "metrics_address", ("::1", 9090)),
        ("GATEWAY_METRICS_ADDRESS", "off", "metrics_address", False),
        ("GATEWAY_STATUS", "off", "status", False),
        ("GATEWAY_STATUS", "localhost:9090", "status", ("localhost", 9090)),
        ("GATEWAY_SERVICES", "on", "services", True),
        ("GATEWAY_SERVER_TIMING", "on", "server_timing", True),
        ("GATEWAY_WATCH", "on", "watch", True),
        ("GATEWAY_HSTS_MAX_AGE", "off", "hsts", None),
    ],
)
def test_a_variable_sets_its_setting_and_no_other(
    environment: pytest.MonkeyPatch, variable: str, text: str, field: str, value: object
) -> None:
    environment.setenv(variable, text)
    assert load_settings().model_dump() == {**DEFAULTS, field: value}


@pytest.mark.parametrize("variable", VARIABLES.values())
def test_an_empty_variable_is_not_set(environment: pytest.MonkeyPatch, variable: str) -> None:
    environment.setenv(variable, "")
    assert load_settings().model_dump() == DEFAULTS


def test_several_settings_are_read_together(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PORT", "9000")
    environment.setenv("GATEWAY_TIMEOUT", "1s")
    environment.setenv("GATEWAY_TRUSTED_PROXIES", "::1")
    environment.setenv("GATEWAY_PROXY_PROTOCOL", "on")
    settings = load_settings()
    assert (settings.port, settings.timeout, settings.proxy_protocol) == (9000, 1.0, True)


@pytest.mark.parametrize("field", DEFAULTS)
def test_settings_are_frozen(field: str) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(load_settings(), field, DEFAULTS[field])


# What is wrong

ROOT = "a path such as /api or /shop/api, of letters, digits, and - . _ ~"
PAGES = "schemes of the route file, separated by commas. Scopes may come after a colon, separated by blanks, such as "
PAGES += "users or users:pages:read"
AGES = "off, or a whole number with its unit: 3600s, 24h or 365d"
SIZES = "a whole number of bytes, or one with KiB or MiB: 1048576, 64KiB or 1MiB"


@pytest.mark.parametrize(
    ("variable", "text", "right"),
    [
        ("PORT", "abc", "must be a whole number, from 0 to 65535"),
        ("PORT", "-1", "must be a whole number, from 0 to 65535"),
        ("PORT", "65536", "must be a whole number, from 0 to 65535"),
        ("PORT", "9" * 50, "must be a whole number, from 0 to 65535"),
        ("PORT", "٣", "must be a whole number, from 0 to 65535"),
        ("GATEWAY_WORKERS", "0", "must be a whole number, 1 or more"),
        *(("GATEWAY_ROOT_PATH", text, f"must be {ROOT}") for text in ("api", "//api", "/a/../b", "/a b", "/a?b", "/é")),
        ("GATEWAY_TRUSTED_PROXIES", "proxy", "must be an IP address or a network such as 10.0.0.0/8"),
        (
            "GATEWAY_TRUSTED_PROXIES",
            "10.0.0.1 ::1",
            "must have commas between the addresses and networks: 10.0.0.1, ::1",
        ),
        ("GATEWAY_TRUSTED_PROXIES", "10.0.0.1,", "must be an IP address or a network such as 10.0.0.0/8"),
        *(("GATEWAY_PAGES_AUTH", text, f"must be {PAGES}") for text in ("a b", ":x", "users:", "users: ", "a,", "a;b")),
        (
            "GATEWAY_PAGES_AUTH",
            'users:"',
            "a scope is 1 to 128 printable ASCII characters without blanks, quotes and backslashes",
        ),
        ("GATEWAY_TIMEOUT", "2", "a duration is a number above 0 with its unit: 500ms, 2s or 1m"),
        ("GATEWAY_TIMEOUT", "0s", "a duration is a number above 0 with its unit: 500ms, 2s or 1m"),
        ("GATEWAY_MAX_TIMEOUT", "1h", "a duration is a number above 0 with its unit: 500ms, 2s or 1m"),
        ("GATEWAY_DRAIN_TIMEOUT", "-1s", "a duration is a number above 0 with its unit: 500ms, 2s or 1m"),
        ("GATEWAY_MAX_BODY", "1MB", f"a size is {SIZES}"),
        ("GATEWAY_MAX_BODY", "-1", f"a size is {SIZES}"),
        ("GATEWAY_MAX_IN_FLIGHT", "0", "must be a whole number, 1 or more"),
        ("GATEWAY_MAX_IN_FLIGHT", "many", "must be a whole number, 1 or more"),
        ("GATEWAY_MAX_IN_FLIGHT_PER_CALLER", "0", "must be a whole number, 1 or more"),
        ("GATEWAY_RATE_LIMIT_FALLBACK", "off", "must be open or closed"),
        ("GATEWAY_MAX_BUFFERED", "1000", "must be 1MiB or more"),
        ("GATEWAY_MAX_BUFFERED", "lots", f"a size is {SIZES}"),
        ("GATEWAY_MAX_CONNECTIONS", "0", "must be a whole number, 1 or more"),
        ("GATEWAY_ACCESS_LOG", "maybe", "must be on or off"),
        ("GATEWAY_LOG_FORMAT", "xml", "must be json or text"),
        ("GATEWAY_LOG_LEVEL", "loud", "must be debug, info, warning or error"),
        ("GATEWAY_HEALTH_DETAILS", "2", "must be on or off"),
        ("GATEWAY_METRICS_ADDRESS", "9090", "must be on, off, or an address with a port, such as 127.0.0.1:9090"),
        (
            "GATEWAY_METRICS_ADDRESS",
            "http://a:1/",
            "must be on, off, or an address with a port, such as 127.0.0.1:9090",
        ),
        ("GATEWAY_METRICS_ADDRESS", ":9090", "must be on, off, or an address with a port, such as 127.0.0.1:9090"),
        ("GATEWAY_STATUS", "127.0.0.1:0", "a port is a number from 1 to 65535"),
        ("GATEWAY_STATUS", "127.0.0.1:65536", "a port is a number from 1 to 65535"),
        ("GATEWAY_SERVER_TIMING", "2", "must be on or off"),
        ("GATEWAY_WATCH", "yes please", "must be on or off"),
        *(("GATEWAY_HSTS_MAX_AGE", text, f"must be {AGES}") for text in ("on", "3600", "-1d", "1.5d", "1y", "1e9s")),
    ],
)
def test_a_wrong_value_is_told_with_its_variable_and_what_is_right(
    environment: pytest.MonkeyPatch, variable: str, text: str, right: str
) -> None:
    environment.setenv(variable, text)
    (fault,) = read_faults()
    assert fault == f"{variable} '{text}': {right}"


def test_the_value_in_a_message_is_short_and_on_one_line(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PORT", "\x1b[31m\n" + "x" * 100)
    (fault,) = read_faults()
    assert fault == f"PORT '\\x1b[31m\\n{'x' * 50}…': must be a whole number, from 0 to 65535"


@pytest.mark.parametrize(
    "text",
    [
        "http://user:secret@a",
        "nats://user:secret@a,",
        ",nats://user:secret@a",
        "nats://user:secret@a,,b",
        "ws://user:secret@a",
        "://user:secret@a",
        "nats://user:secret@a,http://b",
        "nats://user:secr#t@a",
        "nats://user:secret@a:99999",
        "nats://user:secret@[::1",
        "nats://user:secret@:4222",
    ],
)
def test_a_wrong_nats_url_is_told_without_its_value(environment: pytest.MonkeyPatch, text: str) -> None:
    environment.setenv("NATS_URL", text)
    (fault,) = read_faults()
    assert fault.startswith("NATS_URL: a NATS server is nats://host:port or tls://host:port, with user:password@")
    assert "secr" not in fault


@pytest.mark.parametrize(
    "text",
    [
        "secret",
        "redis://",
        "http://u:secret@a",
        "redis://u:secret@a:0",
        "redis://u:secret@a:x",
        "redis://u:secret@a/name",
        "redis://a?password=secret",
        "redis+unix://",
        "redis+cluster://u:secret@a",
    ],
)
def test_a_wrong_storage_is_told_without_its_value(environment: pytest.MonkeyPatch, text: str) -> None:
    environment.setenv("GATEWAY_RATE_LIMIT_STORAGE", text)
    (fault,) = read_faults()
    assert fault.startswith(
        "GATEWAY_RATE_LIMIT_STORAGE: must be the URL of a Redis or Valkey server: redis://host:6379/0"
    )
    assert "secret" not in fault


def test_a_storage_needs_the_libraries_of_the_extra(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GATEWAY_RATE_LIMIT_STORAGE", "redis://a")
    assert load_settings(check_files=True).rate_limit_storage == "redis://a"
    environment.setitem(sys.modules, "limits", None)  # as if it were not there
    with pytest.raises(
        SettingsError, match=r"^GATEWAY_RATE_LIMIT_STORAGE: .* pip install 'nats-http-gateway\[redis\]'$"
    ):
        load_settings(check_files=True)


def test_all_that_is_wrong_is_told_at_once_and_no_secret(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("NATS_URL", "http://user:secret@a")
    environment.setenv("PORT", "x")
    environment.setenv("GATEWAY_TIMEOUT", "2")
    environment.setenv("GATEWAY_MAX_BODIES", "1")
    faults = read_faults()
    assert sorted(re.split("[ :]", fault)[0] for fault in faults) == [
        "GATEWAY_MAX_BODIES",
        "GATEWAY_TIMEOUT",
        "NATS_URL",
        "PORT",
    ]
    assert "secret" not in "".join(faults)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GATEWAY_TIMOUT", "GATEWAY_TIMEOUT"),
        ("GATEWAY_MAX_BODYS", "GATEWAY_MAX_BODY"),
        ("GATEWAY_MAXTIMEOUT", "GATEWAY_MAX_TIMEOUT"),
        ("GATEWAY_ACCESSLOG", "GATEWAY_ACCESS_LOG"),
        ("GATEWAY_HOSTS", "GATEWAY_HOST"),
        ("GATEWAY_DRAIN_TIME", "GATEWAY_DRAIN_TIMEOUT"),
        ("GATEWAY_PORT", "PORT"),
        ("GATEWAY_RATE_LIMIT_STORE", "GATEWAY_RATE_LIMIT_STORAGE"),
        ("GATEWAY_NATS_URL", "NATS_URL"),
    ],
)
def test_a_misspelt_setting_is_an_error_that_names_the_right_one(
    environment: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    environment.setenv(name, "2s")
    assert read_faults() == [f"{name}: unknown setting, did you mean {meant}?"]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("GATEWAY_CORS", "cors"),
        ("GATEWAY_CORS_ALLOW_ORIGINS", "cors"),
        ("GATEWAY_AUTH", "auth"),
        ("GATEWAY_RATE_LIMIT", "rate_limit"),
        ("GATEWAY_RATE_LIMITS", "rate_limits"),
        ("GATEWAY_ALLOW_FROM", "allow_from"),
    ],
)
def test_a_setting_for_what_the_route_file_says_is_an_error_that_leads_there(
    environment: pytest.MonkeyPatch, name: str, key: str
) -> None:
    environment.setenv(name, "x")
    assert read_faults() == [f"{name}: unknown setting, the route file has a key `{key}` for this"]


def test_an_unknown_setting_is_an_error_also_where_none_has_a_name_like_it(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GATEWAY_COLOUR", "blue")
    assert read_faults() == ["GATEWAY_COLOUR: unknown setting, `nats-http settings` lists all settings"]


@pytest.mark.parametrize("host", ["10.0.0.1", "fd00::1"])
def test_what_kubernetes_sets_for_a_service_called_gateway_is_ignored(
    environment: pytest.MonkeyPatch, host: str
) -> None:
    injected = {"PORT": f"tcp://{host}:80", "SERVICE_HOST": host, "SERVICE_PORT": "80", "SERVICE_PORT_HTTP": "80"}
    injected |= {"PORT_80_TCP": f"tcp://{host}:80", "PORT_80_TCP_PROTO": "tcp", "PORT_80_TCP_PORT": "80"}
    for name, text in {**injected, "PORT_80_TCP_ADDR": host}.items():
        environment.setenv(f"GATEWAY_{name}", text)
        environment.setenv(f"GATEWAY_OF_ORDERS_{name}", text)
        environment.setenv(f"NATS_{name}", text)
    assert load_settings().model_dump() == DEFAULTS


# Credentials

SECRET = "s3cret"  # noqa: S105 - for tests


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A good file for each variable that takes one."""
    ca = trustme.CA()
    made = write_certificate(tmp_path / "tls", ca, ca.issue_cert("localhost"))
    creds, seed = tmp_path / "user.creds", tmp_path / "user.nk"
    creds.write_text(Operator().make_creds())
    seed.write_text(f"{Key().seed}\n")
    tls = {"NATS_TLS_CA": made.ca, "NATS_TLS_CERT": made.cert, "NATS_TLS_KEY": made.key}
    return {"NATS_CREDS": creds, "NATS_NKEY_SEED": seed, **tls}


def test_credentials_are_what_the_settings_say(environment: pytest.MonkeyPatch, files: dict[str, Path]) -> None:
    for name in ("NATS_TLS_CA", "NATS_TLS_CERT", "NATS_TLS_KEY"):
        environment.setenv(name, str(files[name]))
    environment.setenv("NATS_USER", "u")
    environment.setenv("NATS_PASSWORD", SECRET)
    settings = load_settings(check_files=True)
    tls = (files["NATS_TLS_CA"], files["NATS_TLS_CERT"], files["NATS_TLS_KEY"])
    assert settings.credentials == Credentials(None, None, "u", SECRET, None, *tls)


@pytest.mark.parametrize("name", ["NATS_CREDS", "NATS_NKEY_SEED"])
def test_a_good_file_is_taken(environment: pytest.MonkeyPatch, files: dict[str, Path], name: str) -> None:
    environment.setenv(name, str(files[name]))
    assert str(files[name]) in str(load_settings(check_files=True).model_dump())


def test_no_secret_shows_in_the_repr_of_settings_or_credentials(environment: pytest.MonkeyPatch) -> None:
    for variables in (
        {"NATS_URL": f"nats://a,tls://{SECRET}-token@b"},
        {"NATS_USER": "u", "NATS_PASSWORD": SECRET},
        {"NATS_TOKEN": SECRET},
        {"GATEWAY_RATE_LIMIT_STORAGE": f"redis://u:{SECRET}@a"},
    ):
        with environment.context() as only:
            for name, text in variables.items():
                only.setenv(name, text)
            settings = load_settings()
        assert SECRET not in f"{settings!r} {settings} {settings.credentials!r}"


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ({"NATS_PASSWORD": SECRET}, "NATS_PASSWORD: needs NATS_USER"),
        ({"NATS_TLS_CERT": SECRET}, "NATS_TLS_CERT: needs NATS_TLS_KEY"),
        ({"GATEWAY_PROXY_PROTOCOL": "on"}, "GATEWAY_PROXY_PROTOCOL: needs GATEWAY_TRUSTED_PROXIES"),
        ({"NATS_TLS_KEY": SECRET}, "NATS_TLS_KEY: needs NATS_TLS_CERT"),
        ({"GATEWAY_TLS_CERT": "c"}, "GATEWAY_TLS_CERT: needs GATEWAY_TLS_KEY"),
        ({"GATEWAY_TLS_KEY": "k"}, "GATEWAY_TLS_KEY: needs GATEWAY_TLS_CERT"),
        ({"GATEWAY_TLS_CLIENT_CA": "a"}, "GATEWAY_TLS_CLIENT_CA: needs GATEWAY_TLS_CERT"),
        ({"GATEWAY_HSTS_MAX_AGE": "1d"}, "GATEWAY_HSTS_MAX_AGE: needs GATEWAY_TLS_CERT"),
        (
            {"NATS_TOKEN": SECRET, "NATS_USER": "u"},
            "NATS_USER, NATS_TOKEN: set one of them: each says who the gateway is",
        ),
        (
            {"NATS_CREDS": SECRET, "NATS_NKEY_SEED": SECRET},
            "NATS_CREDS, NATS_NKEY_SEED: set one of them: each says who the gateway is",
        ),
        (
            {"NATS_URL": f"a,u:{SECRET}@b", "NATS_TOKEN": SECRET},
            "NATS_TOKEN, NATS_URL with credentials: set one of them: each says who the gateway is",
        ),
    ],
)
def test_what_does_not_go_together_is_told_without_secrets(
    environment: pytest.MonkeyPatch, variables: dict[str, str], fault: str
) -> None:
    for name, text in variables.items():
        environment.setenv(name, text)
    assert read_faults() == [fault]
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert SECRET not in str(caught.value)


FILES = ["NATS_CREDS", "NATS_NKEY_SEED", "NATS_TLS_CA", "NATS_TLS_CERT", "NATS_TLS_KEY"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("hurt", "words"),
    [
        (Path.unlink, "there is no such file"),
        (lambda path: (path.unlink(), path.mkdir()), "must be the path of a file"),
        (lambda path: (path.unlink(), path.symlink_to(path)), "the file can't be read"),
        (lambda path: path.write_text(""), "must be a file with"),
        (lambda path: path.write_text(f"{SECRET}\n"), "must be a file with"),
        (lambda path: path.write_bytes(b"\xff\x00" * 99), "must be a file with"),
        (lambda path: path.write_text(path.read_text().replace("M", "N").replace("S", "T")), "must be a file with"),
    ],
    ids=["gone", "folder", "loop", "empty", "text", "bytes", "broken"],
)
def test_a_file_that_can_t_be_right_is_told_with_its_variable_and_without_what_is_in_it(
    environment: pytest.MonkeyPatch, files: dict[str, Path], name: str, hurt: Callable[[Path], object], words: str
) -> None:
    for each in FILES[2:] if "TLS" in name else [name]:
        environment.setenv(each, str(files[each]))
    hurt(files[name])
    load_settings()  # what only asks, starts all the same
    with pytest.raises(SettingsError) as caught:
        load_settings(check_files=True)
    assert str(caught.value).startswith(f"{name}: {words}")
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_a_secret_in_the_place_of_a_path_is_not_shown(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.setenv(name, Key().seed)
    if "TLS" in name:
        for other in FILES[3:]:
            environment.setenv(other, Key().seed)
    with pytest.raises(SettingsError) as caught:
        load_settings(check_files=True)
    assert "there is no such file" in str(caught.value)
    assert "SU" not in str(caught.value)


def test_a_key_of_another_certificate_and_an_encrypted_one_are_told(
    environment: pytest.MonkeyPatch, files: dict[str, Path], tmp_path: Path
) -> None:
    ca = trustme.CA()
    other = write_certificate(tmp_path / "other", ca, ca.issue_cert("localhost"))
    environment.setenv("NATS_TLS_CERT", str(files["NATS_TLS_CERT"]))
    environment.setenv("NATS_TLS_KEY", str(other.key))
    with pytest.raises(SettingsError, match=r"^NATS_TLS_KEY: does not fit NATS_TLS_CERT$"):
        load_settings(check_files=True)
    key = load_pem_private_key(files["NATS_TLS_KEY"].read_bytes(), None)
    encryption = BestAvailableEncryption(SECRET.encode())
    other.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    with pytest.raises(SettingsError, match=r"^NATS_TLS_KEY: must be a file with a private key in PEM form, not encr"):
        load_settings(check_files=True)


def test_all_files_that_are_wrong_are_told_at_once(environment: pytest.MonkeyPatch) -> None:
    for name in ("NATS_CREDS", *FILES[2:]):
        environment.setenv(name, "/nowhere")
    with pytest.raises(SettingsError) as caught:
        load_settings(check_files=True)
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "NATS_CREDS",
        "NATS_TLS_CA",
        "NATS_TLS_CERT",
    ]


def test_an_embedded_server_is_shown_nothing_and_neither_are_the_children(
    environment: pytest.MonkeyPatch, files: dict[str, Path]
) -> None:
    environment.setenv("NATS_CREDS", str(files["NATS_CREDS"]))
    environment.setenv("NATS_TLS_CA", str(files["NATS_TLS_CA"]))
    settings = load_settings()
    assert "NATS_CREDS" not in settings.nats_variables  # it is inherited
    embedded = settings.with_embedded("nats://127.0.0.1:1")
    assert embedded.credentials == Credentials()
    assert embedded.nats_variables == {
        **dict.fromkeys([*FILES, "NATS_USER", "NATS_PASSWORD", "NATS_TOKEN"], ""),
        "NATS_URL": "nats://127.0.0.1:1",
    }


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({"PORT": "x"}, {"PORT"}),
        ({"NATS_USER": "a", "NATS_TOKEN": "b", "GATEWAY_HOSTS": "c"}, {"NATS_USER", "NATS_TOKEN", "GATEWAY_HOSTS"}),
    ],
)
def test_an_error_knows_the_names_of_what_is_wrong(
    environment: pytest.MonkeyPatch, variables: dict[str, str], names: set[str]
) -> None:
    for name, text in variables.items():
        environment.setenv(name, text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.names == names


# Other clusters


def set_all(environment: pytest.MonkeyPatch, **variables: str) -> None:
    for name, text in variables.items():
        environment.setenv(name, text)


def test_a_cluster_has_the_settings_of_main_with_its_name_in_between(
    environment: pytest.MonkeyPatch, files: dict[str, Path]
) -> None:
    set_all(environment, NATS_URL="nats://m", NATS_TOKEN="of main", GATEWAY_NATS="factory, eu-west2")  # noqa: S106
    set_all(environment, NATS_FACTORY_URL="nats://f:1,tls://g", NATS_FACTORY_CREDS=str(files["NATS_CREDS"]))
    set_all(environment, NATS_EU_WEST2_URL="e", NATS_EU_WEST2_USER="u", NATS_EU_WEST2_PASSWORD=SECRET)
    settings = load_settings(check_files=True)
    assert list(settings.nats) == ["main", "factory", "eu-west2"]
    main, factory, west = settings.nats.values()
    assert main.credentials == Credentials(token="of main")  # noqa: S106
    assert factory.nats_url == ("nats://f:1", "tls://g")
    assert factory.credentials == Credentials(creds=files["NATS_CREDS"], cluster="factory")
    assert (west.nats_url, west.credentials.user, west.credentials.password) == (("e",), "u", SECRET)
    assert SECRET not in f"{settings!r} {west!r} {west.credentials!r}"


def test_a_cluster_that_is_not_named_is_not_read(environment: pytest.MonkeyPatch) -> None:
    set_all(environment, NATS_FACTORY_URL="http://wrong")
    assert list(load_settings().nats) == ["main"]


NAMES = "must be names, separated by commas: each has lower-case letters, digits and single `-`"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Factory", NAMES),
        ("a,", NAMES),
        ("a b", NAMES),
        ("a_b", NAMES),
        ("a--b", NAMES),
        ("1a", NAMES),
        ("a" * 33, NAMES),
        ("main", "`main` is the name of the NATS cluster of NATS_URL"),
        ("a,b,a", "`a` is listed twice"),
        (",".join("abcdefghijklmnopq"), "must be at most 16 names"),
        ("a,b", "needs NATS_A_URL, NATS_B_URL"),
    ],
)
def test_wrong_names_of_clusters_are_told(environment: pytest.MonkeyPatch, text: str, right: str) -> None:
    environment.setenv("GATEWAY_NATS", text)
    assert read_faults() == [f"GATEWAY_NATS '{text}': {right}"]


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        (
            {"URL": f"http://u:{SECRET}@a"},
            "NATS_FACTORY_URL: a NATS server is nats://host:port or tls://host:port, with",
        ),
        ({"PASSWORD": SECRET}, "NATS_FACTORY_PASSWORD: needs NATS_FACTORY_USER"),
        ({"TLS_CERT": SECRET}, "NATS_FACTORY_TLS_CERT: needs NATS_FACTORY_TLS_KEY"),
        (
            {"TOKEN": SECRET, "USER": "u"},
            "NATS_FACTORY_USER, NATS_FACTORY_TOKEN: set one of them: each says who the gateway is",
        ),
        (
            {"URL": f"u:{SECRET}@b", "TOKEN": SECRET},
            "NATS_FACTORY_TOKEN, NATS_FACTORY_URL with credentials: set one of them: each says who the gateway is",
        ),
        ({"CREDS": SECRET}, "NATS_FACTORY_CREDS: there is no such file"),
        ({"NKEY_SEED": SECRET}, "NATS_FACTORY_NKEY_SEED: there is no such file"),
        ({"TLS_CA": SECRET}, "NATS_FACTORY_TLS_CA: there is no such file"),
        ({"TLS_CERT": SECRET, "TLS_KEY": SECRET}, "NATS_FACTORY_TLS_CERT: there is no such file"),
    ],
)
def test_a_wrong_setting_of_a_cluster_is_told_as_one_of_main_is(
    environment: pytest.MonkeyPatch, variables: dict[str, str], fault: str
) -> None:
    given = {"GATEWAY_NATS": "factory", "NATS_FACTORY_URL": "nats://a"}
    set_all(environment, **given | {f"NATS_FACTORY_{name}": text for name, text in variables.items()})
    with pytest.raises(SettingsError) as caught:
        load_settings(check_files=True)
    (told,) = str(caught.value).splitlines()
    assert told.startswith(fault)
    assert SECRET not in told


def test_a_login_that_can_t_be_read_later_is_told_with_the_variable_of_its_cluster(tmp_path: Path) -> None:
    gone, server = tmp_path / "gone", Address.parse("a")
    for variable, credentials in (
        ("NATS_A_CREDS", Credentials(creds=gone, cluster="a")),
        ("NATS_A_NKEY_SEED", Credentials(nkey_seed=gone, cluster="a")),
    ):
        with pytest.raises(CredentialsError, match=f"^{variable}: there is no such file$"):
            credentials.read_login(server)
    with pytest.raises(CredentialsError, match=r"^NATS_A_TLS_CA: there is no such file$"):
        Credentials(tls_ca=gone, cluster="a").make_tls()


# The environment of others


@pytest.mark.parametrize(("text", "expected"), [("nats://a", True), ("", False), (None, False)])
def test_a_nats_url_counts_only_where_it_says_something(
    environment: pytest.MonkeyPatch, text: str | None, expected: bool
) -> None:
    if text is not None:
        environment.setenv("NATS_URL", text)
    assert is_nats_url_set() is expected


@pytest.mark.parametrize(("no_color", "expected"), [(None, True), ("", True), ("1", False), ("0", False)])
def test_a_terminal_has_color_unless_its_user_has_said_no(
    environment: pytest.MonkeyPatch, no_color: str | None, expected: bool
) -> None:
    environment.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        environment.setenv("NO_COLOR", no_color)
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal, os.fdopen(ours):
        assert is_color_wanted(terminal) is expected


def test_a_file_has_no_color(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.delenv("NO_COLOR", raising=False)
    with (tmp_path / "log").open("w") as file:
        assert not is_color_wanted(file)


def test_a_child_inherits_the_environment_with_changes(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PORT", "1")
    environment.setenv("GATEWAY_HOST", "kept")
    child = child_environment(PORT="2", NATS_URL="nats://a")
    assert (child["PORT"], child["GATEWAY_HOST"], child["NATS_URL"]) == ("2", "kept", "nats://a")
    assert child == {**os.environ, "PORT": "2", "NATS_URL": "nats://a"}
    assert os.environ["PORT"] == "1"


# The reference


def read_reference() -> dict[str, tuple[str, str]]:
    """Default and meaning by variable, as the table of docs/settings.md has them."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| (.*) \|$", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    return {variable: (default.strip("`"), meaning) for variable, default, meaning in rows}


def test_every_setting_has_a_row_in_the_reference_and_every_row_a_setting() -> None:
    assert list(read_reference()) == list(VARIABLES.values())


@pytest.mark.parametrize(("field", "variable"), VARIABLES.items())
def test_a_row_has_the_words_of_its_setting(field: str, variable: str) -> None:
    description = Settings.model_fields[field].description
    assert description
    assert read_reference()[variable][1].startswith(description)


@pytest.mark.parametrize(("field", "variable"), VARIABLES.items())
def test_a_documented_default_is_what_one_would_write_to_get_the_default(
    environment: pytest.MonkeyPatch, field: str, variable: str
) -> None:
    written = read_reference()[variable][0]
    if written == "unset":
        assert Settings.model_fields[field].default is None
        return
    environment.setenv(variable, written)
    assert getattr(load_settings(), field) == Settings.model_fields[field].default
    assert written.removeprefix("nats://").rstrip("smMiB") not in ("", "1048576")


def test_the_container_gets_each_setting_of_the_gateway() -> None:
    compose = (REFERENCE.parent.parent / "docker-compose.yml").read_text(encoding="utf-8")
    passed = set(re.findall(r"- (GATEWAY_\w+)", compose))
    assert passed == {name for name in VARIABLES.values() if name.startswith("GATEWAY_")} - {"GATEWAY_HOST"}


def test_the_reference_shows_how_durations_and_sizes_are_written() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    assert all(f"`{example}`" in text for example in ("500ms", "2s", "1m", "1048576", "64KiB", "1MiB"))


@pytest.mark.parametrize("name", ["HOST", "TIMEOUT", "MAX_BODY", "ACCESS_LOG", "port", "gateway_timeout", "nats_url"])
def test_a_variable_of_a_similar_name_is_none_of_ours(environment: pytest.MonkeyPatch, name: str) -> None:
    before = load_settings()
    environment.setenv(name, "9")
    assert load_settings() == before
