"""The keys of `reply` in a route file."""

from typing import Any, Literal

from pydantic import Field

from ..formats.shared_schemas import SharedSchemas
from ..routing.kinds import MAX_REPLIES
from ..routing.routes import ReplyRules, StatusRules
from .strict import StrictModel
from .types import Code, Duration, SchemaOrFile, Size, Status


class ManyRepliesModel(StrictModel):
    """Many replies to one request (ADR-47 of NATS)."""

    most: int = Field(100, alias="max", ge=1, le=MAX_REPLIES, description="The number of replies that is the end.")
    within: Duration | None = Field(
        None, description="The time for all replies, if the caller sends no `X-Request-Timeout`. Default: `timeout`."
    )
    stall: Duration = Field(0.3, description="The time without a further reply that is the end.")
    end: Literal["empty", "none"] = Field(
        "empty", description="With `empty`, a reply without a payload is the end. With `none`, it is a reply."
    )
    errors: Literal["include", "fail"] = Field(
        "include",
        description="With `include`, the error of a service is one of the replies. With `fail`, the first error is the "
        "response.",
    )
    max_bytes: Size = Field(1024 * 1024, description="The size of all replies together, at most 16MiB.")


class StatusModel(StrictModel):
    """The documentation of one status that the service sets."""

    description: str = Field("", description="When the service answers with this status.")
    schema_: SchemaOrFile = Field(None, alias="schema", description="A JSON Schema of such a reply, or its file.")
    headers: dict[str, str] = Field({}, description="Headers of such a reply, with their meanings.")


class ReplyModel(StrictModel):
    """How the reply of the service becomes the HTTP response."""

    content_type: str | None = Field(
        None,
        description="The media type, if the reply has no `Content-Type`. `auto`: JSON, text or bytes, as it looks. "
        "Default: `application/octet-stream`.",
    )
    wrap: Literal["message"] | None = Field(
        None,
        description='`message`: a text reply becomes `{"message": …}`, unless the caller prefers `text/plain`.',
    )
    status: int = Field(200, description="The status, if the reply has no `Http-Status`: 200 to 599.")
    headers: list[str] | None = Field(
        None, description="The reply headers that may pass to the caller. The list replaces the default."
    )
    set_headers: dict[str, str] = Field(
        {}, description="Headers of every response below 400, instead of the reply's own."
    )
    max_bytes: Size | None = Field(None, description="The largest reply; a larger one is a 502 `bad-reply`.")
    schema_: SchemaOrFile = Field(
        None, alias="schema", description="A JSON Schema of the reply, or its file, for the documentation."
    )
    errors: dict[Code, int] | None = Field(
        None,
        description="The statuses (400 to 599) for service error codes, which are numbers or words. An unlisted code "
        "is itself the status if it is 400 to 599, else the status is 502.",
    )
    expose_errors: bool = Field(False, description="Show the text of service errors of 500 and more to the caller.")
    example: Any = Field(None, description="A reply, for the documentation.")
    statuses: dict[Status, StatusModel] = Field(
        {}, description="Other statuses that the service sets with `Http-Status`, for the documentation."
    )
    validate_: bool = Field(
        False,
        alias="validate",
        description="Check replies by the schema of their status. A reply that breaks it is a 502 `bad-reply`.",
    )


def to_reply(rules: ReplyModel, passed: tuple[str, ...], schemas: SharedSchemas) -> ReplyRules:
    """The rules of a model. The headers `passed` may pass to the caller."""
    given = rules.model_dump(exclude={"headers", "set_headers", "errors", "schema_", "statuses", "validate_"})
    return ReplyRules(
        headers=passed,
        set_headers=tuple(rules.set_headers.items()),
        errors={int(code) if code.isdigit() else code: status for code, status in (rules.errors or {}).items()},
        schema=schemas.resolve(rules.schema_),
        statuses={int(status): _to_status(told, schemas) for status, told in rules.statuses.items()},
        validate=rules.validate_,
        **given,
    )


def _to_status(rules: StatusModel, schemas: SharedSchemas) -> StatusRules:
    schema = schemas.resolve(rules.schema_)
    return StatusRules(description=rules.description, schema=schema, headers=tuple(rules.headers.items()))
