"""Where a credential is found is in test_api_keys.py and test_bearer.py; here, what it costs to look for one."""

import time

import pytest

from app.edge.credentials import Place, SeveralCredentials, find_credential
from app.edge.request import Request, find_caller
from tests.pace import find_slowness

SIZE = 64 * 1024  # bytes, the longest head of a request
SOON = 0.008  # seconds of CPU; a tenth of that on a machine at its usual pace


@pytest.mark.parametrize("place", ["query", "cookie"])
@pytest.mark.parametrize(
    "piece", [b"%61&", b"%6b=&", b"k&", b"&", b";", b"k=;", b" ", b'"', b"+", b"%41", b"k=%41", b"; k", b"%"]
)
def test_a_long_request_is_looked_through_at_once(place: Place, piece: bytes) -> None:
    text = piece * (SIZE // len(piece))
    request = Request("GET", b"/", text, [(b"cookie", text)], "1.1", 0.0, find_caller(None, "http", "fast"))
    taken = []
    for _ in range(5):
        before = time.thread_time()
        try:
            find_credential(place, b"key", request)
            find_credential(place, b"k", request)
        except SeveralCredentials:
            pass
        taken.append(time.thread_time() - before)
    assert min(taken) < SOON * find_slowness()
