"""Reads and writes values as people write them: durations (`500ms`, `2s`, `1m`), sizes (`1048576`, `64KiB`, `1MiB`),
counts (`8000`), switches (`on`, `off`), words (`json`) and places (`127.0.0.1:9090`).

A number without a unit may be a size in bytes, but never a duration: `timeout: 2` could mean seconds or milliseconds.
"""

import re
from collections.abc import Sequence

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m)", re.ASCII)
_SIZE = re.compile(r"(\d{1,12})(KiB|MiB)?", re.ASCII)
_COUNT = re.compile(r"\d{1,12}", re.ASCII)
_SWITCHES = {
    **dict.fromkeys(("on", "true", "yes", "1", "t", "y"), True),
    **dict.fromkeys(("off", "false", "no", "0", "f", "n"), False),
}
_PLACE = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s\[\]:/]+)):(?P<port>\d{1,5})", re.ASCII)
_AGE = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_BYTES = {None: 1, "KiB": 1024, "MiB": 1024 * 1024}


def parse_duration(text: str) -> float:
    """The seconds of a duration, which is more than 0. Raises ValueError, whose text shows how to write it."""
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if seconds <= 0:
        raise ValueError("a duration is a number above 0 with its unit: 500ms, 2s or 1m")
    return seconds


def parse_age(text: str) -> int | None:
    """The seconds of an age, as a whole number. None for `off`. Raises ValueError, whose text shows how to write it."""
    if text.lower() == "off":
        return None
    match = _AGE.fullmatch(text)
    if not match:
        raise ValueError("must be off, or a whole number with its unit: 3600s, 24h or 365d")
    return int(match[1]) * _AGES[match[2]]


def parse_size(text: str, *, least: int = 0) -> int:
    """The bytes of a size of at least `least`. Raises ValueError, whose text shows how to write it."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError("a size is a whole number of bytes, or one with KiB or MiB: 1048576, 64KiB or 1MiB")
    size = int(match[1]) * _BYTES[match[2]]
    if size < least:
        raise ValueError(f"must be {format_size(least)} or more")
    return size


def parse_count(text: str, *, least: int, most: int | None = None) -> int:
    """A whole number within these bounds. Raises ValueError, whose text has the bounds."""
    number = int(text) if _COUNT.fullmatch(text) else None
    if number is None or number < least or (most is not None and number > most):
        bounds = f"{least} or more" if most is None else f"from {least} to {most}"
        raise ValueError(f"must be a whole number, {bounds}")
    return number


def parse_switch(text: str) -> bool:
    """True for `on` and False for `off`. Other common words for them, such as `yes`, are accepted. Raises
    ValueError."""
    switch = _SWITCHES.get(text.lower())
    if switch is None:
        raise ValueError("must be on or off")
    return switch


def parse_place(text: str) -> bool | tuple[str, int]:
    """True for `on`, False for `off`, or a host and a port: `127.0.0.1:9090`, `[::1]:9090`. Raises ValueError for
    anything else, such as a port alone, which could mean all addresses."""
    match = _PLACE.fullmatch(text)
    if match is None:
        return _parse_words(text)
    port = int(match["port"])
    if not 1 <= port <= 65535:
        raise ValueError("a port is a number from 1 to 65535")
    return match["v6"] or match["host"], port


def _parse_words(text: str) -> bool:
    if text.lower() not in _SWITCHES:
        raise ValueError("must be on, off, or an address with a port, such as 127.0.0.1:9090")
    return parse_switch(text)


def parse_word(text: str, words: Sequence[str]) -> str:
    """One of these words, in lower case. Raises ValueError, whose text lists them."""
    word = text.lower()
    if word not in words:
        raise ValueError(f"must be {', '.join(words[:-1])} or {words[-1]}")
    return word


def format_size(size: int) -> str:
    """A size in the largest unit that needs no fraction: `64KiB`, `1000`. `parse_size` can read it."""
    for unit in ("MiB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return str(size)


def format_duration(seconds: float) -> str:
    """A duration in ms if it is below a second, else in s: `500ms`, `2s`. `parse_duration` can read it."""
    number, unit = (seconds * 1000, "ms") if seconds < 1 else (seconds, "s")
    return f"{number:.6f}".rstrip("0").rstrip(".") + unit
