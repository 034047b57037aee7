"""Credentials: floods of wrong ones, and more right ones than can be remembered. Who is known goes on being served."""

from dataclasses import replace
from functools import partial

from tests.bounds import credentials
from tests.bounds.attacks import MANY, STORM, Attack, get
from tests.bounds.credentials import Write, write_requests
from tests.bounds.sending import Sending
from tests.bounds.shaking import Shaking

KNOWN, CLOSED = "/known/sue", "/members/sue"
"""The second is open to no member."""
BY_KEY = f"X-API-Key: {credentials.KEY}"
BY_TOKEN = f"Authorization: Bearer {credentials.sign_for_user()}"
BEARER, MEMBER = "Authorization: Bearer ", "X-Member: "


def _flood(
    name: str, field: str, write: Write, *, target: str = KNOWN, count: int = 5_000, shows: str = BY_TOKEN
) -> Attack:
    """Callers with another credential in each request, beside one who is known by a token, or by a key."""
    sends = (
        Sending(
            first=b"",
            makes=partial(write_requests, target, field, write, count=count, start=number * count),
            connections=2,
            most=1 << 30,
        )
        for number in range(2)
    )
    return Attack(name, tuple(sends), watches=KNOWN, shows=shows)


_TRUSTED = {"GATEWAY_TRUSTED_PROXIES": "127.0.0.2"}
_FORWARDED = "X-Forwarded-For: "

FLOODS = (
    _flood("API keys that are wrong", "X-API-Key: ", credentials.make_key, shows=BY_KEY),
    _flood("tokens with a wrong signature", BEARER, credentials.forge),
    _flood("tokens with the id of a key that is not known", BEARER, credentials.forge_unknown),
    _flood("tokens of 8 KiB with a wrong signature", BEARER, credentials.forge_long, count=1_000),
    _flood("words that are no tokens", BEARER, credentials.make_garbage),
    replace(
        _flood("tokens that are right", MEMBER, credentials.sign_for_member, target=CLOSED, count=10_000), seconds=3
    ),
    replace(
        _flood("tokens that are right, and large when they are read", MEMBER, credentials.sign_deep, target=CLOSED),
        seconds=3,
    ),
    replace(
        _flood("requests of callers whom a limit counts", MEMBER, credentials.sign_for_member, target="/shared/sue"),
        watches="/shared/sue",
        shows=f"X-Member: {credentials.sign_for_member(-1).decode()}",
    ),
    replace(
        _flood(
            "addresses that a limit counts",
            _FORWARDED,
            credentials.make_address,
            target="/counted/sue",
            count=50_000,
        ),
        watches="/counted/sue",
        settings=_TRUSTED,
        seconds=3,
    ),
)

ISSUERS = (
    Attack(
        "an issuer that hangs while tokens ask for keys that are not known",
        (
            Sending(
                first=get(KNOWN, BEARER + credentials.forge_unknown(0).decode()),
                connections=1_000,
                rate=250,
            ),
        ),
        prompt=MANY,
        watches=KNOWN,
        shows=BY_TOKEN,
        has_slow_issuer=True,
        seconds=6.5,  # in which it is given up
    ),
)

CERTIFICATES = (
    _flood("Client-Cert of a stranger", "Client-Cert: ", credentials.make_garbage),
    replace(
        _flood("Client-Cert that can't be read", "Client-Cert: ", credentials.garble_certificate), settings=_TRUSTED
    ),
    replace(
        _flood("Client-Cert of machines with 1,400 names", "Client-Cert: ", credentials.write_certificate, count=1_500),
        settings=_TRUSTED,
        seconds=3,
    ),
    Attack(
        "certificates that are wrong",
        (Shaking(connections=20),),
        watches=KNOWN,
        shows=BY_KEY,
        prompt=STORM,
        asks_certificates=True,
        speaks_tls=True,
    ),
    Attack(
        "certificates of 80 KiB that are wrong",
        (Shaking(connections=20, names=1_500),),
        watches=KNOWN,
        shows=BY_KEY,
        prompt=STORM,
        asks_certificates=True,
        speaks_tls=True,
    ),
)
