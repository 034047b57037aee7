"""A file of API keys, as `nats-http keys` changes it: what a person has written there stays as it is.

Law: a change is written only if the file then has the same keys as before, with one key more or one less.
"""

import contextlib
import fcntl
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ..formats.schemas import Json
from ..routefile.faults import RouteFileError
from ..routefile.files import parse, read_bytes
from ..routefile.keys import has_expired
from ..routefile.schemes import read_key_file
from ..routefile.yamltree import Tree
from .endings import CommandError

_NEW = "# API keys of nats-http-gateway: names and SHA-256 digests. `nats-http keys` changes it.\nversion: 1\nkeys:\n"
_EMPTY = re.compile(r"^keys:[ \t]*\[\s*\]", re.MULTILINE)  # a list that has no place for a line
_PRIVATE = 0o600
_UNUSUAL = "each key must begin with `- name: …` on a line of its own to be changed: edit the file yourself"


@dataclass(slots=True)
class KeyFile:
    """The text of a file of API keys, its YAML tree, and the keys in it."""

    path: Path
    text: str
    tree: Tree
    entries: list[Json]

    @classmethod
    def read(cls, path: Path, *, may_be_new: bool = False) -> Self:
        """Read a file. If there is none and it `may_be_new`, the result is an empty list. Raises RouteFileError."""
        is_new = may_be_new and not path.exists()
        text = _NEW if is_new else read_bytes(path, str(path)).decode("utf-8", "replace")
        return cls._parse(path, text)

    @classmethod
    def _parse(cls, path: Path, text: str) -> Self:
        return cls(path, text, *read_key_file(text.encode("utf-8"), str(path)))

    def add(
        self, name: str, digest: str, *, scopes: Sequence[str], claims: Mapping[str, Json], expires: str | None
    ) -> None:
        """Add a key at the end. Raises CommandError if the name is taken, or if a value is not allowed in a file."""
        if any(entry["name"] == name for entry in self._list()):
            raise CommandError(
                f"{self.path} has a key of {name} already: choose another name, or revoke that one first"
            )
        entry: dict[str, Json] = {"name": name, "sha256": digest}
        entry |= {"scopes": list(scopes)} if scopes else {}
        entry |= {"claims": dict(claims)} if claims else {}
        entry |= {"expires": expires} if expires else {}
        lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items()]
        indent = " " * self._find_indent()
        text = self.text if self.entries else _EMPTY.sub("keys:", self.text)
        self._change(f"{text.rstrip()}\n{indent}- " + f"\n{indent}  ".join(lines) + "\n", [*self.entries, entry])

    def revoke(self, name: str) -> None:
        """Remove the key of this name. Raises CommandError if there is none."""
        names = [entry["name"] for entry in self._list()]
        if name not in names:
            raise CommandError(f"{self.path} has no key of {name}")
        index = names.index(name)
        mark, after = (self.tree.locate(("keys", i)) for i in (index, index + 1))
        lines = self.text.splitlines(keepends=True)
        start = mark.line - 1 if mark else 0
        del lines[start : after.line - 1 if after else len(lines)]
        self._change("".join(lines), [*self.entries[:index], *self.entries[index + 1 :]])

    def _change(self, text: str, entries: list[Json]) -> None:
        try:
            changed = self._parse(self.path, text)
        except RouteFileError as error:
            faults = "; ".join(fault.rpartition(": ")[2] for fault in error.faults)
            raise CommandError(f"{self.path}: it can't be changed like this: {faults}") from None
        if changed.entries != entries:
            raise CommandError(f"{self.path}: {_UNUSUAL}")
        self.text, self.tree, self.entries = changed.text, changed.tree, changed.entries

    def write(self) -> None:
        """Write the whole file, or leave it as it was. A new file can be read by its owner only. An existing one keeps
        its owner and mode, because it may belong to the user of the gateway. Raises CommandError."""
        before = self.path.stat() if self.path.exists() else None
        target = self.path.resolve()
        try:
            descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(self.text)
                if before is not None:
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
                os.fchmod(file.fileno(), before.st_mode & 0o777 if before else _PRIVATE)
            Path(name).replace(target)
        except OSError as error:
            raise CommandError(f"{self.path}: {(error.strerror or str(error)).lower()}") from None

    def list_rows(self, now: float) -> Iterator[tuple[str, str, str, str]]:
        """Name, scopes, claims and expiry of each key. Marks the keys that have expired at this Unix time."""
        for entry in self._list():
            scopes, claims, expires = entry.get("scopes"), entry.get("claims"), entry.get("expires")
            yield (
                str(entry["name"]),
                " ".join(map(str, scopes)) if isinstance(scopes, list) and scopes else "-",
                json.dumps(claims, ensure_ascii=False) if claims else "-",
                f"{expires or 'never'}{' (expired)' if has_expired(expires, now) else ''}",
            )

    def _list(self) -> list[dict[str, Json]]:
        return [entry for entry in self.entries if isinstance(entry, dict)]

    def _find_indent(self) -> int:
        """How many blanks to write before a key: as many as there are before the first key, else 2."""
        mark = self.tree.locate(("keys", 0))
        return max(mark.column - len("- x"), 0) if mark else 2


@contextlib.contextmanager
def change_key_file(path: Path, *, may_be_new: bool = False) -> Iterator[KeyFile]:
    """Read the file, let the caller change it, and write it at the end, under a lock: otherwise one of two commands
    that run at once could bring back the key that the other revokes. Raises RouteFileError and CommandError."""
    try:
        folder = os.open(path.resolve().parent, os.O_RDONLY)
    except OSError as error:
        raise CommandError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        file = KeyFile.read(path, may_be_new=may_be_new)
        yield file
        file.write()
    finally:
        os.close(folder)


def find_key_files(routes: Path) -> list[Path]:
    """The files of keys that a route file names, whether they exist or not. Raises RouteFileError."""
    data = parse(read_bytes(routes, str(routes)), str(routes)).data
    schemes = data.get("auth") if isinstance(data, dict) else None
    files = [
        scheme.get("file")
        for scheme in (schemes.values() if isinstance(schemes, dict) else ())
        if isinstance(scheme, dict) and scheme.get("type") == "api-key"
    ]
    return list(dict.fromkeys(routes.parent / file for file in files if isinstance(file, str)))
