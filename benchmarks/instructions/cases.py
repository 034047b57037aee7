"""The requests whose instructions are counted: what callers of each kind send."""

from dataclasses import dataclass

from app.http.lane import LaneName

HOST = "Host: api.example.com"
CURL = (HOST, "User-Agent: curl/8.5.0", "Accept: */*")
BROWSER = (
    HOST,
    "Connection: keep-alive",
    'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"',
    "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Linux"',
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Accept: */*",
    "Sec-Fetch-Site: same-origin",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-US,en;q=0.9",
)
PROXIED = (
    HOST,
    "X-Real-IP: 203.0.113.7",
    "X-Forwarded-For: 203.0.113.7",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: api.example.com",
    "X-Request-Id: {id}",
    "traceparent: 00-{id}-00f067aa0ba902b7-01",
    "Accept: application/json",
    "User-Agent: okhttp/4.12.0",
)
JSON = (*CURL, "Content-Type: application/json")


@dataclass(frozen=True, slots=True)
class Case:
    """A request, sent again and again. `{name}` and `{id}` are another one each time. `credentials` is the file of
    those that are sent."""

    name: str
    path: str
    headers: tuple[str, ...]
    body: bytes | None = None
    status: int = 200
    lane: LaneName = "fast"
    credentials: str = ""


CASES = (
    Case("bare", "/greet/{name}", (HOST,)),
    Case("curl", "/greet/{name}", CURL),
    Case("browser", "/greet/{name}", BROWSER),
    Case("proxied", "/greet/{name}", PROXIED),
    Case("API key", "/key/{name}", CURL, credentials="api-key"),
    Case("token", "/token/{name}", CURL, credentials="token"),
    Case("POST 100 bytes", "/echo", JSON, body=b'{"item":"tea","amount":2}'.ljust(100)),
    Case("POST 1 KiB", "/echo", JSON, body=b'{"item":"tea","amount":2}'.ljust(1024)),
    Case("no responders", "/nobody/{name}", CURL, status=503),
    Case("not found", "/nothing/{name}", CURL, status=404),
    Case("bare, ASGI lane", "/greet/{name}", (HOST,), lane="asgi"),
)
