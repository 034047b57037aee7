"""The keys of a parameter in a route file."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from ..routing.parameters import Format, Parameter
from ..routing.tokens import Token
from .strict import StrictModel
from .types import Number, Scalar, Value


class ParameterModel(StrictModel):
    """One parameter, by its name."""

    location: Literal["path", "query", "header", "claim"] | None = Field(
        None,
        alias="in",
        description="Where the request has it, or `claim`: a fact about the caller. Default: `path` if it is in the "
        "path, else `query`.",
    )
    type: Literal["string", "integer", "number", "boolean"] = Field("string", description="The type of its value.")
    many: bool = Field(False, description="A query parameter that may be repeated. Its value is a list.")
    separator: Literal[","] | None = Field(
        None,
        description="With `many`: `,` takes the values from one text, `?id=1,2,3`, and the parameter may not be "
        "repeated.",
    )
    format: Format | None = Field(None, description="The format of a text, such as `uuid`, as JSON Schema defines it.")
    pattern: str | None = Field(
        None, description="A regular expression for the whole text, without look-around and back-references."
    )
    enum: list[Scalar] | None = Field(None, description="All allowed values.")
    minimum: Number = Field(None, alias="min", description="The least number.")
    maximum: Number = Field(None, alias="max", description="The greatest number.")
    min_length: int | None = Field(None, ge=0, description="The least number of characters.")
    max_length: int | None = Field(None, ge=0, description="The greatest number of characters.")
    required: bool | None = Field(
        None, description="Whether the parameter is required. Path parameters always are. Default: false."
    )
    default: Value = Field(None, description="The value if the request has none.")
    header: str | None = Field(
        None, description="The NATS header in which it goes to the service, beside a body, or instead of the payload."
    )
    claim: str | None = Field(
        None,
        description="With `in: claim`: the name of the claim, or the path to it, such as `org.id`. Default: the name "
        "of the parameter.",
    )
    token: Token | None = Field(
        None,
        description="How a text that is not a valid token becomes one in the subject: `escaped` writes every byte "
        "except `A-Za-z0-9_~-` as `%XX`; `base64url` has no padding.",
    )
    description: str = Field("", description="For the documentation.")
    example: Value = Field(None, description="For the documentation.")


def to_parameter(name: str, rules: ParameterModel, in_path: Sequence[str]) -> Parameter:
    """The parameter of a model. `in_path` has the names of those in the path."""
    given = rules.model_dump(exclude={"location", "enum"})
    location = rules.location or ("path" if name in in_path else "query")
    enum = None if rules.enum is None else tuple(rules.enum)
    return Parameter(name=name, location=location, enum=enum, **given)
