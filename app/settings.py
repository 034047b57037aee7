"""Settings, from the environment. The only reader of os.environ; docs/settings.md is the reference."""

import importlib.util
import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, Self, TextIO, get_args

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from .certificates import CertificateFiles
from .edge.networks import parse_network
from .edge.proxies import Proxies, parse_root
from .errors import CannotStart
from .formats.environment import find_unknown, quote_value
from .formats.units import parse_age, parse_count, parse_duration, parse_place, parse_size, parse_switch, parse_word
from .nats.addresses import Address
from .nats.credentials import Credentials
from .observe import trace_settings
from .observe.trace_settings import Sampling


class SettingsError(CannotStart):
    """Settings are wrong. `faults` and the text have a line for each, with its name and what would be right, and no
    secret."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)

    @property
    def names(self) -> frozenset[str]:
        """The variables that the lines begin with."""
        found = (_NAMES.match(line) for line in self.faults)
        return frozenset(name for match in found if match for name in match[0].split(", "))


_NAMES = re.compile(r"[A-Z_]+(?:, [A-Z_]+)*")


def _split_servers(text: object) -> object:
    if not isinstance(text, str):
        return text
    servers = tuple(server.strip() for server in text.split(","))
    for server in servers:
        Address.parse(server)
    return servers


def _split_networks(text: object) -> object:
    if not isinstance(text, str):
        return text
    networks = tuple(network.strip() for network in text.split(","))
    for network in networks:
        parse_network(network)
    return networks


def _from_text(parse: Callable[[str], float | str | tuple[str, int] | None]) -> BeforeValidator:
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


_LEAST_BUFFERED = 1024 * 1024

Duration = Annotated[float, _from_text(parse_duration)]
Size = Annotated[int, _from_text(parse_size)]
BufferSize = Annotated[int, _from_text(partial(parse_size, least=_LEAST_BUFFERED)), Field(ge=_LEAST_BUFFERED)]
Count = Annotated[int, _from_text(partial(parse_count, least=1)), Field(ge=1)]
Port = Annotated[int, _from_text(partial(parse_count, least=0, most=65535)), Field(ge=0, le=65535)]
Switch = Annotated[bool, _from_text(parse_switch)]
Place = Annotated[bool | tuple[str, int], _from_text(parse_place)]
"""Where pages are: on the gateway's own port (True), nowhere, or on a host and port of their own."""
LogFormat = Literal["json", "text"]
LogLevel = Literal["debug", "info", "warning", "error"]
Age = Annotated[int | None, _from_text(parse_age)]
"""Whole seconds, or None for `off`."""
RootPath = Annotated[str, _from_text(parse_root)]


class Settings(BaseSettings):
    """All settings, frozen. Durations are seconds, sizes bytes."""

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, extra="ignore", hide_input_in_errors=True)

    nats_url: Annotated[tuple[str, ...], BeforeValidator(_split_servers)] = Field(
        default=("nats://localhost:4222",),
        validation_alias="NATS_URL",
        repr=False,  # it may hold a password
        description="NATS servers, separated by commas: `nats://host:port` or `tls://host:port`, with `user:password@` "
        "or `token@` where the server asks for it, percent-encoded.",
    )
    nats_creds: Path | None = Field(
        default=None,
        validation_alias="NATS_CREDS",
        repr=False,
        description="File with the JWT and the seed of a user, as `nsc` writes it.",
    )
    nats_nkey_seed: Path | None = Field(
        default=None,
        validation_alias="NATS_NKEY_SEED",
        repr=False,
        description="File with the seed of a user's nkey, which begins with `SU`.",
    )
    nats_user: str | None = Field(
        default=None, validation_alias="NATS_USER", repr=False, description="User, for servers that ask for one."
    )
    nats_password: SecretStr | None = Field(
        default=None, validation_alias="NATS_PASSWORD", description="The password of `NATS_USER`."
    )
    nats_token: SecretStr | None = Field(
        default=None, validation_alias="NATS_TOKEN", description="Token, for servers that ask for one."
    )
    nats_tls_ca: Path | None = Field(
        default=None,
        validation_alias="NATS_TLS_CA",
        repr=False,
        description="File with the certificates, in PEM form, of the authorities that may have signed the server's "
        "certificate. Unset: those that the system trusts.",
    )
    nats_tls_cert: Path | None = Field(
        default=None,
        validation_alias="NATS_TLS_CERT",
        repr=False,
        description="File with the certificate, in PEM form, for servers that ask their clients for one.",
    )
    nats_tls_key: Path | None = Field(
        default=None,
        validation_alias="NATS_TLS_KEY",
        repr=False,
        description="File with the private key of `NATS_TLS_CERT`, in PEM form and not encrypted.",
    )
    routes: Path | None = Field(
        default=None,
        validation_alias="GATEWAY_ROUTES",
        description="The route file, where the command line names none. Unset: the packaged one with greet; in `dev`, "
        "with all examples.",
    )
    host: str = Field(default="127.0.0.1", validation_alias="GATEWAY_HOST", description="Address to listen on.")
    port: Port = Field(default=8000, validation_alias="PORT", description="Port to listen on; 0 picks one.")
    workers: Count = Field(
        default=1,
        validation_alias="GATEWAY_WORKERS",
        description="Worker processes of `serve`. `dev`, and the application under a server of yours, have one.",
    )
    tls_cert: Path | None = Field(
        default=None,
        validation_alias="GATEWAY_TLS_CERT",
        description="File with the gateway's own certificate, in PEM form, and behind it those of intermediate "
        "authorities. With it the gateway speaks HTTPS, and nothing else, on its own port.",
    )
    tls_key: Path | None = Field(
        default=None,
        validation_alias="GATEWAY_TLS_KEY",
        description="File with the private key of `GATEWAY_TLS_CERT`, in PEM form and not encrypted.",
    )
    tls_client_ca: Path | None = Field(
        default=None,
        validation_alias="GATEWAY_TLS_CLIENT_CA",
        description="File with the certificates, in PEM form, of the authorities whose certificates callers may show. "
        "Callers without one are served too. Unset: none is asked for.",
    )
    hsts: Age = Field(
        default=None,
        validation_alias="GATEWAY_HSTS_MAX_AGE",
        description="How long browsers are to come over HTTPS only, such as `365d`: each response of the gateway's own "
        "port says so in `Strict-Transport-Security`. `0s` makes them forget. Unset, or `off`: no such header.",
    )
    root_path: RootPath | None = Field(
        default=None,
        validation_alias="GATEWAY_ROOT_PATH",
        description="The path under which callers see the gateway, such as `/api`, where a proxy in front takes it "
        "away before it passes a request on. Links, redirects, the `type` of problems and the OpenAPI document begin "
        "with it.",
    )
    trusted_proxies: Annotated[tuple[str, ...], BeforeValidator(_split_networks)] | None = Field(
        default=None,
        validation_alias="GATEWAY_TRUSTED_PROXIES",
        description="IP addresses and networks, separated by commas, of proxies that are believed: who calls, in "
        "`Forwarded` or `X-Forwarded-For`, `-Proto` and `-Host`, and `X-Forwarded-Prefix`, which goes before "
        "`GATEWAY_ROOT_PATH`. Unset: none.",
    )
    proxy_protocol: Switch = Field(
        default=False,
        validation_alias="GATEWAY_PROXY_PROTOCOL",
        description="Whether the proxies of `GATEWAY_TRUSTED_PROXIES` begin each connection with a header of the PROXY "
        "protocol, version 1 or 2, `on` or `off`. With `on`, a connection of theirs without one gets 400.",
    )
    timeout: Duration = Field(
        default=2.0,
        validation_alias="GATEWAY_TIMEOUT",
        description="How long a reply may take where the caller asks nothing.",
    )
    max_timeout: Duration = Field(
        default=30.0,
        validation_alias="GATEWAY_MAX_TIMEOUT",
        description="The most that `X-Request-Timeout` can ask for.",
    )
    max_body: Size = Field(
        default=1024 * 1024, validation_alias="GATEWAY_MAX_BODY", description="The largest request body of any route."
    )
    max_in_flight: Count = Field(
        default=4096,
        validation_alias="GATEWAY_MAX_IN_FLIGHT",
        description="Requests in flight a worker; more get 503.",
    )
    max_in_flight_per_caller: Count | None = Field(
        default=None,
        validation_alias="GATEWAY_MAX_IN_FLIGHT_PER_CALLER",
        description="Requests in flight a worker, from one address; more get 503. Unset: no such bound, since all "
        "callers behind a proxy that is not in `GATEWAY_TRUSTED_PROXIES` have its address.",
    )
    max_connections: Count = Field(
        default=10_000,
        validation_alias="GATEWAY_MAX_CONNECTIONS",
        description="Connections a worker, at most as many as it may have files open. Beyond, the one that has been "
        "idle for longest makes room; where none is idle, new ones get 503.",
    )
    max_buffered: BufferSize = Field(
        default=16 * 1024 * 1024,
        validation_alias="GATEWAY_MAX_BUFFERED",
        description="Bytes a worker that request bodies may take while they come and until they are sent to NATS. More "
        "wait, unread, or get 503. As much again may wait to be parsed, and as much may be left unread by callers.",
    )
    drain_timeout: Duration = Field(
        default=25.0,
        validation_alias="GATEWAY_DRAIN_TIMEOUT",
        description="How long requests in flight may take to finish when the gateway stops.",
    )
    access_log: Switch | None = Field(
        default=None,
        validation_alias="GATEWAY_ACCESS_LOG",
        description="Log successes and refusals too: `on` or `off`. Failures (5xx) are logged in any case. "
        "Unset: on in `dev`, off in `serve`.",
    )
    log_format: Annotated[LogFormat, _from_text(partial(parse_word, words=get_args(LogFormat)))] | None = Field(
        default=None,
        validation_alias="GATEWAY_LOG_FORMAT",
        description="How log lines are written: `json`, an object each, or `text`, for people. Unset: text on a "
        "terminal and in `dev`, else JSON.",
    )
    log_level: Annotated[LogLevel, _from_text(partial(parse_word, words=get_args(LogLevel)))] = Field(
        default="info",
        validation_alias="GATEWAY_LOG_LEVEL",
        description="The least that is logged: `debug`, `info`, `warning` or `error`.",
    )
    health_details: Switch | None = Field(
        default=None,
        validation_alias="GATEWAY_HEALTH_DETAILS",
        description="Tell every caller of `/readyz` and `/healthz` details as well, `on` or `off`: the reason in full, "
        "with addresses and the words of NATS, the version, the NATS server, and counts. Unset: on in `dev`, off in "
        "`serve`.",
    )
    metrics_address: Place | None = Field(
        default=None,
        validation_alias="GATEWAY_METRICS_ADDRESS",
        description="Where `/metrics` is, and only there: an address such as `127.0.0.1:9090`, or `off`. Unset: at the "
        "address of `GATEWAY_STATUS` where that is one, else on the gateway's own port.",
    )
    status: Place = Field(
        default=True,
        validation_alias="GATEWAY_STATUS",
        description="Where `/status` is, the live page for people: `on` for the gateway's own port, `off`, or an "
        "address of its own such as `127.0.0.1:9090`.",
    )
    server_timing: Switch = Field(
        default=False,
        validation_alias="GATEWAY_SERVER_TIMING",
        description="Tell callers in a header `Server-Timing` how long NATS and the gateway took, `on` or `off`. The "
        "developer tools of browsers show it.",
    )

    @property
    def metrics(self) -> bool | tuple[str, int]:
        """Where `/metrics` is."""
        if self.metrics_address is not None:
            return self.metrics_address
        return self.status if isinstance(self.status, tuple) else True

    @property
    def addresses_beside(self) -> dict[tuple[str, int], str]:
        """Hosts and ports beside the gateway's own, on which pages are, and the settings that name them."""
        places = ((self.metrics, "GATEWAY_METRICS_ADDRESS"), (self.status, "GATEWAY_STATUS"))
        return {place: name for place, name in places if isinstance(place, tuple)}

    @property
    def credentials(self) -> Credentials:
        """What to show to NATS servers, and to ask of theirs."""
        password, token = (
            None if secret is None else secret.get_secret_value() for secret in (self.nats_password, self.nats_token)
        )
        return Credentials(
            creds=self.nats_creds,
            nkey_seed=self.nats_nkey_seed,
            user=self.nats_user,
            password=password,
            token=token,
            tls_ca=self.nats_tls_ca,
            tls_cert=self.nats_tls_cert,
            tls_key=self.nats_tls_key,
        )

    @property
    def certificate_files(self) -> CertificateFiles | None:
        """What TLS on the gateway's own port needs; None where it speaks plain HTTP."""
        if self.tls_cert is None or self.tls_key is None:
            return None
        return CertificateFiles(self.tls_cert, self.tls_key, self.tls_client_ca)

    @property
    def scheme(self) -> str:
        """Of the addresses on the gateway's own port."""
        return "http" if self.certificate_files is None else "https"

    @property
    def proxies(self) -> Proxies:
        """What to believe of proxies in front."""
        return Proxies(self.trusted_proxies or (), root=self.root_path or "")

    def find_file_faults(self) -> list[str]:
        """What is wrong with the files of credentials and certificates, a line for each."""
        files = self.certificate_files
        return [*self.credentials.find_faults(), *(files.find_faults() if files else ())]

    @property
    def logs_successes(self) -> bool:
        """Whether successes and refusals are logged: not where their level is too low."""
        return bool(self.access_log) and self.log_level in ("debug", "info")

    def with_embedded(self, server: str) -> "Settings":
        """The same settings for a server that asks for nothing."""
        return self.model_copy(update={**dict.fromkeys(_nats_fields()), "nats_url": (server,)})

    @property
    def nats_variables(self) -> dict[str, str]:
        """NATS_URL, and empty what is not set, so that a child process goes to the same servers in the same way."""
        names = [name for name in _nats_fields() if getattr(self, name) is None]
        unset = {str(Settings.model_fields[name].validation_alias): "" for name in names}
        return {**unset, "NATS_URL": ",".join(self.nats_url)}

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        faults = self.credentials.find_conflicts([Address.parse(server) for server in self.nats_url])
        faults += self._find_lacks()
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _find_lacks(self) -> Iterator[str]:
        """Of settings that need another one."""
        needs = (
            (
                "GATEWAY_PROXY_PROTOCOL",
                self.proxy_protocol or None,
                "GATEWAY_TRUSTED_PROXIES",
                self.trusted_proxies or None,
            ),
            ("GATEWAY_TLS_CERT", self.tls_cert, "GATEWAY_TLS_KEY", self.tls_key),
            ("GATEWAY_TLS_KEY", self.tls_key, "GATEWAY_TLS_CERT", self.tls_cert),
            ("GATEWAY_TLS_CLIENT_CA", self.tls_client_ca, "GATEWAY_TLS_CERT", self.tls_cert),
            ("GATEWAY_HSTS_MAX_AGE", self.hsts, "GATEWAY_TLS_CERT", self.tls_cert),
        )
        return (f"{name}: needs {other}" for name, value, other, its in needs if value is not None and its is None)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings passes it by name
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the code says, then the variables by their exact names: the usual source would read TIMEOUT as well."""
        return init_settings, InitSettingsSource(settings_cls, dict(read_variables()))


def _nats_fields() -> list[str]:
    return [name for name in Settings.model_fields if name.startswith("nats_")]


def read_variables() -> dict[str, str]:
    """What the environment says, right or wrong, by the names of settings."""
    return {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}


VARIABLES = tuple(str(field.validation_alias) for field in Settings.model_fields.values())


def load_settings(*, check_files: bool = False) -> Settings:
    """The settings of this process. SettingsError names every one that is wrong; so it does with the files of
    credentials, where they are to be checked: for a start, since a gateway that runs waits for better ones. A start
    looks at the variables for traces as well."""
    faults = [*find_unknown(os.environ, VARIABLES), *(_find_trace_faults(check_files=True) if check_files else ())]
    try:
        settings = Settings()
    except ValidationError as error:
        faults += [_describe(detail["loc"], detail["msg"], detail["input"]) for detail in error.errors()]
    else:
        faults += settings.find_file_faults() if check_files else []
        if not faults:
            return settings
    raise SettingsError(faults)


def read_sampling() -> Sampling | None:
    """Which traces to record; None where no variable `OTEL_…` asks for any. Raises SettingsError."""
    if trace_settings.find_asking(os.environ) is None:
        return None
    if faults := _find_trace_faults(check_files=False):
        raise SettingsError(faults)
    return trace_settings.read_sampling(os.environ)


def _find_trace_faults(*, check_files: bool) -> list[str]:
    asking = trace_settings.find_asking(os.environ)
    if asking is None:
        return []
    if importlib.util.find_spec("opentelemetry") is None or importlib.util.find_spec("opentelemetry.sdk") is None:
        return [f"{asking}: traces need libraries that are not installed: {trace_settings.INSTALL}"]
    return list(trace_settings.find_faults(os.environ, check_files=check_files))


def find_variable(name: str) -> str | None:
    """The value of a variable that a route file names."""
    return os.environ.get(name)


def is_nats_url_set() -> bool:
    """Whether the environment names a NATS server, so that `dev` starts none."""
    return bool(os.environ.get("NATS_URL"))


def is_color_wanted(stream: TextIO) -> bool:
    """Whether a stream is a terminal whose user has not said otherwise (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def child_environment(**changes: str) -> dict[str, str]:
    """The environment for a child process."""
    return {**os.environ, **changes}


def _describe(location: tuple[int | str, ...], message: str, value: object) -> str:
    if not message.startswith("Value error, "):  # pydantic's own words: of bytes that are no text
        message = "must be text in UTF-8"
    words = message.removeprefix("Value error, ")
    if not location:  # of several settings together, and the words begin with them
        return words
    name = str(location[0])
    # A seed or a password may stand where an address or a path should.
    shown = "" if name.startswith("NATS_") else f" {quote_value(str(value))}"
    return f"{name}{shown}: {words.removeprefix(f'{name}: ')}"
