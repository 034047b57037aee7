"""What a route file says of replies."""

from typing import Any, Literal

from pydantic import Field

from .strict import StrictModel
from .types import Code, SchemaOrFile, Size, Status


class StatusModel(StrictModel):
    """What the documentation tells of one status that the service sets."""

    description: str = Field("", description="When the service answers so.")
    schema_: SchemaOrFile = Field(None, alias="schema", description="A JSON Schema of such a reply, or its file.")
    headers: dict[str, str] = Field({}, description="Headers of such a reply, and what they mean.")


class ReplyModel(StrictModel):
    """How a reply becomes a response."""

    content_type: str | None = Field(
        None, description="The media type where the reply has no `Content-Type`. Default: `application/octet-stream`."
    )
    wrap: Literal["message"] | None = Field(
        None, description='Turns a text reply into `{"message": …}`, unless the caller prefers `text/plain`.'
    )
    status: int = Field(200, description="The status where the reply has no `Http-Status`: 200 to 599.")
    headers: list[str] | None = Field(None, description="The reply headers that may pass to the caller.")
    set_headers: dict[str, str] = Field(
        {}, description="Headers of every response below 400, in the place of the reply's own."
    )
    max_bytes: Size | None = Field(None, description="The largest reply that is passed on.")
    schema_: SchemaOrFile = Field(
        None, alias="schema", description="A JSON Schema of the reply, or its file, for the documentation."
    )
    errors: dict[Code, int] | None = Field(
        None,
        description="From service error codes, numbers or words, to statuses, 400 to 599. A code that is not listed is "
        "the status itself if it is 400 to 599, else 502.",
    )
    expose_errors: bool = Field(False, description="Show the text of service errors of 500 and more to the caller.")
    example: Any = Field(None, description="A reply, for the documentation.")
    statuses: dict[Status, StatusModel] = Field(
        {}, description="Other statuses that the service sets with `Http-Status`, for the documentation."
    )
    validate_: bool = Field(
        False,
        alias="validate",
        description="Check replies by the schema of their status; one that breaks it is a 502 `bad-reply`.",
    )
