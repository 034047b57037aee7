"""The text that `nats-http dev` prints when it is up: all addresses, and a first request to send."""

from dataclasses import dataclass

from .trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """The contents of the banner.

    - `status`: the address of the status page. None if it is off.
    - `trial`: the request to try. None if there is none.
    - `is_answered`: whether a service of this stack answers it.
    - `notes`: sentences about the start.
    """

    address: str
    status: str | None
    nats: str
    trial: Trial | None
    is_answered: bool
    notes: tuple[str, ...] = ()

    def write(self, *, color: bool) -> str:
        """The banner as lines. The last line is empty. With `color` the names are bold."""
        rows = [
            ("gateway", self.address),
            *([("status", self.status)] if self.status else ()),
            ("API docs", f"{self.address}/docs"),
            ("NATS", self.nats),
        ]
        width = max(len(name) for name, _ in rows)
        lines = [f"  {_bold(name.ljust(width), color)}  {value}" for name, value in rows]
        notes = [f"  {note}" for note in self.notes]
        blocks = [lines, notes, [f"  {line}" for line in self._write_trial()]]
        return "".join("\n" + "".join(f"{line}\n" for line in block) for block in blocks if block)

    def _write_trial(self) -> list[str]:
        if self.trial is None:
            return [f"to try it: {self.address}/docs has a form for each route"]
        line = f"try: {self.trial.write_command(self.address)}"
        return [line] if self.is_answered else [line, f"once a service answers {self.trial.pattern}"]


def _bold(text: str, color: bool) -> str:
    return f"\x1b[1m{text}\x1b[0m" if color else text
