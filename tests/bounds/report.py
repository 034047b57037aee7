"""The table of what the attacks did: for people at the end of a run, and as Markdown."""

from dataclasses import dataclass
from pathlib import Path

from app.http.lane import LaneName
from tests.bounds.attacks import Attack
from tests.bounds.bout import Seen
from tests.bounds.memory import MIB
from tests.faults.report import describe_run

BEGIN, END = "<!-- figures of the attacks -->\n", "<!-- end of the figures -->\n"
TITLES = ("attack", "lane", "at rest, ms", "worst wait, ms", "growth, MiB", "attackers saw", "against the law")


@dataclass(frozen=True, slots=True)
class Row:
    """One attack on one lane."""

    attack: Attack
    lane: LaneName
    seen: Seen

    def describe(self) -> tuple[str, ...]:
        """A text for each of TITLES."""
        seen = self.seen
        times = f"{seen.rest * 1000:.1f}", f"{seen.worst * 1000:.0f}"
        faults = "; ".join(seen.find_faults(self.attack))
        return (self.attack.name, self.lane, *times, f"{seen.growth / MIB:.0f}", seen.answers, faults)


def format_markdown(rows: list[Row]) -> str:
    """The day and the machine, and a table."""
    lines = [TITLES, ("---",) * len(TITLES), *(row.describe() for row in rows)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{describe_run()}\n\n{table}\n"


def write(rows: list[Row], path: Path) -> None:
    """In the place of the figures that are there; a file of its own where there is none."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    whole = f"{before}{begin}{format_markdown(rows)}{end}{after}" if begin else format_markdown(rows)
    path.write_text(whole, encoding="utf-8")


def format_text(rows: list[Row]) -> list[str]:
    """Lines for a terminal, without what the attackers saw."""
    lines = [row.describe() for row in rows]
    width = max((len(line[0]) for line in lines), default=0)
    form = "{0:<{width}}  {1:<4}  {2:>11}  {3:>14}  {4:>11}  {6}"
    return [form.format(*line, width=width) for line in (TITLES, *lines)]
