"""nats-http-gateway: an HTTP request on a declared route becomes one NATS request."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .main import create_app

__all__ = ["__version__", "create_app"]
__version__ = "0.2.0"


def __getattr__(name: str) -> object:
    """`create_app`, which is imported when it is first asked for, so that commands start without it."""
    if name != "create_app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .main import create_app

    return create_app
