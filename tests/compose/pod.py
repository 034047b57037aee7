"""The gateway's pod of the Helm chart as one container.

Its command, environment, mounts, memory limit and security context are those of the rendered Deployment. The files of
its volumes are laid out as the kubelet does it.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.compose.stack import Stack
from tests.harness import reserve_port
from tests.kubernetes.chart import Manifest, choose, find_container, render

Objects = Mapping[str, Mapping[str, str]]
"""The contents of ConfigMaps and Secrets, by their names."""


class Pod:
    """A pod of a release with these values, in the network of the stack, where it has the name of its Service."""

    def __init__(self, stack: Stack, folder: Path, values: Mapping[str, object], objects: Objects) -> None:
        repository, _, tag = stack.image.partition(":")
        self.manifests = render({"image": {"repository": repository, "tag": tag}, **values})
        self._stack = stack
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._version = 0
        self._spec = choose(self.manifests, "Deployment")["spec"]["template"]["spec"]
        self._container = find_container(self.manifests)
        self._group = self._spec["securityContext"]["fsGroup"] if os.geteuid() == 0 else os.getegid()
        self.scheme = self._container["readinessProbe"]["httpGet"]["scheme"].lower()
        with reserve_port() as port, reserve_port() as monitoring:
            self.url = f"{self.scheme}://127.0.0.1:{port}"
            self.monitoring_url = f"http://127.0.0.1:{monitoring}"
        self._ports = dict(zip((port, monitoring), self._container["ports"], strict=True))
        self.write(objects)
        self.id = self._run(self._container, self._list_options(objects))

    def write(self, objects: Objects) -> None:
        """Lay out the files of all volumes. All files of a volume change at once, by a link."""
        own = {each["metadata"]["name"]: each["data"] for each in self.manifests if each["kind"] == "ConfigMap"}
        self._version += 1
        for volume in self._spec.get("volumes", ()):
            files = dict(_find_files(volume["projected"]["sources"], {**own, **objects}))
            _lay_out(
                self._folder / volume["name"], files, self._version, volume["projected"]["defaultMode"], self._group
            )
        for folder in (self._folder, *self._folder.parents[:3]):
            folder.chmod(0o755)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """A response of the port for callers; no certificate is checked."""
        return httpx.get(self.url + path, timeout=10, trust_env=False, verify=False, **options)  # noqa: S501

    def get_beside(self, path: str) -> httpx.Response:
        """A response of the port for monitoring."""
        return httpx.get(self.monitoring_url + path, timeout=10, trust_env=False)

    def passes(self, probe: str) -> bool:
        """Whether the kubelet would be content."""
        wanted = self._container[probe]["httpGet"]
        assert (wanted["port"], wanted["scheme"].lower()) == ("http", self.scheme)
        try:
            return 200 <= self.get(wanted["path"]).status_code < 400
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """As Kubernetes stops a pod, within its grace period."""
        command = self._container["lifecycle"]["preStop"]["exec"]["command"]
        self._stack.execute(self.id, *command)
        left = self._spec["terminationGracePeriodSeconds"] - int(command[-1])
        self._stack.docker("stop", "--time", str(left), self.id)

    def run_helm_test(self) -> str:
        """The output of the pod of `helm test`. Raises AssertionError if it fails."""
        (container,) = choose(self.manifests, "Pod")["spec"]["containers"]
        return self._run(container, ["--rm"])

    def remove(self) -> None:
        self._stack.docker("rm", "--force", self.id)

    def _run(self, container: Manifest, options: Sequence[str]) -> str:
        user = self._spec["securityContext"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        security = ["--security-opt", "no-new-privileges:true", "--read-only", "--cap-drop", "ALL"]
        security += ["--user", f"{user['runAsUser']}:{user['runAsGroup']}", "--group-add", str(self._group)]
        memory = container["resources"]["limits"]["memory"].removesuffix("i")
        network = ["--network", f"{self._stack.project}_default"]
        return self._stack.docker(
            "run", *network, *security, "--memory", memory, *options, container["image"], *container["args"]
        )

    def _list_options(self, objects: Objects) -> list[str]:
        service = choose(self.manifests, "Service")["metadata"]["name"]
        options = ["--detach", "--restart", "unless-stopped", "--network-alias", service]
        for variable in self._container["env"]:
            options += ["--env", f"{variable['name']}={_find_value(variable, objects)}"]
        for host, port in self._ports.items():
            options += ["--publish", f"127.0.0.1:{host}:{port['containerPort']}"]
        for mount in self._container.get("volumeMounts", ()):
            assert mount["readOnly"] is True
            options += ["--volume", f"{self._folder / mount['name']}:{mount['mountPath']}:ro"]
        return options


def _find_value(variable: Manifest, objects: Objects) -> str:
    if "value" in variable:
        return str(variable["value"])
    reference = variable["valueFrom"]["secretKeyRef"]
    return objects[reference["name"]][reference["key"]]


def _find_files(sources: Sequence[Manifest], objects: Objects) -> list[tuple[str, str]]:
    files: list[tuple[str, str]] = []
    for source in sources:
        (wanted,) = source.values()
        data = objects[wanted["name"]]
        items = wanted.get("items") or [{"key": key, "path": key} for key in data]
        files += [(item["path"], data[item["key"]]) for item in items]
    return files


def _lay_out(folder: Path, files: Mapping[str, str], version: int, mode: int, group: int) -> None:
    place = folder / f"..{version}"
    for name, text in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.chown(path, -1, group)
        path.chmod(mode)
        top = folder / Path(name).parts[0]
        if not top.is_symlink():
            top.symlink_to(f"..data/{top.name}")
    (folder / "..new").symlink_to(place.name)
    (folder / "..new").replace(folder / "..data")
