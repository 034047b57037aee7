"""Every way in which an exchange can fail, as one tree.

    GatewayError
    ├── the caller can correct it, nothing was sent
    │   ├── BadRequest 400            ├── Unauthenticated 401
    │   ├── Forbidden 403             ├── NotFound 404
    │   ├── MethodNotAllowed 405      ├── RequestTimeout 408        ├── LengthRequired 411
    │   ├── IdempotencyKeyMissing 400
    │   ├── PayloadTooLarge 413       ├── UriTooLong 414            ├── UnsupportedMediaType 415
    │   ├── InvalidParameter 422      ├── InvalidBody 422           ├── HeadersTooLarge 431
    │   ├── RateLimited 429           ├── TooManyStreams 429        └── VersionNotSupported 505
    ├── the gateway can't send now, nothing was sent
    │   ├── Overloaded 503            ├── NoResponders 503          ├── NotConnected 503
    │   ├── Draining 503              ├── PermissionDenied 502
    │   ├── KeysUnavailable 503       ├── StreamUnavailable 503     └── LimitsUnavailable 503
    ├── a stream did not store it
    │   ├── PreconditionFailed 412    └── NotStored 502 (no, unknown)
    └── it was sent
        ├── ConnectionLost 502 (unknown)    ├── Timeout 504 (unknown)
        ├── BadReply 502 (yes)              ├── ServiceError (yes)
        └── Internal 500 (unknown)

Only the class of an error has its status, its slug and what is known about delivery. A `detail` is for the caller: it
never contains the text of an exception, the subject of another route, or a credential.
"""

from typing import ClassVar, Literal

Delivered = Literal["no", "yes", "unknown"]
Headers = tuple[tuple[bytes, bytes], ...]
Facts = tuple[tuple[str, str], ...]
"""Names and values of a failure for the log: clean texts of at most MAX_FACT characters."""
MAX_FACT = 512

CLOSE = (b"connection", b"close")

_RETRY_SOON: Headers = ((b"retry-after", b"1"),)


class CannotStart(Exception):
    """The gateway can't start. The text is for the person who starts it, with one line for each fault."""


class GatewayError(Exception):
    """A failed exchange.

    `delivered` says whether the service has run, or a stream has stored the message: "no", "yes", or "unknown".
    `retryable` is true only if the same request may succeed later, and a retry can't have its effect twice: the gateway
    knows that the service has not run, or the message has an `Idempotency-Key`.
    """

    slug: ClassVar[str]
    title: ClassVar[str]
    delivered: Delivered = "no"
    retryable: bool = False
    cause: ClassVar[str]
    cure: ClassVar[str]
    status: int
    headers: Headers = ()

    errors: tuple[tuple[str, str], ...] = ()
    """All errors of a body: a JSON pointer to the place, and what is wrong there."""
    parameters: tuple[tuple[str, str, str], ...] = ()
    """All invalid parameters: the name, then `path`, `query` or `header`, and what is wrong."""
    facts: Facts = ()

    def __init__(self, detail: str | None = None, *, headers: Headers | None = None) -> None:
        super().__init__(detail)
        self.detail = detail or self.cause
        if headers is not None:
            self.headers = headers


def _note_detail(detail: str) -> Facts:
    """The detail as a fact for the log: callers ask operators why they were refused."""
    return (("detail", detail[:MAX_FACT]),)


class BadRequest(GatewayError):
    slug, title, status = "bad-request", "Bad request", 400
    cause = "The bytes that arrived are not an HTTP/1.1 request."
    cure = "Send a request that follows RFC 9112; any HTTP client library does."


class InvalidParameter(GatewayError):
    slug, title, status = "invalid-parameter", "Invalid parameter", 422
    cause = "A path, query or header parameter breaks its rule."
    cure = (
        "Correct the parameter that `detail` names, or those that `errors` lists. A path parameter becomes one token "
        "of a NATS subject: it has 1 to 128 characters, in UTF-8, percent-encoded, without `.`, `*`, `>`, `/`, "
        "white space, control or invisible formatting characters. Nothing is repaired or escaped on the way."
    )

    def __init__(self, detail: str | None = None, *, parameters: tuple[tuple[str, str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.parameters = parameters


class InvalidBody(GatewayError):
    slug, title, status = "invalid-body", "Invalid body", 422
    cause = "The body breaks the JSON schema of its route."
    cure = (
        "Correct what `errors` lists: each has a JSON pointer into the body and what is wrong there. `/docs` has "
        "the schema. The body must be JSON in UTF-8, and no object in it may have a key twice."
    )

    def __init__(self, detail: str | None = None, *, errors: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.errors = errors


class NotFound(GatewayError):
    slug, title, status = "not-found", "Not found", 404
    cause = "No route has this path."
    cure = "Look at `/docs` for the routes that exist. A path with a trailing slash is a different path."


class Unauthenticated(GatewayError):
    """`challenge` replaces the usual challenge of the scheme whose credential was invalid, if it says more. `facts` are
    details that only operators may see."""

    slug, title, status = "unauthenticated", "Unauthenticated", 401
    cause = "This route or page requires a known caller, and the request has no credential that it accepts."
    cure = (
        "Send an API key, a token or a client certificate. The header `WWW-Authenticate` of the response and the "
        "documentation of the route say which. Operators: `auth` of the route lists what it accepts, and "
        "`GATEWAY_PAGES_AUTH` does so for pages of the gateway."
    )

    challenge: str = ""

    def __init__(
        self, detail: str | None = None, *, headers: Headers | None = None, challenge: str = "", facts: Facts = ()
    ) -> None:
        super().__init__(detail, headers=headers)
        self.challenge = challenge
        self.facts = (*_note_detail(self.detail), *facts)


class Forbidden(GatewayError):
    slug, title, status = "forbidden", "Forbidden", 403
    cause = "This route does not accept requests from this caller."
    cure = (
        "Call with the scopes and claims that `detail` names, or from a network that the route allows. Operators: "
        "`auth` and `allow_from` of the route list them. Behind a proxy that the gateway does not trust, the "
        "address is that of the proxy."
    )

    def __init__(self, detail: str | None = None, *, headers: Headers | None = None) -> None:
        super().__init__(detail, headers=headers)
        self.facts = _note_detail(self.detail)


class MethodNotAllowed(GatewayError):
    slug, title, status = "method-not-allowed", "Method not allowed", 405
    cause = "The path exists, but not with this method."
    cure = "Use a method that the `Allow` header of the response lists."


class RequestTimeout(GatewayError):
    slug, title, status, retryable = "request-timeout", "Request timeout", 408, True
    headers = (CLOSE,)  # RFC 9110 §15.5.9; the gateway does not wait for the rest of the request
    cause = "The request was not complete before its deadline, so nothing was sent to the service."
    cure = "Send the request faster, or ask for more time with `X-Request-Timeout: 10s`."


class LengthRequired(GatewayError):
    slug, title, status = "length-required", "Length required", 411
    cause = "This route accepts no body of unknown length, and the request has no `Content-Length`."
    cure = "Send the body with a `Content-Length` header instead of in chunks."


class IdempotencyKeyMissing(GatewayError):
    """The status is that of draft-ietf-httpapi-idempotency-key-header."""

    slug, title, status = "idempotency-key-missing", "Idempotency key missing", 400
    cause = "This route needs an idempotency key, and the request has none."
    cure = (
        "Send a header `Idempotency-Key`, or the one that `detail` names. Its value is a random text, such as a UUID: "
        "a new one for each new request, and the same one when you repeat a request."
    )


class PreconditionFailed(GatewayError):
    slug, title, status = "precondition-failed", "Precondition failed", 412
    cause = "The last message on this subject does not have the sequence in `If-Match`, so the message is not stored."
    cure = "Read what has changed, and send the sequence of the message that is the last one now."


class PayloadTooLarge(GatewayError):
    slug, title, status = "payload-too-large", "Payload too large", 413
    cause = (
        "The body is larger than the route accepts, or body and headers together are larger than the NATS server "
        "accepts."
    )
    cure = "Send a smaller body. Operators: raise `GATEWAY_MAX_BODY` and, on the NATS server, `max_payload`."


class UriTooLong(GatewayError):
    slug, title, status = "uri-too-long", "URI too long", 414
    cause = "The URI, a path parameter, the query or the NATS subject is longer than its limit."
    cure = (
        "Shorten the URI. The limits are 128 characters for a path parameter in the subject, 1,024 parameters in a "
        "query, 2,048 bytes for a subject, and 64 KiB for a request head."
    )


class UnsupportedMediaType(GatewayError):
    slug, title, status = "unsupported-media-type", "Unsupported media type", 415
    cause = "The route accepts no body of this type or encoding, or no body at all."
    cure = (
        "Send a body of a type that the `Accept` header of the response lists. Name this type in `Content-Type`, "
        "and send no `Content-Encoding`. If `detail` says so, send no body."
    )


class HeadersTooLarge(GatewayError):
    slug, title, status = "headers-too-large", "Headers too large", 431
    cause = (
        "The headers of the request, or those that would travel to the service, are larger than the gateway accepts."
    )
    cure = (
        "Send shorter headers: at most 64 KiB together, and at most 16 KiB of headers that travel to the service. "
        "`Accept` may have 64 media ranges, and `Connection` 64 names."
    )


class RateLimited(GatewayError):
    slug, title, status, retryable = "rate-limited", "Rate limited", 429, True
    headers = _RETRY_SOON
    cause = "This caller, or all callers of the route together, have sent more requests than its rate limit allows."
    cure = (
        "Retry after the time in `Retry-After`. The header `RateLimit` of each response says how many more "
        "requests are left. Operators: `rate_limit` of the route names the limit, and `rate_limits` of the route "
        "file defines it."
    )


class TooManyStreams(GatewayError):
    slug, title, status, retryable = "too-many-streams", "Too many streams", 429, True
    headers = ((b"retry-after", b"5"),)
    cause = "The gateway, or this caller, has as many open streams as it may have."
    cure = "Close streams that nobody reads, and retry after the time in `Retry-After`. Operators: raise "
    cure += "`GATEWAY_MAX_STREAMS`, or `max_streams` of the route."


class VersionNotSupported(GatewayError):
    slug, title, status = "http-version-not-supported", "HTTP version not supported", 505
    headers = (CLOSE,)
    cause = "The request is neither HTTP/1.1 nor HTTP/1.0."
    cure = "Send the request as HTTP/1.1. For HTTP/2 or HTTP/3, put a proxy in front of the gateway."


class Overloaded(GatewayError):
    slug, title, status, retryable = "overloaded", "Overloaded", 503, True
    headers = _RETRY_SOON
    cause = (
        "Too many requests are in flight (in all, of the route, or of the caller), or the gateway has too many "
        "connections, request bodies in memory or bodies to check, or the NATS server reads too slowly."
    )
    cure = (
        "Retry after the time in `Retry-After`. Operators: `detail` says which limit it is. Look at the services' "
        "latency, add gateways, or raise `GATEWAY_MAX_IN_FLIGHT`, `max_in_flight` of the route, "
        "`GATEWAY_MAX_IN_FLIGHT_PER_CALLER`, `GATEWAY_MAX_CONNECTIONS` or `GATEWAY_MAX_BUFFERED`."
    )


class NoResponders(GatewayError):
    slug, title, status, retryable = "no-responders", "No responders", 503, True
    headers = _RETRY_SOON
    cause = "Nobody is subscribed to the subject of this route, so nobody has seen the request."
    cure = "Start the service, and check that it uses the same NATS account and subject. A retry is safe."


class KeysUnavailable(GatewayError):
    slug, title, status, retryable = "keys-unavailable", "Keys unavailable", 503, True
    headers = _RETRY_SOON
    cause = "The gateway can't fetch the keys of the issuer, so it does not know whether the token is valid."
    cure = (
        "Retry after the time in `Retry-After`. Operators: the log has the reason. Look at `jwks_url` of the "
        "route file."
    )


class LimitsUnavailable(GatewayError):
    slug, title, status, retryable = "limits-unavailable", "Rate limits unavailable", 503, True
    headers = _RETRY_SOON
    cause = "The gateway can't ask the server that counts requests, so it does not know whether one more is allowed."
    cure = (
        "Retry after the time in `Retry-After`. Operators: the log has the reason. Look at "
        "`GATEWAY_RATE_LIMIT_STORAGE`. With `GATEWAY_RATE_LIMIT_FALLBACK=open` each worker would count by itself "
        "meanwhile."
    )


class StreamUnavailable(GatewayError):
    slug, title, status, retryable = "stream-unavailable", "Stream unavailable", 503, True
    headers = _RETRY_SOON
    cause = "JetStream does not answer for the stream of this route, so its messages can't be read now."
    cure = "Retry after the time in `Retry-After`. Operators: check that the stream of the route exists and has a "
    cure += "leader, and that the gateway's NATS user may publish to `$JS.API.>`."


class NotConnected(GatewayError):
    slug, title, status, retryable = "not-connected", "Not connected to NATS", 503, True
    headers = _RETRY_SOON
    cause = "The gateway has no connection to a NATS server at the moment. Nothing was sent."
    cure = "Retry after the time in `Retry-After`. The gateway reconnects by itself. Operators: its log has the reason."


class Draining(GatewayError):
    slug, title, status, retryable = "draining", "Shutting down", 503, True
    headers = (*_RETRY_SOON, CLOSE)
    cause = "This gateway is shutting down and takes no new requests."
    cure = "Retry on a new connection. A load balancer sends it to another gateway."


class PermissionDenied(GatewayError):
    slug, title, status = "permission-denied", "Permission denied by NATS", 502
    cause = "The NATS server does not let the gateway's own user publish to the subject of this route."
    cure = "Operators: give the gateway's NATS user publish permission for the subjects of its routes."


class ConnectionLost(GatewayError):
    slug, title, status, delivered = "connection-lost", "Connection to NATS lost", 502, "unknown"
    cause = "The connection to NATS broke after the request was sent. The service may or may not have run."
    cure = "Check what the service did before you repeat a request that changes something."


class BadReply(GatewayError):
    slug, title, status, delivered = "bad-reply", "Bad reply", 502, "yes"
    cause = "The service replied with something that can't become an HTTP response."
    cure = "The service has run. Fix its reply: `detail` says what is wrong with it."


class ServiceError(GatewayError):
    """The service answered with an error (ADR-32). `status` is the mapped status. `detail` has the service's own words
    if the route shows them."""

    slug, title, status, delivered = "service-error", "Service error", 502, "yes"
    cause = "The service took the request and answered with an error."
    cure = (
        "Read `detail`. The service has run. The status is the one to which the route maps this error, else that of "
        "the service, else 502."
    )

    def __init__(
        self, detail: str | None = None, *, status: int = 502, headers: Headers = (), facts: Facts = ()
    ) -> None:
        super().__init__(detail, headers=headers)
        self.status = status
        self.facts = facts


class NotStored(GatewayError):
    slug, title, status = "not-stored", "Not stored", 502
    cause = "JetStream has not stored the message, or nobody knows whether it has."
    cure = (
        "If `retryable` is true, repeat the request. Operators: `detail` says what is wrong. Look at the stream that "
        "the route names: its subjects, its limits, and whether it has a leader."
    )

    @classmethod
    def not_now(cls, detail: str) -> "NotStored":
        """The error for a message that is not stored now, but may be stored if it is sent again."""
        error = cls(detail, headers=_RETRY_SOON)
        error.retryable = True
        return error

    @classmethod
    def unknown(cls, detail: str) -> "NotStored":
        """The error if nobody knows whether the message is stored."""
        error = cls(detail)
        error.delivered = "unknown"
        return error


class Timeout(GatewayError):
    slug, title, status = "timeout", "Timeout", 504
    delivered: Delivered = "unknown"
    cause = "No reply came before the deadline. The service may or may not have run."
    cure = (
        "Ask for more time with `X-Request-Timeout: 10s`, or find out why the service is slow. Check what it did "
        "before you repeat a request that changes something."
    )

    @classmethod
    def unsent(cls) -> "Timeout":
        """The timeout of a request that was not sent before its deadline. So nobody has seen it."""
        error = cls("The deadline passed before the request could be sent, so the service has not run.")
        error.delivered, error.retryable = "no", True
        return error


class Internal(GatewayError):
    slug, title, status, delivered = "internal", "Internal error", 500, "unknown"
    cause = "The gateway has a bug. Its log has the details, with the request id."
    cure = "Report it with the request id and the log lines."


ERRORS: tuple[type[GatewayError], ...] = (
    BadRequest,
    InvalidParameter,
    InvalidBody,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    LengthRequired,
    IdempotencyKeyMissing,
    PreconditionFailed,
    PayloadTooLarge,
    UriTooLong,
    UnsupportedMediaType,
    RateLimited,
    TooManyStreams,
    HeadersTooLarge,
    VersionNotSupported,
    Overloaded,
    NoResponders,
    KeysUnavailable,
    LimitsUnavailable,
    StreamUnavailable,
    NotConnected,
    Draining,
    PermissionDenied,
    ConnectionLost,
    BadReply,
    ServiceError,
    NotStored,
    Timeout,
    Internal,
)

OF_POLICIES: tuple[type[GatewayError], ...] = (
    Unauthenticated,
    Forbidden,
    LengthRequired,
    RateLimited,
    KeysUnavailable,
    LimitsUnavailable,
)
"""The errors that only a policy of a route raises."""
