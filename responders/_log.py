"""The log of an example responder, on stderr."""

from __future__ import annotations

import logging


def configure_logging(name: str, *, is_short: bool) -> None:
    """Lines with the date, the level and the name of the service. Short lines look like those of `nats-http dev`."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        ShortFormatter(f"%(asctime)s {name:8} %(message)s", "%H:%M:%S")
        if is_short
        else logging.Formatter(f"%(asctime)s %(levelname)s {name}: %(message)s")
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class ShortFormatter(logging.Formatter):
    """Writes the level only if it is a warning or higher."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name of logging
        """The message, with its level before it if it is a warning or higher."""
        if record.levelno >= logging.WARNING:
            record.message = f"{record.levelname.lower()} {record.message}"
        return super().formatMessage(record)
