"""What `nats-http dev` prints once it is up: where everything is, and a request to begin with."""

from dataclasses import dataclass

from .trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """`notes` are sentences about the start; `is_answered` says whether a service of this stack answers the trial;
    `status` is where the status page is, None where it is off."""

    address: str
    status: str | None
    nats: str
    trial: Trial | None
    is_answered: bool
    notes: tuple[str, ...] = ()

    def write(self, *, color: bool) -> str:
        """Some lines, the last of which is empty. With `color` the names are bold."""
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
