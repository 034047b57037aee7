"""`--extend MODULE:FUNCTION`: a function that adds to the application, such as middleware or pages."""

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI

from ..errors import CannotStart

Extend = Callable[[FastAPI], object]


def load_extension(text: str) -> Extend:
    """The function of this name. Its module is searched in the current folder first, as with uvicorn. Raises
    CannotStart if it can't be found, and any exception of the module itself."""
    module_name, colon, name = text.partition(":")
    if not (module_name and colon and name):
        raise CannotStart(f"--extend '{text}': write MODULE:FUNCTION, such as my_gateway:extend")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module exists, but one of its own imports does not
        raise CannotStart(f"--extend '{text}': there is no module '{error.name}'") from None
    function: Extend | None = getattr(module, name, None)
    if function is None:
        raise CannotStart(f"--extend '{text}': the module has no '{name}'")
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise CannotStart(
            f"--extend '{text}': '{name}' is not a function that takes the application, such as `def {name}(app):`"
        )
    return function
