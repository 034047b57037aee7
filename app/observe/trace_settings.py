"""Reads and checks the variables `OTEL_…`. Pure. The SDK reads them too, but replaces wrong values, with a warning at
most. Here a wrong value is an error that names the variable.

Law: a variable `OTEL_EXPORTER_OTLP_TRACES_…` wins over `OTEL_EXPORTER_OTLP_…`. The latter is not checked then, since it
is for metrics and logs.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..formats.environment import quote_value

INSTALL = "pip install 'nats-http-gateway[otel]'"

_EXPORTER, _SAMPLER, _RATIO = "OTEL_TRACES_EXPORTER", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
_ASKING = (_EXPORTER, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_QUEUE, _BATCH = "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
_USUAL_QUEUE, _USUAL_BATCH = 2048, 512  # spans, the defaults of the specification
_BY_RATIO = "traceidratio"
_SAMPLERS = {"always_on": 1.0, "always_off": 0.0, _BY_RATIO: 1.0}
_BY_PARENT = "parentbased_"
_NAMES = (*_SAMPLERS, *(f"{_BY_PARENT}{name}" for name in _SAMPLERS))

Environment = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which traces are sampled. `ratio` is the share of those that begin here. With `by_parent` a trace that the caller
    began is sampled if the caller samples it."""

    by_parent: bool
    ratio: float


def find_asking(environment: Environment) -> str | None:
    """The variable that turns traces on, if any."""
    if _read_word(environment, "OTEL_SDK_DISABLED") == "true" or _read_word(environment, _EXPORTER) == "none":
        return None
    return next((name for name in _ASKING if environment.get(name)), None)


def read_sampling(environment: Environment) -> Sampling:
    """The sampling that these variables ask for. They must have no faults."""
    name = _read_word(environment, _SAMPLER) or "parentbased_always_on"
    root = name.removeprefix(_BY_PARENT)
    ratio = float(environment.get(_RATIO) or 1) if root == _BY_RATIO else _SAMPLERS[root]
    return Sampling(by_parent=name != root, ratio=ratio)


def _read_word(environment: Environment, name: str) -> str:
    return environment.get(name, "").strip().lower()


def find_faults(environment: Environment, *, check_files: bool) -> Iterator[str]:
    """One line for each wrong variable. No line contains a secret, such as a password in an address."""
    for name, check in _list_checks(environment):
        if (value := environment.get(name)) and (check_files or check is not _check_file):
            try:
                check(value.strip())
            except ValueError as error:
                is_secret = name.endswith(("ENDPOINT", "HEADERS"))
                yield f"{name}{'' if is_secret else f' {quote_value(value)}'}: {error}"
    try:
        queue, batch = int(environment.get(_QUEUE) or _USUAL_QUEUE), int(environment.get(_BATCH) or _USUAL_BATCH)
    except ValueError:
        return
    if 0 < queue < batch:
        yield f"{_QUEUE} '{queue}': must be at least {_BATCH}, which is {batch}"


def _list_checks(environment: Environment) -> Iterator[tuple[str, Callable[[str], None]]]:
    yield "OTEL_SDK_DISABLED", _one_of("true", "false")
    yield _EXPORTER, _one_of("otlp", "none")
    yield _SAMPLER, _one_of(*_NAMES)
    if _read_word(environment, _SAMPLER).endswith(_BY_RATIO):
        yield _RATIO, _check_ratio
    yield "OTEL_PROPAGATORS", _check_propagators
    for name in (_QUEUE, _BATCH, "OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT"):
        yield name, _check_count
    for word, check in _OF_EXPORTER.items():
        special = f"OTEL_EXPORTER_OTLP_TRACES_{word}"
        yield special if environment.get(special) else f"OTEL_EXPORTER_OTLP_{word}", check


def _one_of(*words: str) -> Callable[[str], None]:
    def check(value: str) -> None:
        if value.lower() not in words:
            raise ValueError(f"must be {', '.join(words[:-1])} or {words[-1]}")

    return check


def _check_ratio(value: str) -> None:
    try:
        ratio = float(value)
    except ValueError:
        ratio = math.nan
    if not 0 <= ratio <= 1:
        raise ValueError("must be a number from 0 to 1, such as 0.01 for one trace in a hundred")


def _check_count(value: str) -> None:
    if not (value.isascii() and value.isdigit() and int(value[:20]) > 0):
        raise ValueError("must be a whole number above 0")


def _check_propagators(value: str) -> None:
    if "tracecontext" not in [word.strip() for word in value.split(",")]:
        raise ValueError("must include tracecontext: the gateway supports only W3C Trace Context")


def _check_protocol(value: str) -> None:
    if value != "http/protobuf":
        raise ValueError("must be http/protobuf, as on port 4318 of collectors: the gateway speaks nothing else")


def _check_endpoint(value: str) -> None:
    try:
        parts = urlsplit(value)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right:
        raise ValueError("must be an address such as http://localhost:4318")


def _check_timeout(value: str) -> None:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ValueError("must be a number of seconds above 0")


def _check_headers(value: str) -> None:
    for pair in value.split(","):
        if pair.strip() and ("=" not in pair or not unquote(pair).isprintable()):
            raise ValueError("must be name=value, separated by commas and percent-encoded")


def _check_file(value: str) -> None:
    if not Path(value).is_file():
        raise ValueError("is not a file")


_OF_EXPORTER: Mapping[str, Callable[[str], None]] = {
    "PROTOCOL": _check_protocol,
    "ENDPOINT": _check_endpoint,
    "TIMEOUT": _check_timeout,
    "COMPRESSION": _one_of("none", "gzip", "deflate"),
    "HEADERS": _check_headers,
    "CERTIFICATE": _check_file,
    "CLIENT_CERTIFICATE": _check_file,
    "CLIENT_KEY": _check_file,
}
