"""HTTPS of the real programs: renewed certificates at SIGHUP, and files that are wrong."""

import asyncio
import json
import signal
import ssl
from pathlib import Path

import httpx
import pytest
from nats.aio.msg import Msg

from tests.certificates import Authority
from tests.harness import NO_TLS, PATIENCE, NatsServer, eventually, reserve_port, responder
from tests.process.programs import PROGRAM, Process, call, run

ADDRESS = r'"address":"(https://[^"]+)"'


def make_environment(files: dict[str, Path]) -> dict[str, str]:
    return {f"GATEWAY_{name.upper()}": str(path) for name, path in files.items()}


def see_certificate(url: str) -> str:
    host, _, port = url.removeprefix("https://").rpartition(":")
    return ssl.get_server_certificate((host, int(port)))


def read_events(gateway: Process, event: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in gateway.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def is_leaf_of(path: Path, shown: str) -> bool:
    return ssl.PEM_cert_to_DER_cert(shown) == ssl.PEM_cert_to_DER_cert(
        path.read_text().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
    )


async def test_a_watching_gateway_takes_a_renewed_certificate(own_nats: NatsServer, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    files = authority.write()
    environment = {"NATS_URL": own_nats.url, "GATEWAY_WATCH": "on", **make_environment(files)}
    with run([*PROGRAM, "serve", "--port", "0"], tmp_path / "log", **environment) as gateway:
        url = gateway.find(ADDRESS)
        gateway.wait_for_connections(1)
        authority.write()
        await eventually(lambda: is_leaf_of(files["tls_cert"], see_certificate(url)))
        assert gateway.stop() == 0


@pytest.mark.parametrize("options", [(), pytest.param(("--workers", "2"), marks=pytest.mark.soak)])
async def test_a_hangup_takes_renewed_files_in_all_workers_and_keeps_the_old_ones_where_they_are_wrong(
    own_nats: NatsServer, tmp_path: Path, options: tuple[str, ...]
) -> None:
    authority = Authority(tmp_path / "tls")
    files = authority.write()
    may_answer = asyncio.Event()

    async def answer(msg: Msg) -> None:
        await may_answer.wait()
        await msg.respond(b'{"message": "hi"}')

    environment = {"NATS_URL": own_nats.url, "GATEWAY_TIMEOUT": "30s", **make_environment(files)}
    command = [*PROGRAM, "serve", "--port", "0", *options]
    workers = int(options[1]) if options else 1
    with run(command, tmp_path / "log", **environment) as gateway:
        url = gateway.find(ADDRESS)
        gateway.wait_for_connections(workers)
        async with (
            responder(own_nats.url, "greet.*", answer),
            httpx.AsyncClient(base_url=url, verify=authority.trust(), trust_env=False, timeout=30) as client,
        ):
            asking = [asyncio.create_task(client.get("/greet/sue")) for _ in range(8)]

            files["tls_key"].write_bytes(authority.ca.issue_cert("localhost").private_key_pem.bytes())
            before = see_certificate(url)
            gateway.process.send_signal(signal.SIGHUP)
            await eventually(lambda: read_events(gateway, "certificate-refused"))
            (refused,) = read_events(gateway, "certificate-refused")
            words = "this is the key of another certificate than that of GATEWAY_TLS_CERT"
            assert refused["faults"] == [f"GATEWAY_TLS_KEY '{files['tls_key']}': {words}"]
            assert see_certificate(url) == before

            authority.write()
            gateway.process.send_signal(signal.SIGHUP)
            await eventually(lambda: read_events(gateway, "certificate-loaded"))
            await eventually(lambda: all(is_leaf_of(files["tls_cert"], see_certificate(url)) for _ in range(12)))

            may_answer.set()
            assert [(await answered).status_code for answered in asking] == [200] * 8
            assert (await client.get("/livez")).status_code == 200
        assert gateway.stop() == 0


def test_wrong_files_stop_the_start_by_name(tmp_path: Path) -> None:
    files = Authority(tmp_path).write()
    files["tls_key"].unlink()
    ended = call("serve", **make_environment(files))
    assert ended.returncode == 1
    assert ended.stderr == f"nats-http: GATEWAY_TLS_KEY '{files['tls_key']}': there is no such file\n"


async def test_a_health_check_asks_over_https_and_pages_elsewhere_stay_plain(tmp_path: Path) -> None:
    environment = make_environment(Authority(tmp_path / "tls").write())
    with reserve_port() as port, reserve_port() as beside:
        environment |= {"PORT": str(port), "GATEWAY_STATUS": f"127.0.0.1:{beside}"}
        with run([*PROGRAM, "serve"], tmp_path / "log", NATS_URL="nats://127.0.0.1:1", **environment) as gateway:
            gateway.find(ADDRESS)
            await eventually(lambda: "503" in call("healthcheck", **environment).stderr)
            status = httpx.get(f"http://127.0.0.1:{beside}/status", trust_env=False, verify=NO_TLS, timeout=PATIENCE)
            assert status.status_code == 200
            assert gateway.stop() == 0
