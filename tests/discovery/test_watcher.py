"""What the watcher keeps of answers to a PING."""

import json

from app.discovery.infos import Info
from app.discovery.watcher import MAX_INSTANCES, MAX_KNOWN, MAX_PING, Watcher, _Known
from app.nats.link import Link


def make_watcher() -> Watcher:
    link = Link(["nats://127.0.0.1:9"], max_in_flight=1)
    return Watcher(link, ["orders"], forget_after=60, tell=lambda *_: None)


def ping(id_: str, padding: int = 0, name: str = "orders") -> bytes:
    about = {"type": "io.nats.micro.v1.ping_response", "name": name, "id": id_, "version": "1.0.0"}
    return json.dumps({**about, "metadata": {"x": "x" * padding}}).encode()


async def test_only_short_answers_are_kept_and_only_so_many() -> None:
    watcher = make_watcher()
    for number in range(3 * MAX_INSTANCES):
        assert watcher._find_instance(ping(str(number))) == ("orders", str(number))
    assert len(watcher._state.answers) <= 2 * MAX_INSTANCES
    watcher._state.answers.clear()
    assert watcher._find_instance(ping("long", MAX_KNOWN)) == ("orders", "long")
    assert watcher._find_instance(ping("too-long", MAX_PING)) is None
    assert watcher._find_instance(ping("other", name="pets")) is None
    assert watcher._state.answers == {}


async def test_time_without_nats_does_not_count() -> None:

    watcher = make_watcher()
    watcher._state.instances["orders", "a"] = _Known(Info("orders", "1.0.0", "a"), (), 1, heard=0.0)
    watcher._wait_for(100)
    watcher._forget(150)
    assert list(watcher._state.instances) == [("orders", "a")]
    watcher._forget(161)
    assert watcher._state.instances == {}
