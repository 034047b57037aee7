"""The keys of streams in a route file."""

from pydantic import Field

from .strict import StrictModel
from .types import LongDuration


class SinceModel(StrictModel):
    """Where a caller of a stream begins: with the messages of a time."""

    since: LongDuration = Field(description="The messages of so long before the caller came: `10m`, `24h` or `7d`.")
