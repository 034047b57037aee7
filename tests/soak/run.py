"""Runs a soak: parts of load and events, with a rest after each in which the gateways are measured."""

import asyncio
import sys
import time
from pathlib import Path

from tests.soak.chaos import Chaos
from tests.soak.gauge import Reading, read, read_at_rest, wait_until_none_left
from tests.soak.hostile import attacking
from tests.soak.lag import Lag
from tests.soak.laws import find_bad_words
from tests.soak.ledger import Ledger, count_runs
from tests.soak.load import Load
from tests.soak.outcome import Outcome, Part
from tests.soak.plan import plan, split
from tests.soak.site import Site, run_site
from tests.soak.streams import Watchers, publishing, read_orders, wait_until_whole

WARM_UP = 20.0  # seconds of load, without events, before the first part
REST = 5.0  # seconds of a part that are kept for the rest after it


class Soak:
    """One run on a site."""

    def __init__(self, site: Site, outcome: Outcome) -> None:
        self._site = site
        self._outcome = outcome
        self._load = Load(site.addresses, outcome.ledger)
        self._watchers = Watchers(site.addresses)
        self._chaos = Chaos(site)
        self._lag = Lag()

    async def run(self) -> None:
        """All parts, and then what callers and services have written down."""
        outcome = self._outcome
        count, seconds = split(outcome.minutes)
        async with publishing(self._site.urls) as publisher:
            await self._work(WARM_UP, with_events=False)
            await self._rest()
            for number in range(1, count + 1):
                outcome.parts.append(await self._do_part(seconds - REST))
                say(f"part {number} of {count}: {describe(outcome.parts[-1])}")
        outcome.published = publisher.count
        async with self._watchers.running():
            await self._watchers.wait_for(publisher.count - 1)
        self._collect()
        await wait_until_whole(self._site.urls[0])
        outcome.stored = await read_orders(self._site.urls[0])

    async def _do_part(self, seconds: float) -> Part:
        stays = self._site.gateways[0]
        by_gateway = self._outcome.ledger.by_gateway
        cpu, before = read(stays.pid).cpu, by_gateway[stays.address.name]
        async with self._lag.measuring():
            await self._work(seconds, with_events=True)
        answers = by_gateway[stays.address.name] - before
        used = read(stays.pid).cpu - cpu
        return Part(await self._rest(), used / max(answers, 1) * 1e6)

    async def _work(self, seconds: float, *, with_events: bool) -> None:
        ports = [address.port for address in self._site.addresses]
        end = time.monotonic() + seconds
        steps = plan(seconds) if with_events else []
        async with (
            attacking(ports, seconds, self._outcome.hostile),
            self._watchers.running(),
            self._load.running(),
            self._chaos.following(steps),
        ):
            await asyncio.sleep(end - time.monotonic())

    async def _rest(self) -> list[Reading]:
        return [await read_at_rest(gateway.pid, gateway.address.port) for gateway in self._site.gateways]

    def _collect(self) -> None:
        outcome, watchers = self._outcome, self._watchers
        outcome.core = [reader.seen for reader in watchers.core]
        outcome.jetstream = [reader.seen for reader in watchers.stored]
        outcome.gaps, outcome.events = watchers.count_gaps(), watchers.count_events()
        outcome.done, outcome.lag = self._chaos.done, self._lag.worst
        outcome.troubles += [*self._chaos.faults, *outcome.find_unasked(self._load.asked)]


def describe(part: Part) -> str:
    """In a line."""
    found = [f"{reading.private:.1f} MiB and {reading.files} files" for reading in part.readings]
    return f"{', '.join(found)}; {part.cost:.0f} µs a request"


async def soak(folder: Path, minutes: float) -> Outcome:
    """A run of so many minutes, and a little more to start and to end. Its files are in this folder."""
    ledger = Ledger()
    outcome = Outcome(minutes, split(minutes)[1], ledger)
    async with run_site(folder) as site:
        await Soak(site, outcome).run()
    codes = {code for gateway in site.gateways for code in gateway.exit_codes}
    outcome.troubles += [f"a gateway ended with exit code {code}" for code in codes if code]
    outcome.runs = count_runs(site.read_runs(), len(ledger.claims))
    for path in site.find_logs():
        with path.open(encoding="utf-8", errors="replace") as lines:
            outcome.troubles += find_bad_words(path.name, lines)
    outcome.troubles += [f"left running: {process}" for process in wait_until_none_left(folder)]
    return outcome


def say(text: str) -> None:
    """To people who watch."""
    print(f"soak: {text}", file=sys.stderr, flush=True)
