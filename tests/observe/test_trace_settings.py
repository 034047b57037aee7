"""What the variables OTEL_… ask for, and what is wrong with them."""

from pathlib import Path

import pytest

from app.observe.trace_settings import Sampling, find_asking, find_faults, read_sampling

HTTP = "must be http/protobuf"
ADDRESS = "must be an address such as http://localhost:4318"


@pytest.mark.parametrize(
    ("environment", "asking"),
    [
        ({}, None),
        ({"OTEL_SERVICE_NAME": "a", "OTEL_TRACES_SAMPLER": "always_on"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, None),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "OTEL_TRACES_EXPORTER"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_TRACES_EXPORTER": "None"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_SDK_DISABLED": " True"}, None),
    ],
)
def test_some_variables_ask_for_traces(environment: dict[str, str], asking: str | None) -> None:
    assert find_asking(environment) == asking


@pytest.mark.parametrize(
    ("sampler", "argument", "sampling"),
    [
        ("", "", Sampling(by_parent=True, ratio=1.0)),
        ("", "0.5", Sampling(by_parent=True, ratio=1.0)),
        ("parentbased_always_off", "", Sampling(by_parent=True, ratio=0.0)),
        ("parentbased_traceidratio", "0.01", Sampling(by_parent=True, ratio=0.01)),
        ("ParentBased_TraceIdRatio", "", Sampling(by_parent=True, ratio=1.0)),
        ("traceidratio", "1e-3", Sampling(by_parent=False, ratio=0.001)),
        ("always_on", "", Sampling(by_parent=False, ratio=1.0)),
        ("always_off", "", Sampling(by_parent=False, ratio=0.0)),
    ],
)
def test_a_sampler_is_a_ratio_that_may_heed_the_caller(sampler: str, argument: str, sampling: Sampling) -> None:
    environment = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    assert list(find_faults(environment, check_files=True)) == []
    assert read_sampling(environment) == sampling


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("OTEL_SDK_DISABLED", "no", "must be true or false"),
        ("OTEL_TRACES_EXPORTER", "console", "must be otlp or none"),
        ("OTEL_TRACES_SAMPLER", "some", "must be always_on, always_off, traceidratio, parentbased_always_on, "),
        ("OTEL_PROPAGATORS", "b3", "must include tracecontext"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", HTTP),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", HTTP),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "must be a number of seconds above 0"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "nan", "must be a number of seconds above 0"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip", "must be none, gzip or deflate"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere.pem", "is not a file"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "must be a whole number above 0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100", "must be at least OTEL_BSP_MAX_EXPORT_BATCH_SIZE, which is 512"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0", "must be a whole number above 0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-5", "must be a whole number above 0"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str, fault: str) -> None:
    (line,) = find_faults({name: value}, check_files=True)
    assert line.startswith(f"{name} '{value}': {fault}")


@pytest.mark.parametrize("ratio", ["2", "-0.1", "nan", "1%", "half"])
def test_a_ratio_is_from_0_to_1(ratio: str) -> None:
    environment = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": ratio}
    (line,) = find_faults(environment, check_files=True)
    assert line.startswith(f"OTEL_TRACES_SAMPLER_ARG '{ratio}': must be a number from 0 to 1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "user:s3cret@host:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:s3cret@host:port"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://s3cret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Bearer s3cret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%0As3cret"),
    ],
)
def test_a_fault_shows_no_secret(name: str, value: str) -> None:
    (line,) = find_faults({name: value}, check_files=True)
    assert line.startswith(f"{name}: must be ")
    assert "s3cret" not in line


def test_what_is_for_metrics_alone_is_not_looked_at() -> None:
    special = {"ENDPOINT": "http://host:4318", "PROTOCOL": "http/protobuf", "HEADERS": "api-key=a%20b"}
    environment = {
        **{f"OTEL_EXPORTER_OTLP_TRACES_{word}": value for word, value in special.items()},
        **{f"OTEL_EXPORTER_OTLP_{word}": "?" for word in special},
        "OTEL_METRICS_EXPORTER": "prometheus",
    }
    assert list(find_faults(environment, check_files=True)) == []


def test_a_file_is_looked_for_at_the_start_only(tmp_path: Path) -> None:
    environment = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "ca.pem")}
    assert list(find_faults(environment, check_files=False)) == []
    (tmp_path / "ca.pem").touch()
    assert list(find_faults(environment, check_files=True)) == []
