"""The gateway's pod of the Helm chart, run by the container engine with all that the rendered Deployment says."""

import asyncio
import contextlib
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.certificates import Authority
from tests.compose.pod import Objects, Pod
from tests.compose.stack import Stack, run_load
from tests.harness import eventually

pytestmark = pytest.mark.timeout(1200)

KEY = "correct-horse-battery-staple-1234567890"
KEYS = """
version: 1
keys: [{name: sue, sha256: 46f61e4a3415fc95c9a44910d9b53edf1fea4adefaba4516f2afee24b1ec5d2a}]
"""
GREET = "  - {name: greet, method: GET, path: '/greet/{name}', subject: 'greet.{name}', reply: {wrap: message}}\n"
ROUTES = f"version: 1\nroutes:\n{GREET}"
GUARDED = f"""
version: 1
auth: {{partners: {{type: api-key, header: X-API-Key, file: keys.yaml}}}}
defaults: {{auth: partners}}
routes:
{GREET}"""


@contextlib.contextmanager
def run_pod(stack: Stack, folder: Path, values: Mapping[str, object], objects: Objects | None = None) -> Iterator[Pod]:
    pod = Pod(stack, folder / "pod", values, objects or {})
    try:
        yield pod
    except BaseException:
        print(stack.docker_log(pod.id))
        raise
    finally:
        pod.remove()


async def wait_until_ready(pod: Pod) -> None:
    await eventually(lambda: pod.passes("startupProbe"))
    await eventually(lambda: pod.passes("livenessProbe") and pod.passes("readinessProbe"))


async def test_the_pod_serves_as_its_manifest_says(stack: Stack, tmp_path: Path) -> None:
    with run_pod(stack, tmp_path, {"routes": ROUTES, "service": {"port": 8000}}) as pod:
        await wait_until_ready(pod)
        assert pod.get("/greet/sue").json() == {"message": "hello, sue"}
        stack.check_privileges(pod.id)
        assert "ready" in pod.run_helm_test()
        for path in ("/metrics", "/status"):
            assert pod.get(path).status_code == 404
            assert pod.get_beside(path).status_code == 200


async def test_a_new_config_map_is_served_without_a_restart_and_a_wrong_one_is_not(
    stack: Stack, tmp_path: Path
) -> None:
    values = {"routesConfigMap": {"name": "ours", "file": "gateway.yml"}}
    with run_pod(stack, tmp_path, values, {"ours": {"gateway.yml": ROUTES}}) as pod:
        await wait_until_ready(pod)
        started = stack.inspect(pod.id, "{{.State.StartedAt}}")
        pod.write({"ours": {"gateway.yml": ROUTES.replace("/greet/", "/hello/")}})
        await eventually(lambda: pod.get("/hello/sue").status_code == 200)
        assert pod.get("/greet/sue").status_code == 404
        pod.write({"ours": {"gateway.yml": "version: 7"}})
        await eventually(lambda: "nats_http_config_last_reload_successful 0" in pod.get_beside("/metrics").text)
        assert pod.get("/hello/sue").status_code == 200
        assert pod.passes("readinessProbe")
        assert stack.inspect(pod.id, "{{.State.StartedAt}}") == started


async def test_keys_and_certificates_come_from_secrets_and_are_renewed(stack: Stack, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")

    def list_objects(keys: str) -> Objects:
        files = authority.write()
        pair = {"tls.crt": files["tls_cert"].read_text(), "tls.key": files["tls_key"].read_text()}
        return {"partners": {"keys.yaml": keys}, "our-tls": pair}

    values = {"routes": GUARDED, "routeSecrets": ["partners"], "tls": {"secret": "our-tls"}, "service": {"port": 8000}}
    objects = list_objects(KEYS)
    with run_pod(stack, tmp_path, values, objects) as pod:
        await wait_until_ready(pod)
        assert "ready" in pod.run_helm_test()
        address = ("127.0.0.1", urlsplit(pod.url).port or 0)
        assert ssl.get_server_certificate(address).strip() in objects["our-tls"]["tls.crt"]
        assert pod.get("/greet/sue", headers={"X-API-Key": KEY}).status_code == 200
        assert pod.get("/greet/sue").status_code == 401

        renewed = list_objects("version: 1\nkeys: []\n")
        pod.write(renewed)
        await eventually(lambda: ssl.get_server_certificate(address).strip() in renewed["our-tls"]["tls.crt"])
        await eventually(lambda: pod.get("/greet/sue", headers={"X-API-Key": KEY}).status_code == 401)


@contextlib.contextmanager
def run_guarded_nats(stack: Stack, folder: Path, authority: Authority) -> Iterator[None]:
    """A NATS server with the name `guarded` that wants TLS, and a user with a password."""
    authority.write(authority.ca.issue_cert("guarded"))
    tls = "{cert_file: /etc/guarded/cert.pem, key_file: /etc/guarded/key.pem}"
    (folder / "nats.conf").write_text(f"port: 4222\ntls: {tls}\nauthorization: {{user: edge, password: right}}\n")
    for readable in (folder, *folder.parents[:3]):
        readable.chmod(0o755)
    where = (
        "--network",
        f"{stack.project}_default",
        "--network-alias",
        "guarded",
        "--volume",
        f"{folder}:/etc/guarded:ro",
    )
    server = stack.docker("run", "--detach", *where, "nats:2.15-alpine", "nats-server", "-c", "/etc/guarded/nats.conf")
    try:
        yield
    finally:
        stack.docker("rm", "--force", server)


async def test_the_pod_logs_in_to_nats_by_secrets_and_is_only_ready_if_they_are_right(
    stack: Stack, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "guarded")
    login, authorities = {"secret": "user"}, {"configMap": "company"}
    nats = {"url": "tls://guarded:4222", "login": login, "tls": {"ca": authorities}}
    values = {"nats": nats, "routes": ROUTES, "service": {"port": 8000}}

    def list_objects(password: str) -> Objects:
        authority_pem = authority.ca.cert_pem.bytes().decode()
        return {"user": {"user": "edge", "password": password}, "company": {"ca.crt": authority_pem}}

    with run_guarded_nats(stack, authority.directory, authority):
        with run_pod(stack, tmp_path / "right", values, list_objects("right")) as pod:
            await wait_until_ready(pod)
            assert pod.get("/greet/sue").json()["type"] == "/problems/no-responders"
        with run_pod(stack, tmp_path / "wrong", values, list_objects("not-the-one")) as pod:
            await eventually(lambda: "authorization violation" in stack.docker_log(pod.id))
            assert pod.passes("livenessProbe")
            assert not pod.passes("readinessProbe")
            with pytest.raises(AssertionError, match="503"):
                pod.run_helm_test()
            assert "not-the-one" not in stack.docker_log(pod.id)


async def test_services_that_describe_themselves_have_routes_without_a_file(stack: Stack, tmp_path: Path) -> None:
    with run_pod(stack, tmp_path, {"discover": ["greet"]}) as pod:
        await wait_until_ready(pod)
        await eventually(lambda: pod.get("/openapi.json").json()["paths"])
        (path,) = pod.get("/openapi.json").json()["paths"]
        assert path.startswith("/greet/")


async def test_a_stop_of_the_pod_loses_no_request_and_ends_in_time(stack: Stack, tmp_path: Path) -> None:
    with run_pod(stack, tmp_path, {"routes": ROUTES}) as pod:
        await wait_until_ready(pod)
        async with run_load(pod.url, callers=20) as load:
            await asyncio.to_thread(pod.stop)
        assert {answer.status for answer in load.answers} == {200}
        assert sum(answer.closes for answer in load.answers) == 20
        assert stack.inspect(pod.id, "{{.State.ExitCode}} {{.State.OOMKilled}}") == "0 false"
