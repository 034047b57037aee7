"""Runs a program under what a unit of systemd forbids: `python -m tests.cage UNIT COMMAND…`.

It reads the lines of the unit, and does as systemd does: no new privileges, no capabilities, no memory that is writable
and executable, only certain system calls and address families. libseccomp, a library of systemd, makes the filter.
"""

import contextlib
import ctypes
import ctypes.util
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 24, 38, 65
MAX_CAPABILITY = 63
ALLOW, DENY = 0x7FFF0000, 0x00050000 | errno.EPERM
EQUALS = 4  # SCMP_CMP_EQ

_libc = ctypes.CDLL(None, use_errno=True)


class _Compare(ctypes.Structure):
    """struct scmp_arg_cmp"""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def read_unit(path: Path) -> list[tuple[str, str]]:
    """The names and values of its lines, in their order."""
    lines = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines())
    return [(name, value) for name, equals, value in lines if equals and not name.startswith("#")]


def list_calls(group: str) -> Iterator[str]:
    """The system calls of a group such as `@system-service`, with those of the groups in it."""
    command = ["systemd-analyze", "--no-pager", "syscall-filter", group]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for word in (line.strip() for line in found.splitlines()[1:]):
        if word.startswith("@"):
            yield from list_calls(word)
        elif not word.startswith("#"):
            yield word


def find_allowed(values: list[str]) -> set[str]:
    """The system calls that these values of SystemCallFilter allow."""
    allowed: set[str] = set()
    for value in values:
        calls = {call for group in value.removeprefix("~").split() for call in list_calls(group)}
        allowed = allowed - calls if value.startswith("~") else allowed | calls
    return allowed


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def _load_filter(calls: set[str], families: list[str]) -> None:
    library = ctypes.CDLL(ctypes.util.find_library("seccomp"))
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(DENY)))

    def add(call: str, *compares: _Compare) -> None:
        number = library.seccomp_syscall_resolve_name(call.encode())
        array = (_Compare * len(compares))(*compares)
        if number != -1:  # this machine has the call
            library.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, len(compares), array)

    for call in calls - {"socket"}:
        add(call)
    for family in families:
        add("socket", _Compare(0, EQUALS, getattr(socket, family), 0))
    if library.seccomp_load(context) != 0:
        raise OSError("the filter could not be loaded")


def main() -> None:
    """Give up what the unit forbids, then become the program."""
    unit = read_unit(Path(sys.argv[1]))
    settings = dict(unit)
    calls = find_allowed([value for name, value in unit if name == "SystemCallFilter"])
    if settings["CapabilityBoundingSet"] == "":
        for capability in range(MAX_CAPABILITY):
            with contextlib.suppress(OSError):  # there are fewer, or this user has none
                _prctl(PR_CAPBSET_DROP, capability)
    if settings["NoNewPrivileges"] == "yes":
        _prctl(PR_SET_NO_NEW_PRIVS, 1)
    if settings["MemoryDenyWriteExecute"] == "yes":
        with contextlib.suppress(OSError):  # Linux before 6.3
            _prctl(PR_SET_MDWE, 1)
    os.umask(int(settings["UMask"], 8))
    _load_filter(calls, settings["RestrictAddressFamilies"].split())
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606


if __name__ == "__main__":
    main()
