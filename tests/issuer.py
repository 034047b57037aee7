"""An issuer of tokens: its keys, what it signs, and a real server on loopback that tells its keys, or lies."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from starlette.types import Receive, Scope, Send

from app.http.sockets import bind
from tests.harness import eventually

ISSUER, AUDIENCE = "https://id.example.com/", "orders"
RSA_KEY, OTHER_RSA_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
EC_KEY, ED_KEY = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
SECRET = b"a secret of thirty-two bytes, or of more"


def make_claims(**changed: Any) -> dict[str, Any]:
    """The claims of a right token, with these in their place; None takes one away."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "sue",
        "exp": int(time.time()) + 24 * 3600,
        "scope": "orders:read",
        **changed,
    }
    return {name: value for name, value in claims.items() if value is not None}


def sign(claims: dict[str, Any] | None = None, *, key: Any = RSA_KEY, algorithm: str = "RS256", **header: Any) -> str:
    """A token; a right one unless told otherwise."""
    claims = make_claims() if claims is None else claims
    return jwt.encode(claims, key, algorithm, headers={"kid": "rsa", **header})


def make_jwk(kid: str | None = "rsa", key: Any = RSA_KEY, **more: Any) -> dict[str, Any]:
    """The public part of a key."""
    public = key.public_key()
    kinds: tuple[tuple[type, Callable[..., Any]], ...] = (
        (rsa.RSAPublicKey, RSAAlgorithm.to_jwk),
        (ec.EllipticCurvePublicKey, ECAlgorithm.to_jwk),
        (ed25519.Ed25519PublicKey, OKPAlgorithm.to_jwk),
    )
    jwk = next(json.loads(write(public)) for kind, write in kinds if isinstance(public, kind))
    return {**jwk, **({} if kid is None else {"kid": kid}), **more}


def make_jwks(*keys: dict[str, Any]) -> dict[str, Any]:
    return {"keys": list(keys) or [make_jwk(), make_jwk("ec", EC_KEY), make_jwk("ed", ED_KEY)]}


Answer = Callable[[Send], Awaitable[None]]


def answering(
    body: object, *, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = (), times: int = 1
) -> Answer:
    """An answer with this body, as often as it says."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def answer(send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for _ in range(times):
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return answer


async def hang(_: Send) -> None:
    await asyncio.sleep(60)


async def trickle(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(600):
        await send({"type": "http.response.body", "body": b" ", "more_body": True})
        await asyncio.sleep(0.1)


class JwksServer:
    """What tells the keys. `answer` is how; `asked` counts the requests."""

    def __init__(self) -> None:
        self.answer: Answer = answering(make_jwks())
        self.asked = 0
        self.url = ""

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        self.asked += 1
        with contextlib.suppress(OSError):
            await self.answer(send)


@contextlib.asynccontextmanager
async def run_issuer() -> AsyncIterator[JwksServer]:
    issuer = JwksServer()
    listener = bind("127.0.0.1", 0)
    issuer.url = f"http://127.0.0.1:{listener.getsockname()[1]}/keys"
    config = uvicorn.Config(issuer, lifespan="off", log_config=None, timeout_graceful_shutdown=0)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve([listener]))
    try:
        await eventually(lambda: server.started)
        yield issuer
    finally:
        server.should_exit = server.force_exit = True
        await running
