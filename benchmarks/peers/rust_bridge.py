"""mq-bridge, a bridge in Rust: Python only tells it its routes. A route has one subject, whatever the path says, so all
callers greet sue.

There is no `nobody`: after one request without a responder, mq-bridge refuses all requests of that route for five
seconds.
"""

import os

from mq_bridge import Route

ADDRESS = f"127.0.0.1:{os.environ['PORT']}"
BATCHES = int(os.environ.get("BATCHES", "1"))  # at the same time; each has up to 512 requests


def start(subject: str, path: str | None = None) -> Route:
    """Start a route for this path, or for all paths that no other route has."""
    http = {"url": ADDRESS, "path": path}
    broker = {"url": os.environ["NATS_URL"], "subject": subject, "no_jetstream": True, "request_reply": True}
    broker["request_timeout_ms"] = 2000
    route = Route.from_config({"input": {"http": http}, "output": {"nats": broker}, "concurrency": BATCHES})
    route.start()
    return route


start("echo", "/echo")
start("slow.sue", "/slow/sue")
start("greet.sue").join()
