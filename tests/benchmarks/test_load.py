"""What wrk sends: each request has another name and other ids, and the headers that its case lists."""

import asyncio
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.cases import CASES
from benchmarks.instructions.cases import BROWSER, CURL, PROXIED
from benchmarks.load import SCRIPT, Load, measure

KEPT = 1000


@dataclass(frozen=True, slots=True)
class Seen:
    path: str
    headers: tuple[str, ...]
    body: bytes


async def send(load: Load, folder: Path) -> list[Seen]:
    """The first requests of a load, as they arrive."""
    seen: list[Seen] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            line, *headers = head.decode().split("\r\n")[:-2]
            size = sum(int(header.split(": ")[1]) for header in headers if header.startswith("Content-Length"))
            seen.append(Seen(line.split()[1], tuple(headers), await reader.readexactly(size)))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        pid = os.getpid()
        sample = await asyncio.to_thread(measure, load, address, pid, [pid], seconds=1, folder=folder)
    assert sample.errors == 0
    assert len(seen) > 10
    return seen[:KEPT]


async def test_callers_without_any_answer_are_errors(tmp_path: Path) -> None:
    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(ignore, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        pid = os.getpid()
        sample = await asyncio.to_thread(measure, Load("/", 3), address, pid, [pid], seconds=1, folder=tmp_path)
    assert sample.errors == 3


def find_load(name: str) -> Load:
    return next(case.load for case in CASES if case.name == name)


def find_ids(headers: tuple[str, ...]) -> Iterator[str]:
    return (found[0] for found in re.finditer(r"[0-9a-f]{32}", "\n".join(headers)))


async def test_names_are_drawn_at_random_from_10_000_and_each_target_gets_the_same(tmp_path: Path) -> None:
    first, again = [[one.path for one in await send(Load("/greet/{name}", 1), tmp_path)] for _ in range(2)]
    names = [path.removeprefix("/greet/name") for path in first]
    assert all(0 <= int(name) < 10_000 for name in names)
    assert len(set(names)) > 0.8 * len(names)
    both = min(len(first), len(again))
    assert first[:both] == again[:both]


async def test_each_request_behind_a_proxy_has_an_id_of_its_own(tmp_path: Path) -> None:
    seen = await send(find_load("proxied"), tmp_path)
    ids = [set(find_ids(one.headers)) for one in seen]
    assert all(len(one) == 1 for one in ids)  # the request id is that of the trace
    assert len(set.union(*ids)) == len(ids)
    assert {tuple(re.sub("[0-9a-f]{32}", "{id}", line) for line in one.headers) for one in seen} == {PROXIED}


@pytest.mark.parametrize(("case", "headers"), [("curl", CURL), ("browser", BROWSER)])
async def test_a_request_has_the_headers_of_its_caller_in_their_order(
    case: str, headers: tuple[str, ...], tmp_path: Path
) -> None:
    assert {one.headers for one in await send(find_load(case), tmp_path)} == {headers}


async def test_a_bare_request_names_only_its_host(tmp_path: Path) -> None:
    heads = {one.headers for one in await send(find_load("greet, 8 connections"), tmp_path)}
    assert [[header.split(":")[0] for header in headers] for headers in heads] == [["Host"]]


async def test_a_small_body_is_sent_whole(tmp_path: Path) -> None:
    assert {(one.path, len(one.body)) for one in await send(find_load("POST 100 bytes"), tmp_path)} == {("/echo", 100)}


def test_credentials_come_again_only_after_all_others(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("X-Key: a\nX-Key: b\nX-Key: c\n")
    script = f"""
        dofile("{SCRIPT}")
        local start = init
        function init(args)
          start(args)
          local keys = io.open("{tmp_path}/sent", "w")
          for _, request in ipairs(requests) do
            keys:write(request:match("X%-Key: (%a)"))
          end
          keys:close()
        end
    """
    (tmp_path / "script.lua").write_text(script)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = ["wrk", "-t1", "-c1", "-d1s", "-s", str(tmp_path / "script.lua")]
        command += [f"http://127.0.0.1:{listener.getsockname()[1]}", "--", "GET", "/{name}", "0", "-"]
        subprocess.run([*command, str(tmp_path / "keys")], capture_output=True, check=True)
    sent = (tmp_path / "sent").read_text()
    assert len(sent) >= 20_000
    assert sent == "abc" * (len(sent) // 3)


async def test_credentials_are_sent_in_turn_with_names_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("X-Key: a\nX-Key: b\n")
    seen = await send(Load("/key/{name}", 1, credentials="keys"), tmp_path)
    keys = [one.headers[0] for one in seen]
    assert {frozenset(pair) for pair in pairwise(keys)} == {frozenset(("X-Key: a", "X-Key: b"))}
    assert len({one.path for one in seen}) > 10
