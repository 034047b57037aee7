"""Loads libraries without what they would load or build, but the gateway never needs from them. This saves 6 MiB in
each process, and a fifth of the time of a start."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from ..collector import collector_off

_OPTIONAL = {
    "structlog": "rich",  # for tracebacks that show the values of variables
    "uvicorn": "watchfiles",  # for uvicorn's own reload
}


@contextmanager
def lean_imports() -> Iterator[None]:
    """A block of imports. structlog, uvicorn and FastAPI are loaded before it, and the garbage collector is off
    meanwhile. Afterwards `import rich` and `import watchfiles` work as usual."""
    with collector_off():
        for library, optional in _OPTIONAL.items():
            with _absent(optional):
                import_module(library)
        with _models_built_when_used():
            import_module("fastapi")
        yield


@contextmanager
def _absent(name: str) -> Iterator[None]:
    """In this block `import name` raises ImportError, unless the module has been loaded before."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment] # see "The import system" in the reference of Python
    try:
        yield
    finally:
        del sys.modules[name]


@contextmanager
def _models_built_when_used() -> Iterator[None]:
    """Pydantic models that are defined in this block are built when something first uses them. FastAPI has forty for
    OpenAPI documents, which it uses for routes that an extension adds (`--extend`)."""
    from pydantic import BaseModel, ConfigDict

    before = BaseModel.model_config
    BaseModel.model_config = ConfigDict(defer_build=True)
    try:
        yield
    finally:
        BaseModel.model_config = before
