"""What comes from behind: services and servers of NATS, the log, and the route file."""

import os
import re
import shutil
import signal
import time
from functools import partial
from pathlib import Path

from tests.bounds.attacks import ROUTES, Act, Attack, get, get_once
from tests.bounds.memory import MIB
from tests.bounds.sending import Sending


def _reload(pid: int, routes: Path, more: str) -> None:
    """Let the gateway read the routes that there are, and more."""
    fresh = routes.with_suffix(".new")
    shutil.copy(ROUTES, fresh)
    with fresh.open("a") as file:
        file.write(more)
    fresh.replace(routes)
    os.kill(pid, signal.SIGHUP)


def _load(count: int, *forms: str) -> Act:
    """So many routes of each of these paths."""
    route = "  - {{name: r{0}-{1}, method: GET, path: '{2}', subject: 'v.x{0}{3}'}}\n"
    lines = [
        route.format(number, kind, path, "".join(f".{name}" for name in re.findall(r"\{[a-z]+\}", path)))
        for number in range(count)
        for kind, path in enumerate(form.format(number) for form in forms)
    ]
    return partial(_reload, more="".join(lines))


def _load_bomb(pid: int, routes: Path) -> None:
    """Each list has the one before nine times."""
    levels = [f"  a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 9)]
    _reload(pid, routes, "".join(["bomb:\n  a0: &a0 [x, x, x, x, x, x, x, x, x]\n", *levels]))


def _hang_up_often(pid: int, routes: Path) -> None:
    for _ in range(100):
        os.kill(pid, signal.SIGHUP)
        time.sleep(0.01)


def _put_pipe(pid: int, routes: Path) -> None:
    """A pipe that nobody writes to is no reason not to read the file that comes in its place."""
    routes.unlink()
    os.mkfifo(routes)
    os.kill(pid, signal.SIGHUP)
    time.sleep(0.5)
    _reload(pid, routes, "")


_TAKEN, _REFUSED = '"event":"routes-loaded"', '"event":"routes-refused"'
_FAILING = Sending(first=b"", again=get("/nobody/x"), most=1 << 30, connections=8)

SERVICES = (
    Attack(
        "a service that never answers, at the cap of requests in flight",
        (Sending(first=get("/never/sue"), connections=400),),
        settings={"GATEWAY_MAX_IN_FLIGHT": "256"},
        watches="/greet/sue",
    ),
    Attack(
        "a caller at its share of the requests in flight, seen from the same route",
        (Sending(first=get("/slow/sue"), connections=400),),
        settings={"GATEWAY_MAX_IN_FLIGHT": "256", "GATEWAY_MAX_IN_FLIGHT_PER_CALLER": "64"},
        watches="/slow/now",
    ),
    Attack("2,000 requests that nobody answers", (Sending(first=get("/never/sue"), connections=2000),), seconds=3),
    Attack("500 replies to each request", (Sending(first=get_once("/many/sue"), connections=20),)),
    Attack("replies of 900 KB", (Sending(first=get_once("/large/sue"), connections=20),)),
    Attack("replies with 60,000 headers", (Sending(first=get_once("/fields/sue"), connections=4),)),
)

LOGS = (
    Attack("failures with a log that nobody reads", (_FAILING,), fills_pipe=True, seconds=2),
    Attack("failures as fast as they come", (_FAILING,), seconds=2),
)

_URLS = b",".join(b'"10.0.%d.%d:4222"' % (number // 250, number % 250) for number in range(3000))
_INFO = b'INFO {"server_id":"x","version":"2.15.0","max_payload":1048576,"headers":true%b}\r\n'
_TOKEN = b"@0123456789abcdef"

LIES = (
    Attack("a server that floods INFO", lies=_INFO % b""),
    Attack("a server that is a lame duck all the time", lies=_INFO % b',"ldm":true'),
    Attack("a server that tells of 3,000 others all the time", lies=_INFO % b',"connect_urls":[%b]' % _URLS),
    Attack("a server that floods PING", lies=b"PING\r\n"),
    Attack("a server that floods +OK", lies=b"+OK\r\n"),
    Attack("a server that denies all the time", lies=b"-ERR 'Permissions Violation for Publish to \"x\"'\r\n"),
    Attack("a server that floods errors", lies=b"-ERR 'Unknown Protocol Operation'\r\n"),
    Attack("replies that nobody waits for", lies=b"MSG %b 1 2\r\nhi\r\n" % _TOKEN),
    Attack("replies of 1 MiB that nobody waits for", lies=b"MSG %b 1 1048576\r\n%b\r\n" % (_TOKEN, b"x" * MIB)),
    Attack(
        "replies with 10,000 headers that nobody waits for",
        lies=b"HMSG %b 1 50012 50012\r\nNATS/1.0\r\n%b\r\n\r\n" % (_TOKEN, b"a:b\r\n" * 10_000),
    ),
    Attack("messages of another subscription", lies=b"MSG x 99 2\r\nhi\r\n"),
)

RELOADS = (
    Attack("10,000 routes", acts=_load(10_000, "/v{0}/{{id}}/x{0}"), awaits=_TAKEN, growth=256 * MIB),
    Attack(
        "10,000 routes that cross",
        acts=_load(5_000, "/v/orders{0}/{{id}}/x{0}", "/v/{{a}}/{{b}}/o{0}"),
        awaits=_TAKEN,
        growth=256 * MIB,
    ),
    Attack("a pipe in the place of the route file", acts=_put_pipe, awaits=_TAKEN),
    Attack("a bomb of aliases in the route file", acts=_load_bomb, awaits=_REFUSED, growth=256 * MIB),
    Attack("a hundred reloads", acts=_hang_up_often),
)
