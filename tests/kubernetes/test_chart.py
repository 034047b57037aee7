"""The chart renders what was asked for: each object is valid, and the gateway takes what its pod gives it."""

import json
from pathlib import Path

import pytest
import yaml

from app import __version__
from app.routefile.load import load_route_file
from app.settings import load_settings
from release.artifacts import write_chart
from release.tree import Tree
from tests.kubernetes.chart import (
    CHART,
    MATRIX,
    RELEASE,
    ROOT,
    Manifest,
    Refused,
    choose,
    find_container,
    read_environment,
    render,
    render_text,
    run_helm,
)
from tests.kubernetes.schemas import VERSIONS, find_faults

CASES = {path.stem: path for path in MATRIX}
KEYS = "version: 1\nkeys: [{name: a, sha256: 2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683}]\n"


@pytest.fixture(params=list(CASES), scope="module")
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    """All manifests of each file of the matrix."""
    return render(CASES[request.param])


def test_the_chart_and_each_file_of_values_pass_the_strict_linter() -> None:
    assert len(CASES) >= 15
    for path in MATRIX:
        run_helm("lint", "--strict", "--quiet", CHART, "--values", path)


@pytest.mark.parametrize("version", VERSIONS)
def test_each_object_is_valid_by_the_schemas_of_kubernetes(manifests: list[Manifest], version: str) -> None:
    assert manifests
    for manifest in manifests:
        assert find_faults(manifest, version) == [], manifest


def test_a_fault_of_an_object_of_each_origin_is_found() -> None:
    spec: Manifest = {"replica": 1, "endpoints": [], "selector": {}, "rules": [{"matche": []}]}
    for api, kind in (
        ("apps/v1", "Deployment"),
        ("monitoring.coreos.com/v1", "ServiceMonitor"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ):
        assert find_faults({"apiVersion": api, "kind": kind, "metadata": {}, "spec": spec}, VERSIONS[-1])


@pytest.mark.parametrize("version", VERSIONS)
def test_all_versions_of_kubernetes_get_the_same(version: str) -> None:
    (path,) = (path for path in MATRIX if path.stem == "everything")
    assert render(path, "--kube-version", version) == render(path)


def test_a_kubernetes_that_is_too_old_is_refused() -> None:
    with pytest.raises(Refused, match="chart requires kubeVersion"):
        render({}, "--kube-version", "1.26")


def test_the_gateway_takes_the_variables_of_its_container(
    manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = read_environment(find_container(manifests))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert (settings.host, settings.port) == (environment["GATEWAY_HOST"], 8000)
    monitoring = next(port for port in find_container(manifests)["ports"] if port["name"] == "monitoring")
    assert settings.metrics_address == (settings.host, monitoring["containerPort"])
    assert settings.status in (settings.metrics_address, False)


def test_numbers_and_switches_reach_the_gateway_as_they_were_meant() -> None:
    environment = read_environment(find_container(render(CASES["settings"])))
    chosen = ("ACCESS_LOG", "HEALTH_DETAILS", "WORKERS", "MAX_BODY", "MAX_IN_FLIGHT", "TIMEOUT", "WATCH")
    values = [environment[f"GATEWAY_{name}"] for name in chosen]
    assert values == ["on", "off", "2", "10485760", "5000000", "1500ms", "off"]


def test_a_pod_dies_later_than_its_stop_takes(manifests: list[Manifest]) -> None:
    pod = choose(manifests, "Deployment")["spec"]["template"]["spec"]
    container = find_container(manifests)
    command, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    drain = int(read_environment(container)["GATEWAY_DRAIN_TIMEOUT"].removesuffix("s"))
    assert command == "sleep"
    # The gateway takes at most one second more, in which callers read their last answers: docs/settings.md.
    assert pod["terminationGracePeriodSeconds"] > int(seconds) + drain + 1


def test_every_pod_is_fit_for_the_restricted_standard(manifests: list[Manifest]) -> None:
    pods = [choose(manifests, "Deployment")["spec"]["template"]["spec"], choose(manifests, "Pod")["spec"]]
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["securityContext"].get("runAsUser") != 0
        assert pod["automountServiceAccountToken"] is False
        assert {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod) == set()
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert not any("hostPort" in port for port in container.get("ports", ()))
        kinds = {kind for volume in pod.get("volumes", ()) for kind in volume if kind != "name"}
        assert kinds <= {"projected", "emptyDir"}


def test_only_readiness_depends_on_nats(manifests: list[Manifest]) -> None:
    container = find_container(manifests)
    scheme = "HTTPS" if "GATEWAY_TLS_CERT" in read_environment(container) else "HTTP"
    wanted = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    probes = {name: container[name]["httpGet"] for name in wanted}
    assert probes == {name: {"path": path, "port": "http", "scheme": scheme} for name, path in wanted.items()}


def test_selectors_find_the_gateways_and_nothing_else(manifests: list[Manifest]) -> None:
    labels = choose(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    test_labels = choose(manifests, "Pod")["metadata"]["labels"]
    selectors = [
        choose(manifests, "Deployment")["spec"]["selector"]["matchLabels"],
        *(each["spec"]["selector"] for each in manifests if each["kind"] == "Service"),
        *(each["spec"]["selector"]["matchLabels"] for each in manifests if each["kind"] == "PodDisruptionBudget"),
        *(each["spec"]["podSelector"]["matchLabels"] for each in manifests if each["kind"] == "NetworkPolicy"),
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= test_labels.items()


def test_every_object_has_its_own_name_and_each_mount_its_volume(manifests: list[Manifest]) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in manifests]
    assert len(set(names)) == len(names)
    pod = choose(manifests, "Deployment")["spec"]["template"]["spec"]
    mounts = {mount["name"] for mount in find_container(manifests).get("volumeMounts", ())}
    assert mounts == {volume["name"] for volume in pod.get("volumes", ())}


@pytest.mark.parametrize("name", ["routes-as-text", "routes-as-yaml", "roll-on-change", "everything"])
def test_the_gateway_loads_the_routes_of_the_config_map(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = render(CASES[name])
    (files,) = (each["data"] for each in manifests if each["metadata"]["name"].endswith("-routes"))
    for file, text in {**files, "keys.yaml": KEYS}.items():
        (tmp_path / file).write_text(text)
    monkeypatch.setenv("VARIABLE", "1")
    path = read_environment(find_container(manifests))["GATEWAY_ROUTES"]
    assert load_route_file(tmp_path / Path(path).name).table.routes


@pytest.mark.parametrize(
    "text",
    [
        yaml.safe_load(CASES["routes-as-text"].read_text())["routes"],
        "   # begins with blanks\nversion: 1\n\n\nroutes: []\n",
        "\tversion: 1 {{ .Values.x }} %s 'a' \"b\"\n",
    ],
)
def test_a_text_of_routes_is_not_changed(text: str) -> None:
    manifests = render({"routes": text, "routeFiles": {"a.json": text}})
    assert choose(manifests, "ConfigMap")["data"] == {"routes.yaml": text, "a.json": text}


def test_routes_can_be_given_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text((ROOT / "app/routefile/examples.yaml").read_text())
    text = render_text("--set-file", f"routes={tmp_path / 'mine.yaml'}")
    (found,) = (each for each in yaml.safe_load_all(text) if each and each["kind"] == "ConfigMap")
    assert found["data"]["routes.yaml"] == (tmp_path / "mine.yaml").read_text()


def test_a_change_of_the_routes_rolls_only_if_that_was_asked_for() -> None:
    def describe(path: str, *, rolls: bool) -> tuple[object, str]:
        routes = {"version": 1, "routes": [{"name": "a", "method": "GET", "path": path, "subject": "a"}]}
        manifests = render({"routes": routes, "rollOnChange": rolls})
        template = choose(manifests, "Deployment")["spec"]["template"]
        return template, read_environment(find_container(manifests))["GATEWAY_WATCH"]

    assert describe("/a", rolls=False) == describe("/b", rolls=False)
    assert describe("/a", rolls=True)[0] != describe("/b", rolls=True)[0]
    assert [describe("/a", rolls=rolls)[1] for rolls in (False, True)] == ["on", "off"]


def test_secrets_are_files_where_the_gateway_looks_for_them() -> None:
    manifests = render(CASES["everything"])
    (volume,) = (
        volume["projected"]
        for volume in choose(manifests, "Deployment")["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "secrets"
    )
    assert volume["defaultMode"] == 0o440
    files = {item["path"] for source in volume["sources"] for item in source["secret"]["items"]}
    named = {value for value in read_environment(find_container(manifests)).values() if "-secrets/" in value}
    assert named == {f"/etc/nats-http-secrets/{file}" for file in files}


def test_no_secret_is_in_a_manifest_as_a_text() -> None:
    for manifest in render({"nats": {"login": {"secret": "user"}}}):
        assert manifest["kind"] != "Secret"
    container = find_container(render({"nats": {"login": {"secret": "user"}}}))
    references = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in container["env"] if "valueFrom" in each}
    assert references == {
        "NATS_USER": {"name": "user", "key": "user"},
        "NATS_PASSWORD": {"name": "user", "key": "password"},
    }


def test_alerts_and_dashboard_are_those_of_the_repository() -> None:
    for name, original in (("alerts.yaml", "prometheus/alerts.yaml"), ("dashboard.json", "grafana/dashboard.json")):
        copy = (CHART / "files" / name).read_bytes()
        assert copy == (ROOT / "deploy" / original).read_bytes(), "`make manifests` copies it"
    manifests = render(CASES["monitoring"])
    alerts = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text(encoding="utf-8"))
    assert choose(manifests, "PrometheusRule")["spec"] == alerts
    dashboard = json.loads(choose(manifests, "ConfigMap")["data"]["nats-http.json"])
    assert dashboard == json.loads((ROOT / "deploy/grafana/dashboard.json").read_text(encoding="utf-8"))


def test_prometheus_scrapes_each_pod_under_the_name_that_the_alerts_know() -> None:
    manifests = render(CASES["monitoring"])
    monitor = choose(manifests, "ServiceMonitor")["spec"]
    (service,) = (each for each in manifests if each["metadata"]["name"] == f"{RELEASE}-nats-http-gateway-monitoring")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    main = choose(manifests, "Service")["metadata"]["labels"]
    assert not monitor["selector"]["matchLabels"].items() <= main.items()
    assert service["spec"]["clusterIP"] == "None"
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] == service["spec"]["ports"][0]["name"]
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "nats-http"}]
    assert 'job="nats-http"' in json.dumps(choose(manifests, "PrometheusRule")["spec"]).replace('\\"', '"')


def test_callers_cannot_reach_metrics_and_status_through_the_service(manifests: list[Manifest]) -> None:
    (port,) = choose(manifests, "Service")["spec"]["ports"]
    assert port["targetPort"] == "http"


def test_ways_in_lead_to_the_service() -> None:
    manifests = render(CASES["everything"])
    service = choose(manifests, "Service")
    name, port = service["metadata"]["name"], service["spec"]["ports"][0]
    (rule,) = choose(manifests, "Ingress")["spec"]["rules"]
    assert rule["http"]["paths"][0]["backend"]["service"] == {"name": name, "port": {"name": port["name"]}}
    (route,) = choose(manifests, "HTTPRoute")["spec"]["rules"]
    assert route["backendRefs"] == [{"name": name, "port": port["port"]}]
    scaler = choose(manifests, "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == choose(manifests, "Deployment")["metadata"]["name"]
    assert "replicas" not in choose(manifests, "Deployment")["spec"]


def test_the_notes_fit_the_values() -> None:
    def read_notes(*options: str | Path) -> str:
        return run_helm("install", RELEASE, CHART, "--dry-run=client", *options).partition("NOTES:")[2]

    assert "only the example route greet" in read_notes()
    everything = read_notes("--values", CASES["everything"])
    assert "only the example route" not in everything
    assert "curl --insecure https://127.0.0.1:8000/docs" in everything
    assert "http://api.example.com/" in everything
    assert "replaces the pods" in read_notes("--values", CASES["roll-on-change"])
    assert "sue:secret" not in read_notes("--set", "nats.url=nats://sue:secret@nats:4222")


def test_a_release_has_the_chart_with_its_own_version_and_helm_takes_it(tmp_path: Path) -> None:
    packed = write_chart(Tree(ROOT, __version__, "", "1767225600"), tmp_path)
    assert run_helm("template", RELEASE, packed) == render_text()
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert packed.name == f"{chart['name']}-{chart['version']}.tgz"
    assert chart["version"] == chart["appVersion"] == __version__
    assert find_container(render({}))["image"] == f"nats-http-gateway:{__version__}"
