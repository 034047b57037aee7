"""A file of API keys, as `nats-http keys` changes it: what a person has written there stays as it is.

Law: a change is written only where the whole file then means what it meant before, with one key more or less.
"""

import contextlib
import fcntl
import json
import os
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
from .arguments import CommandError

_NEW = "# API keys of nats-http-gateway: names and SHA-256 digests. `nats-http keys` changes it.\nversion: 1\nkeys:\n"
_PRIVATE = 0o600


@dataclass(slots=True)
class KeyFile:
    """The text of a file, and the keys that it has."""

    path: Path
    text: str
    tree: Tree
    entries: list[Json]

    @classmethod
    def read(cls, path: Path, *, may_be_new: bool = False) -> Self:
        """Raises RouteFileError. One that is not there is made where `may_be_new`."""
        is_new = may_be_new and not path.exists()
        text = _NEW if is_new else read_bytes(path, str(path)).decode("utf-8", "replace")
        return cls._parse(path, text)

    @classmethod
    def _parse(cls, path: Path, text: str) -> Self:
        return cls(path, text, *read_key_file(text.encode("utf-8"), str(path)))

    def add(
        self, name: str, digest: str, *, scopes: Sequence[str], claims: Mapping[str, Json], expires: str | None
    ) -> None:
        """Raises CommandError where the name is taken, or a value is not allowed in a file."""
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
        self._change(f"{self.text.rstrip()}\n{indent}- " + f"\n{indent}  ".join(lines) + "\n", [*self.entries, entry])

    def revoke(self, name: str) -> None:
        """Raises CommandError for a name that has no key."""
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
            raise CommandError(f"{self.path}: only a list of keys with one `- name: …` a line can be changed: edit it")
        self.text, self.tree, self.entries = changed.text, changed.tree, changed.entries

    def write(self) -> None:
        """All of it or nothing, for its owner alone where it is new. Who owns it, and may read it, stays: it may be the
        user of the gateway."""
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
        """Name, scopes, claims and expiry of each key. One that has expired at this Unix time is marked."""
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
        """The blanks before a key in the list: as many as before the first one."""
        mark = self.tree.locate(("keys", 0))
        return max(mark.column - len("- x"), 0) if mark else 2


@contextlib.contextmanager
def change_key_file(path: Path, *, may_be_new: bool = False) -> Iterator[KeyFile]:
    """The file, to be changed: it is written at the end. Two who change it at once wait for each other, or one would
    bring back the key that the other revokes. Raises RouteFileError and CommandError."""
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
    """The files of keys that a route file names, whether they are there or not. Raises RouteFileError."""
    data = parse(read_bytes(routes, str(routes)), str(routes)).data
    schemes = data.get("auth") if isinstance(data, dict) else None
    files = [
        scheme.get("file")
        for scheme in (schemes.values() if isinstance(schemes, dict) else ())
        if isinstance(scheme, dict) and scheme.get("type") == "api-key"
    ]
    return list(dict.fromkeys(routes.parent / file for file in files if isinstance(file, str)))
