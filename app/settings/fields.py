"""The variables, in the order of docs/settings.md: names, defaults and texts for people."""

from functools import partial
from pathlib import Path
from typing import Annotated, get_args

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from ..formats.units import parse_word
from .kinds import (
    Age,
    BufferSize,
    Count,
    Duration,
    Fallback,
    LogFormat,
    LogLevel,
    PagesAuth,
    Place,
    Port,
    RootPath,
    Size,
    StorageUrl,
    Switch,
    from_text,
    split_networks,
    split_servers,
)


class Fields(BaseSettings):
    """A field for each setting, frozen. Durations are seconds, sizes bytes."""

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, extra="ignore", hide_input_in_errors=True)

    nats_url: Annotated[tuple[str, ...], BeforeValidator(split_servers)] = Field(
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
    trusted_proxies: Annotated[tuple[str, ...], BeforeValidator(split_networks)] | None = Field(
        default=None,
        validation_alias="GATEWAY_TRUSTED_PROXIES",
        description="IP addresses and networks, separated by commas, of proxies that are believed: who calls, in "
        "`Forwarded` or `X-Forwarded-For`, `-Proto` and `-Host`, with which certificate, in `Client-Cert`, and "
        "`X-Forwarded-Prefix`, which goes before `GATEWAY_ROOT_PATH`. Unset: none.",
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
    rate_limit_storage: StorageUrl | None = Field(
        default=None,
        validation_alias="GATEWAY_RATE_LIMIT_STORAGE",
        repr=False,  # it may hold a password
        description="The Redis or Valkey server in which requests are counted for the `rate_limits` of the route file: "
        "`redis://host:6379/0`, `rediss://` for TLS, or `redis+unix:///path`, with `user:password@` where it asks for "
        "it. All gateways and workers with the same one count together. Unset: each worker counts in its own memory.",
    )
    rate_limit_fallback: Annotated[Fallback, from_text(partial(parse_word, words=get_args(Fallback)))] = Field(
        default="open",
        validation_alias="GATEWAY_RATE_LIMIT_FALLBACK",
        description="What becomes of requests that have a rate limit while that server does not answer: `open`, each "
        "worker counts in its own memory, or `closed`, they get 503.",
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
    log_format: Annotated[LogFormat, from_text(partial(parse_word, words=get_args(LogFormat)))] | None = Field(
        default=None,
        validation_alias="GATEWAY_LOG_FORMAT",
        description="How log lines are written: `json`, an object each, or `text`, for people. Unset: text on a "
        "terminal and in `dev`, else JSON.",
    )
    log_level: Annotated[LogLevel, from_text(partial(parse_word, words=get_args(LogLevel)))] = Field(
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
    pages_auth: PagesAuth | None = Field(
        default=None,
        validation_alias="GATEWAY_PAGES_AUTH",
        description="Who may see `/docs`, `/redoc`, `/openapi.json`, `/status` and `/metrics` on the gateway's own "
        "port: whom a scheme of the route file knows, such as `users`, or `users:pages:read` with a scope. Unset: "
        "everybody.",
    )
    server_timing: Switch = Field(
        default=False,
        validation_alias="GATEWAY_SERVER_TIMING",
        description="Tell callers in a header `Server-Timing` how long NATS and the gateway took, `on` or `off`. The "
        "developer tools of browsers show it.",
    )


VARIABLES = tuple(str(field.validation_alias) for field in Fields.model_fields.values())
