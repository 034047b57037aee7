"""Settings, from the environment. The only reader of os.environ; docs/settings.md is the reference."""

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TextIO

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from app.servers import Server
from app.units import parse_duration, parse_size


class SettingsError(Exception):
    """A setting is wrong; the text has a line for each, with its name and what would be right, and no secret."""


def _split_servers(text: object) -> object:
    if not isinstance(text, str):
        return text
    servers = tuple(server.strip() for server in text.split(","))
    for server in servers:
        Server.parse(server)
    return servers


def _from_text(parse: Callable[[str], float]) -> BeforeValidator:
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


Duration = Annotated[float, _from_text(parse_duration)]
Size = Annotated[int, _from_text(parse_size)]


class Settings(BaseSettings):
    """All settings, frozen. Durations are seconds, sizes bytes."""

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    nats_url: Annotated[tuple[str, ...], BeforeValidator(_split_servers)] = Field(
        default=("nats://localhost:4222",),
        validation_alias="NATS_URL",
        description="NATS servers, separated by commas: `nats://host:port` or `tls://host:port`, with `user:password@` "
        "or `token@` where the server asks for it, percent-encoded.",
    )
    routes: Path | None = Field(
        default=None,
        validation_alias="GATEWAY_ROUTES",
        description="The route file. Unset: the packaged one with greet; in `dev`, with all examples.",
    )
    host: str = Field(default="127.0.0.1", validation_alias="GATEWAY_HOST", description="Address to listen on.")
    port: int = Field(
        default=8000, ge=0, le=65535, validation_alias="PORT", description="Port to listen on; 0 picks one."
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
    max_in_flight: int = Field(
        default=4096,
        ge=1,
        validation_alias="GATEWAY_MAX_IN_FLIGHT",
        description="Requests in flight a worker; more get 503.",
    )
    max_connections: int = Field(
        default=10_000,
        ge=1,
        validation_alias="GATEWAY_MAX_CONNECTIONS",
        description="Connections a worker, at most as many as it may have files open. Beyond, the one that has been "
        "idle for longest makes room; where none is idle, new ones get 503.",
    )
    drain_timeout: Duration = Field(
        default=25.0,
        validation_alias="GATEWAY_DRAIN_TIMEOUT",
        description="How long requests in flight may take to finish when the gateway stops.",
    )
    access_log: bool | None = Field(
        default=None,
        validation_alias="GATEWAY_ACCESS_LOG",
        description="Log successes and refusals too: `on` or `off`. Failures (5xx) are always logged. "
        "Unset: on in `dev`, off in `serve`.",
    )

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
        return init_settings, InitSettingsSource(settings_cls, _read_variables())


def _read_variables() -> dict[str, object]:
    return {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}


VARIABLES = tuple(str(field.validation_alias) for field in Settings.model_fields.values())


def load_settings() -> Settings:
    """The settings of this process. SettingsError names every one that is wrong."""
    problems = [
        f"{name}: unknown setting, did you mean {matches[0]}?"
        for name in sorted(os.environ)
        if name.startswith("GATEWAY_")
        and name not in VARIABLES
        and (matches := difflib.get_close_matches(name, VARIABLES, n=1, cutoff=0.85))
    ]
    try:
        settings = Settings()
    except ValidationError as error:
        problems += [_describe(detail["loc"], detail["msg"], detail["input"]) for detail in error.errors()]
    else:
        if not problems:
            return settings
    raise SettingsError("\n".join(problems))


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
    name = str(location[0])
    shown = "" if name == "NATS_URL" else f" '{value}'"  # it may hold a password
    return f"{name}{shown}: {message.removeprefix('Value error, ')}"
