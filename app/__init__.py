"""nats-http-gateway: an HTTP request on a declared route becomes one NATS request."""

__version__ = "0.1.0"
