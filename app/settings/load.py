"""Settings from the environment, and every one that is wrong, by name."""

import importlib.util
import os
import re
from collections.abc import Sequence

from pydantic import ValidationError

from ..errors import CannotStart
from ..formats.environment import find_unknown, quote_value
from ..observe import trace_settings
from ..observe.trace_settings import Sampling
from .fields import VARIABLES
from .settings import Settings


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
        faults += [*settings.find_file_faults(), *_find_lack(settings)] if check_files else []
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


def _find_lack(settings: Settings) -> list[str]:
    """Of libraries that a setting needs."""
    has_all = all(importlib.util.find_spec(name) for name in ("limits", "redis"))
    if settings.rate_limit_storage is None or has_all:
        return []
    return [f"GATEWAY_RATE_LIMIT_STORAGE: it needs libraries that are not installed: {_INSTALL}"]


_INSTALL = "pip install 'nats-http-gateway[redis]'"


def _describe(location: tuple[int | str, ...], message: str, value: object) -> str:
    if not message.startswith("Value error, "):  # pydantic's own words: of bytes that are no text
        message = "must be text in UTF-8"
    words = message.removeprefix("Value error, ")
    if not location:  # of several settings together, and the words begin with them
        return words
    name = str(location[0])
    # A seed or a password may stand where an address or a path should.
    is_secret = name.startswith("NATS_") or name == "GATEWAY_RATE_LIMIT_STORAGE"
    shown = "" if is_secret else f" {quote_value(str(value))}"
    return f"{name}{shown}: {words.removeprefix(f'{name}: ')}"
