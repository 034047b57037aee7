"""A lane moves bytes between an HTTP server and the link. It decides nothing: policy is the relay's."""

from typing import Literal

LaneName = Literal["fast", "asgi"]
