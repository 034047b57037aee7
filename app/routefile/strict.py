"""The base class of all models of the route file."""

from collections.abc import Callable
from typing import Self

from pydantic import AfterValidator, BaseModel, ConfigDict


class StrictModel(BaseModel):
    """A mapping that refuses unknown keys and values of other types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def __deepcopy__(self, _: object) -> Self:  # type: ignore[override]
        """Returns the model itself, since it never changes. Pydantic would copy each default for each route."""
        return self


def check_with(parse: Callable[[str], object]) -> AfterValidator:
    """A validator that accepts a text, and leaves it as it is, unless `parse` raises ValueError."""

    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)
