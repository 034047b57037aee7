"""What all models of the route file have in common."""

from collections.abc import Callable
from typing import Self

from pydantic import AfterValidator, BaseModel, ConfigDict


class StrictModel(BaseModel):
    """A mapping that has no other keys than these, and no values of other types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def __deepcopy__(self, _: object) -> Self:  # type: ignore[override]
        """Itself, as it never changes: pydantic copies each default for each route."""
        return self


def check_with(parse: Callable[[str], object]) -> AfterValidator:
    """Leaves a text as it is, if `parse` takes it; its ValueError says why not."""

    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)
