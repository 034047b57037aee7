"""Callers who stay, and callers who do not; streams that nobody reads; many replies."""

from tests.bounds.attacks import DEAR, STORM, Attack, get
from tests.bounds.sending import Sending

_EVENTS = "Accept: text/event-stream"

STREAMS = (
    Attack("1,000 who watch, and hear nothing", (Sending(first=get("/news/quiet"), connections=1000),), prompt=STORM),
    Attack("200 who watch news", (Sending(first=get("/news/busy"), connections=200),), seconds=3, prompt=STORM),
    Attack(
        "200 who watch news and read nothing",
        (Sending(first=get("/news/busy"), connections=200, reads=False),),
        seconds=3,
        prompt=STORM,
    ),
    Attack(
        "more who watch than there may be",
        (Sending(first=get("/news/quiet"), connections=400, reopens=False),),
        settings={"GATEWAY_MAX_STREAMS": "100"},
        prompt=STORM,
    ),
    Attack(
        "watchers that are reset",
        (Sending(first=get("/news/busy"), connections=50, then="reset"),),
        seconds=3,
        prompt=STORM,
    ),
    Attack(
        "watchers that are reset, each of another subject",
        tuple(Sending(first=get(f"/news/{number}"), connections=10, then="reset") for number in range(5)),
        prompt=STORM,
    ),
    Attack(
        "100 who read all that a stream has",
        (Sending(first=get("/past/a"), connections=100, reopens=False),),
        seconds=3,
        prompt=STORM,
    ),
    Attack(
        "100 who want all that a stream has, and read nothing",
        (Sending(first=get("/past/a"), connections=100, reads=False, reopens=False),),
        seconds=3,
        prompt=STORM,
    ),
    Attack(
        "readers of a stream that are reset",
        (Sending(first=get("/past/a", "Last-Event-ID: 17"), connections=20, then="reset"),),
        seconds=3,
        prompt=DEAR,
    ),
    Attack("500 replies to each of 50 callers", (Sending(first=get("/all/x"), connections=50),), prompt=STORM),
    Attack(
        "500 replies that nobody reads",
        (Sending(first=get("/all/x", _EVENTS), connections=50, reads=False),),
        prompt=STORM,
    ),
    Attack(
        "500 replies to callers that are reset",
        (Sending(first=get("/all/x", _EVENTS), connections=5, then="reset"),),
        prompt=DEAR,
    ),
)
