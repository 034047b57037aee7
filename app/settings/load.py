"""Loads the settings from the environment, and reports all wrong ones by name."""

import importlib.util
import os
import re
from collections.abc import Sequence

from pydantic import ValidationError

from ..errors import CannotStart
from ..formats.clusters import name_variables
from ..formats.environment import find_unknown, quote_value
from ..observe import trace_settings
from ..observe.trace_settings import Sampling
from .fields import VARIABLES
from .nats import CLUSTERS
from .settings import Settings


class SettingsError(CannotStart):
    """Settings are wrong. `faults` has a line for each, and the text has all these lines. A line has the name of the
    setting and says what would be right. It contains no secret."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)

    @property
    def names(self) -> frozenset[str]:
        """The names of the variables at the beginnings of the lines."""
        found = (_NAMES.match(line) for line in self.faults)
        return frozenset(name for match in found if match for name in match[0].split(", "))


_NAMES = re.compile(r"[A-Z0-9_]+(?:, [A-Z0-9_]+)*")


def load_settings(*, check_files: bool = False) -> Settings:
    """The settings of this process. Raises SettingsError with all faults.

    With `check_files` it also checks the files of credentials and certificates, the variables for traces, and whether
    all needed libraries are installed. Use it at the start only: a running gateway waits until wrong files are
    corrected.
    """
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
    """Which traces to sample. None if no variable `OTEL_…` asks for traces. Raises SettingsError."""
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
    """Faults of settings that need a library which is not installed."""
    has_all = all(importlib.util.find_spec(name) for name in ("limits", "redis"))
    if settings.rate_limit_storage is None or has_all:
        return []
    return [f"GATEWAY_RATE_LIMIT_STORAGE: it needs libraries that are not installed: {_INSTALL}"]


_INSTALL = "pip install 'nats-http-gateway[redis]'"


def _describe(location: tuple[int | str, ...], message: str, value: object) -> str:
    if not message.startswith("Value error, "):  # a message of pydantic: the bytes are not text
        message = "must be text in UTF-8"
    words = message.removeprefix("Value error, ")
    if not location:  # a fault of several settings together: its text begins with their names
        return words
    name = str(location[0])
    if name == CLUSTERS and len(location) > 1:  # a fault of a cluster that it names, or of several settings of it
        cluster, variable = str(location[1]), str(location[2]) if len(location) > 2 else ""
        return name_variables(f"{variable}: {words}" if variable else words, cluster)
    # An address or a path may be a seed or a password by mistake.
    is_secret = name.startswith("NATS_") or name == "GATEWAY_RATE_LIMIT_STORAGE"
    shown = "" if is_secret else f" {quote_value(str(value))}"
    return f"{name}{shown}: {words.removeprefix(f'{name}: ')}"
