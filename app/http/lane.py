"""A lane moves bytes between an HTTP server and the link. It decides nothing: the relay has all rules."""

from typing import Literal

LaneName = Literal["fast", "asgi"]
