"""The values that docs/kubernetes.md shows are values of the chart, and its commands name what is there."""

import re

import pytest
import yaml

from tests.kubernetes.chart import ROOT, Refused, choose, render
from tests.kubernetes.schemas import VERSIONS, find_faults

PAGE = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]
VALUES = [block for block in BLOCKS if "version" not in block]


def test_the_page_has_one_route_file_and_several_examples_of_values() -> None:
    assert len(BLOCKS) - len(VALUES) == 1
    assert len(VALUES) >= 9


@pytest.mark.parametrize("values", VALUES, ids=lambda values: next(iter(values)))
def test_values_of_the_page_make_valid_objects(values: dict[str, object]) -> None:
    for manifest in render(values):
        assert find_faults(manifest, VERSIONS[-1]) == []


def test_the_message_about_a_typo_is_the_one_that_helm_shows() -> None:
    with pytest.raises(Refused) as caught:
        render({"settings": {"GATEWAY_TIMOUT": "3s"}})
    (shown,) = re.findall(r"^- at .*$", PAGE, re.MULTILINE)
    assert shown in str(caught.value)


def test_the_service_of_the_page_is_that_of_its_release() -> None:
    (name,) = re.findall(r"port-forward service/(\S+)", PAGE)
    assert choose(render({}), "Service")["metadata"]["name"] == name
    (port,) = re.findall(r"port-forward service/\S+ \d+:(\d+)", PAGE)
    assert choose(render({}), "Service")["spec"]["ports"][0]["port"] == int(port)


def test_the_keys_of_secrets_on_the_page_are_the_defaults() -> None:
    rows = re.findall(r"^\| `((?:nats|tls)[\w.]*)` \| .* \| (`.*`) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 8
    defaults = yaml.safe_load((ROOT / "deploy/helm/nats-http-gateway/values.yaml").read_text(encoding="utf-8"))
    for place, keys in rows:
        value = defaults
        for part in place.split("."):
            value = value[part]
        named = [text for key, text in value.items() if key.lower().endswith("key")]
        assert re.findall(r"`(.*?)`", keys) == named
