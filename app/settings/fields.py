"""All settings, in the order of docs/settings.md: their names, types, defaults and descriptions."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, get_args

from pydantic import BeforeValidator, Field
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
    parse_services,
    split_networks,
)
from .nats import CLUSTERS, Cluster, NatsServers, read_clusters


class Fields(NatsServers, BaseSettings):
    """One frozen field for each setting. Durations are seconds, sizes are bytes."""

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, extra="ignore", hide_input_in_errors=True)

    clusters: Annotated[Mapping[str, Cluster], BeforeValidator(read_clusters)] | None = Field(
        default=None,
        validation_alias=CLUSTERS,
        repr=False,
        description="Names of more NATS clusters or accounts, with commas between, such as `factory,edge`. A route "
        "chooses one with `nats: factory`. The settings of `factory` are `NATS_FACTORY_URL`, which it needs, "
        "`NATS_FACTORY_CREDS` and so on.",
    )
    routes: Path | None = Field(
        default=None,
        validation_alias="GATEWAY_ROUTES",
        description="The route file, if the command line names none. Unset: the packaged file with greet, or in `dev` "
        "the packaged file with all examples.",
    )
    discover: Annotated[str | None, from_text(parse_services)] = Field(
        default=None,
        validation_alias="GATEWAY_DISCOVER",
        description="Names of services that describe themselves, with commas between: their routes, without a route "
        "file.",
    )
    watch: Switch = Field(
        default=False,
        validation_alias="GATEWAY_WATCH",
        description="Whether `serve` loads the routes and the certificate again within seconds of a change of their "
        "files, without a SIGHUP: `on` or `off`. `dev` does so for the routes in any case.",
    )
    host: str = Field(default="127.0.0.1", validation_alias="GATEWAY_HOST", description="Address to listen on.")
    port: Port = Field(default=8000, validation_alias="PORT", description="Port to listen on; 0 picks a free port.")
    workers: Count = Field(
        default=1,
        validation_alias="GATEWAY_WORKERS",
        description="Worker processes of `serve`. `dev` has one, and so has the application under a server of yours.",
    )
    tls_cert: Path | None = Field(
        default=None,
        validation_alias="GATEWAY_TLS_CERT",
        description="File with the gateway's own certificate, in PEM form, followed by those of intermediate "
        "authorities. With it the gateway speaks only HTTPS on its own port.",
    )
    tls_key: Path | None = Field(
        default=None,
        validation_alias="GATEWAY_TLS_KEY",
        description="File with the private key of `GATEWAY_TLS_CERT`, in PEM form and not encrypted.",
    )
    tls_client_ca: Path | None = Field(
        default=None,
        validation_alias="GATEWAY_TLS_CLIENT_CA",
        description="File with the certificates, in PEM form, of the authorities that may have signed callers' "
        "certificates. Callers without a certificate are served too. Unset: the gateway asks for no certificate.",
    )
    hsts: Age = Field(
        default=None,
        validation_alias="GATEWAY_HSTS_MAX_AGE",
        description="How long browsers must use HTTPS only, such as `365d`: each response of the gateway's own port "
        "says so in `Strict-Transport-Security`. `0s` makes them forget. Unset, or `off`: no such header.",
    )
    root_path: RootPath | None = Field(
        default=None,
        validation_alias="GATEWAY_ROOT_PATH",
        description="The path under which callers see the gateway, such as `/api`, if a proxy in front removes it "
        "before it passes a request on. Links, redirects, the `type` of problems and the OpenAPI document begin with "
        "it.",
    )
    trusted_proxies: Annotated[tuple[str, ...], BeforeValidator(split_networks)] | None = Field(
        default=None,
        validation_alias="GATEWAY_TRUSTED_PROXIES",
        description="IP addresses and networks of trusted proxies, separated by commas. The gateway believes their "
        "`Forwarded`, `X-Forwarded-For`, `-Proto` and `-Host` (who calls), `Client-Cert` (with which certificate) and "
        "`X-Forwarded-Prefix`, which goes before `GATEWAY_ROOT_PATH`. Unset: it trusts no proxy.",
    )
    proxy_protocol: Switch = Field(
        default=False,
        validation_alias="GATEWAY_PROXY_PROTOCOL",
        description="Whether the proxies of `GATEWAY_TRUSTED_PROXIES` begin each connection with a header of the PROXY "
        "protocol, version 1 or 2: `on` or `off`. With `on`, a connection from them without this header gets 400.",
    )
    timeout: Duration = Field(
        default=2.0,
        validation_alias="GATEWAY_TIMEOUT",
        description="How long a reply may take if the caller sends no `X-Request-Timeout`.",
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
        description="The most requests in flight in each worker. More get 503.",
    )
    max_in_flight_per_caller: Count | None = Field(
        default=None,
        validation_alias="GATEWAY_MAX_IN_FLIGHT_PER_CALLER",
        description="The most requests in flight from one address, in each worker. More get 503. Unset: no such limit, "
        "because all callers behind a proxy that is not in `GATEWAY_TRUSTED_PROXIES` share the address of the proxy.",
    )
    max_streams: Count = Field(
        default=1000,
        validation_alias="GATEWAY_MAX_STREAMS",
        description="The most open streams of messages (`subscribe`) in each worker. More get 429.",
    )
    rate_limit_storage: StorageUrl | None = Field(
        default=None,
        validation_alias="GATEWAY_RATE_LIMIT_STORAGE",
        repr=False,  # it may contain a password
        description="The Redis or Valkey server that counts requests for the `rate_limits` of the route file: "
        "`redis://host:6379/0`, `rediss://` for TLS, or `redis+unix:///path`, with `user:password@` if the server "
        "requires it. All gateways and workers with the same server count together. Unset: each worker counts in its "
        "own memory.",
    )
    rate_limit_fallback: Annotated[Fallback, from_text(partial(parse_word, words=get_args(Fallback)))] = Field(
        default="open",
        validation_alias="GATEWAY_RATE_LIMIT_FALLBACK",
        description="What happens to requests with a rate limit while that server does not answer. `open`: each worker "
        "counts in its own memory. `closed`: they get 503.",
    )
    max_connections: Count = Field(
        default=10_000,
        validation_alias="GATEWAY_MAX_CONNECTIONS",
        description="The most connections of each worker; a lower limit on open files lowers it. Above it, the gateway "
        "closes the connection that has been idle for longest; if no connection is idle, new ones get 503.",
    )
    max_buffered: BufferSize = Field(
        default=16 * 1024 * 1024,
        validation_alias="GATEWAY_MAX_BUFFERED",
        description="The most bytes that request bodies may take in each worker, from their arrival until they are "
        "sent to NATS. Further bodies wait, unread, or get 503. As many bytes again may wait to be parsed, and "
        "callers may leave as many unread.",
    )
    drain_timeout: Duration = Field(
        default=25.0,
        validation_alias="GATEWAY_DRAIN_TIMEOUT",
        description="How long requests in flight may take to finish when the gateway stops.",
    )
    access_log: Switch | None = Field(
        default=None,
        validation_alias="GATEWAY_ACCESS_LOG",
        description="Log successes and refusals too: `on` or `off`. Failures (5xx) are logged in any case. Unset: on "
        "in `dev`, off in `serve`.",
    )
    log_format: Annotated[LogFormat, from_text(partial(parse_word, words=get_args(LogFormat)))] | None = Field(
        default=None,
        validation_alias="GATEWAY_LOG_FORMAT",
        description="How log lines are written: `json`, one object each, or `text`, for people. Unset: text on a "
        "terminal and in `dev`, else JSON.",
    )
    log_level: Annotated[LogLevel, from_text(partial(parse_word, words=get_args(LogLevel)))] = Field(
        default="info",
        validation_alias="GATEWAY_LOG_LEVEL",
        description="The lowest level that is logged: `debug`, `info`, `warning` or `error`.",
    )
    health_details: Switch | None = Field(
        default=None,
        validation_alias="GATEWAY_HEALTH_DETAILS",
        description="Whether every caller of `/readyz` and `/healthz` sees details: `on` or `off`. Details are the "
        "full reason, with addresses and the words of NATS, the version, the NATS server, and counts. Unset: on in "
        "`dev`, off in `serve`.",
    )
    metrics_address: Place | None = Field(
        default=None,
        validation_alias="GATEWAY_METRICS_ADDRESS",
        description="Where to serve `/metrics`, and nowhere else: an address such as `127.0.0.1:9090`, `on` for the "
        "gateway's own port, or `off`. Unset: the address of `GATEWAY_STATUS` if it is one, else the gateway's own "
        "port.",
    )
    status: Place = Field(
        default=True,
        validation_alias="GATEWAY_STATUS",
        description="Where to serve `/status`, the live page for people: `on` for the gateway's own port, `off`, or an "
        "address of its own such as `127.0.0.1:9090`.",
    )
    pages_auth: PagesAuth | None = Field(
        default=None,
        validation_alias="GATEWAY_PAGES_AUTH",
        description="Who may see `/docs`, `/redoc`, `/openapi.json`, `/status`, `/services` and `/metrics` on the "
        "gateway's own port: the callers that a scheme of the route file knows, such as `users`, or `users:pages:read` "
        "to require a scope. Unset: everybody.",
    )
    services: Switch = Field(
        default=False,
        validation_alias="GATEWAY_SERVICES",
        description="Whether `/services` lists the services on NATS, with their endpoints and numbers, as JSON: `on` "
        "or `off`. Then no route can begin with `/services`.",
    )
    server_timing: Switch = Field(
        default=False,
        validation_alias="GATEWAY_SERVER_TIMING",
        description="Whether a response header `Server-Timing` says how long NATS and the gateway took: `on` or `off`. "
        "The developer tools of browsers show it.",
    )


VARIABLES = tuple(str(field.validation_alias) for field in Fields.model_fields.values())
