"""Reads the schemes of a route file and the files that they name, and reports their faults."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..edge.api_keys import ApiKeys, hide_keys
from ..edge.identity import Scheme
from ..formats.schemas import Json
from ..formats.words import suggest
from ..pieces import run_at_once
from .auth import KINDS, AnyScheme, ApiKeyModel, SchemeSource, build_scheme
from .bearer import JwtModel
from .certificates import CertificateModel, read_authority_file
from .diagnostics import Diagnostics
from .faults import RouteFileError
from .files import parse
from .keys import KeyFileModel, find_key_faults
from .names import check_scheme_name
from .validation import validate
from .yamltree import Tree

_NOBODY = ApiKeys({}, place="header", name="X", realm="")
"""A placeholder for a scheme that is wrong, so that routes that name it get no second fault."""

ReadFile = Callable[[str], bytes]
"""Returns the contents of a file. Its name is relative to the folder of the route file. Raises RouteFileError."""


@dataclass(slots=True)
class Schemes:
    """The schemes that a route file declares. `sources` are those of the valid schemes. `is_declared` says whether the
    file has `auth`. `faults` has one line for each fault in the files of schemes."""

    is_declared: bool = False
    sources: list[SchemeSource] = field(default_factory=list)
    by_name: dict[str, Scheme] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def known(self) -> Sequence[str] | None:
        """The names of schemes that a route may use; None if the file has no `auth`."""
        return tuple(self.by_name) if self.is_declared else None


def read_schemes(declared: Json, read_file: ReadFile, diagnostics: Diagnostics) -> Schemes:
    """Read the schemes of `auth` at the top of a file. Faults are in the diagnostics and in `faults`. If `auth` is not
    a mapping, the model reports that."""
    schemes = Schemes(is_declared=declared is not None)
    for name, raw in declared.items() if isinstance(declared, dict) else ():
        schemes.by_name[name] = _NOBODY
        if source := _read_scheme(name, raw, read_file, diagnostics, schemes.faults):
            schemes.sources.append(source)
            schemes.by_name[name] = run_at_once(build_scheme(name, source.declared, source.entries))
    return schemes


def _read_scheme(
    name: str, raw: Json, read_file: ReadFile, diagnostics: Diagnostics, faults: list[str]
) -> SchemeSource | None:
    kind = _choose_kind(name, raw, diagnostics)
    model, right = validate(kind, raw, ("auth", name), diagnostics) if kind else (None, raw)
    if model is None or not isinstance(right, dict):
        return None
    key = next((key for key in _FILES if key in right), "")
    try:
        return SchemeSource(name, right, _read_entries(model, read_file))
    except _FileError as error:
        faults += error.faults
    except ValueError as error:
        diagnostics.add(("auth", name, key), str(error), model.file)
    except RouteFileError as error:
        hint = "; `nats-http keys add` makes a file of keys" if isinstance(model, ApiKeyModel) else ""
        for fault in error.faults:
            diagnostics.add(("auth", name, key), f"{fault}{hint}", model.file)
    return None


_FILES = ("file", "jwks_file", "secret_file", "ca")


def _read_entries(model: AnyScheme, read_file: ReadFile) -> list[Json]:
    """The checked contents of the file of a scheme; empty if it has no file. Raises RouteFileError if the file can't be
    read, _FileError for faults with a place in the file, and ValueError for other faults."""
    if model.file is None:
        return []
    data = read_file(model.file)
    if isinstance(model, JwtModel):
        from .issuers import read_issuer_file

        return read_issuer_file(model, data)
    if isinstance(model, CertificateModel):
        return read_authority_file(data)
    try:
        return read_key_file(data, model.file)[1]
    except RouteFileError as error:
        raise _FileError(error.faults) from None


def _choose_kind(name: str, raw: Json, diagnostics: Diagnostics) -> type[AnyScheme] | None:
    """The model of a scheme, by its `type`."""
    try:
        check_scheme_name(name)
    except ValueError as error:
        diagnostics.add(("auth", name), str(error), of_key=True)
        return None
    if not isinstance(raw, dict):
        diagnostics.add(("auth", name), "must be a mapping", raw)
        return None
    kind = raw.get("type")
    if kind is None:
        diagnostics.add(("auth", name, "type"), "is missing")
    elif not isinstance(kind, str) or kind not in KINDS:
        known = " or ".join(f"`{kind}`" for kind in KINDS)
        diagnostics.add(("auth", name, "type"), f"must be {known}{suggest(str(kind), KINDS)}", kind)
    else:
        return KINDS[kind]
    return None


class _FileError(Exception):
    """Faults in a file that can be read: one line for each."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__()
        self.faults = faults


def read_key_file(data: bytes, name: str) -> tuple[Tree, list[Json]]:
    """The YAML tree of a file of keys, and its checked keys. Raises RouteFileError, whose texts contain no key, even if
    the file has one by mistake."""
    try:
        tree = parse(data, name)
        return tree, _read_keys(tree, name)
    except RouteFileError as error:
        raise RouteFileError([hide_keys(fault) for fault in error.faults]) from None


def _read_keys(tree: Tree, name: str) -> list[Json]:
    diagnostics = Diagnostics(tree, name)
    data: Json = {} if tree.data is None else tree.data
    model = validate(KeyFileModel, data, (), diagnostics, shows_values=False)[0]
    keys = (model.keys or []) if model else []
    for index, text in find_key_faults(keys):
        diagnostics.add(("keys", index), text)
    if diagnostics.faults:
        raise RouteFileError(diagnostics.faults)
    return [key.model_dump(exclude_defaults=True) for key in keys]
