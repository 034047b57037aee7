"""Reads `/metrics` of a running gateway."""

import http.client
import math
import ssl
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from .endings import CommandError

METRICS = "/metrics"
TIMEOUT = 5.0  # seconds for one answer
MAX_SIZE = 256 * 1024 * 1024  # bytes of one answer; ten thousand routes have 40 MiB

_INFO, _REQUESTS, _PROBLEMS = "nats_http_build_info", "nats_http_requests_total", "nats_http_problems_total"
_BUCKET = "nats_http_request_duration_seconds_bucket"
_LARGE = ("nats_http_upstream_", "nats_http_request_size_", "nats_http_response_size_")
"""The beginnings of lines that are not needed. With many routes these are most of the text."""
_HINTS = {
    400: "it may speak HTTPS on this port: write https://",
    401: "this gateway asks who may see its metrics (GATEWAY_PAGES_AUTH): give --key, or -H with another header",
    403: "this caller may not see the metrics of this gateway (GATEWAY_PAGES_AUTH)",
    404: "there are no metrics: GATEWAY_METRICS_ADDRESS may serve them at another address, or nowhere",
}


class ScrapeFailed(CommandError):
    """The metrics could not be read. The text is one line that says what to do."""


@dataclass(slots=True)
class RouteCounts:
    """Numbers of a route since the start of its gateway."""

    requests: float = 0.0
    failed: float = 0.0
    """Responses with 5xx."""
    refused: float = 0.0
    """Responses with 4xx, and callers who left before their answer."""
    buckets: dict[float, float] = field(default_factory=dict)
    """For each bound in seconds, the number of requests that took at most as long."""
    problems: Counter[str] = field(default_factory=Counter)
    """The number of problems by their slug."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """One answer. `at` is an instant of `time.monotonic`. `values` has the metrics without labels, by name. `clusters`
    has those that each NATS cluster has for itself, by name and cluster, if the gateway has several clusters."""

    at: float
    text: bytes
    values: Mapping[str, float]
    routes: Mapping[str, RouteCounts]
    clusters: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def find(self, name: str, combine: Callable[[Iterable[float]], float] = sum) -> float | None:
        """The value of a metric. The values of all clusters are combined. None if the gateway does not report it."""
        found = self.clusters.get(name)
        return combine(found.values()) if found else self.values.get(name)


class Scraper:
    """Reads this URL with these request headers. It follows no redirect, since that could give a key to a stranger.
    Without `checks_certificate` any certificate is accepted: that of the own machine is for another name."""

    def __init__(self, url: str, headers: Mapping[str, str], *, checks_certificate: bool) -> None:
        self.url = url
        self._headers = dict(headers)
        self._parser = _Parser()
        context = ssl.create_default_context()
        if not checks_certificate:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _NoRedirect()
        )

    def scrape(self) -> Scrape:
        """Read the metrics. Raises ScrapeFailed."""
        text = self._fetch()
        at = time.monotonic()
        try:
            samples = self._parser.parse(text)
            is_right = any(sample.name == _INFO for sample in samples)
            values, routes, clusters = _sort(samples)
        except (ValueError, LookupError, OverflowError):  # also UnicodeDecodeError
            is_right = False
        if not is_right:
            raise ScrapeFailed(f"{self.url}: these are not the metrics of a gateway, whose path is {METRICS}")
        return Scrape(at, text, values, routes, clusters)

    def _fetch(self) -> bytes:
        try:
            request = urllib.request.Request(self.url, headers=self._headers)  # noqa: S310 - the scheme is checked
            with self._opener.open(request, timeout=TIMEOUT) as response:
                return bytes(response.read(MAX_SIZE))
        except urllib.error.HTTPError as error:
            with error:
                hint = _HINTS.get(error.code, "there are no metrics")
            raise ScrapeFailed(f"{self.url}: {error.code}: {hint}") from None
        except TimeoutError:
            raise ScrapeFailed(f"{self.url}: no answer within {TIMEOUT:g} s") from None
        except ValueError:  # its text may have a key
            raise ScrapeFailed(f"{self.url}: this URL, or a header, can't be sent") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise ScrapeFailed(f"{self.url}: no gateway answers there: {_to_one_line(reason)}") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        """Makes the redirect an HTTPError."""


def _to_one_line(reason: object) -> str:
    words = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return " ".join(str(words).split())


class _Parser:
    """Reads the lines of scrapes. It remembers the lines of the last one, since most routes are idle between two
    scrapes, and with ten thousand routes all lines take seconds."""

    def __init__(self) -> None:
        self._known: dict[str, Sample] = {}

    def parse(self, text: bytes) -> list[Sample]:
        """The samples that are needed. Raises ValueError, and others of the library."""
        lines = [line for line in text.decode().split("\n") if line.startswith(("nats_http_", "process_"))]
        needed = [line for line in lines if not line.startswith(_LARGE)]
        fresh = [line for line in needed if line not in self._known]
        families = text_string_to_metric_families("\n".join((*fresh, "")))
        samples = (sample for family in families for sample in family.samples)
        read = dict(zip(fresh, samples, strict=True))
        self._known = {line: read.get(line) or self._known[line] for line in needed}
        return list(self._known.values())


_Clusters = dict[str, dict[str, float]]


def _sort(samples: list[Sample]) -> tuple[dict[str, float], dict[str, RouteCounts], _Clusters]:
    values: dict[str, float] = {}
    routes: dict[str, RouteCounts] = {}
    clusters: _Clusters = {}
    for sample in samples:
        if not sample.labels:
            values[sample.name] = sample.value
        elif sample.name in (_REQUESTS, _PROBLEMS, _BUCKET):
            _add(routes.setdefault(sample.labels.get("route", ""), RouteCounts()), sample)
        elif "nats" in sample.labels:
            clusters.setdefault(sample.name, {})[sample.labels["nats"]] = sample.value
    return values, routes, clusters


def _add(route: RouteCounts, sample: Sample) -> None:
    labels, value = sample.labels, sample.value
    if sample.name == _REQUESTS:
        code = labels.get("code", "")
        route.requests += value
        route.failed += value if code.startswith("5") else 0
        route.refused += value if code.startswith("4") else 0
    elif sample.name == _PROBLEMS:
        route.problems[labels.get("slug", "")] += int(value)
    else:
        route.buckets[float(labels.get("le", math.inf))] = value
