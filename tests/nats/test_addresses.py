"""Addresses of NATS servers."""

import pytest

from app.nats.addresses import Address


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("localhost", Address("nats", "localhost", 4222)),
        ("10.0.0.1:5", Address("nats", "10.0.0.1", 5)),
        ("nats://h", Address("nats", "h", 4222)),
        ("NATS://h:7/", Address("nats", "h", 7)),
        ("tls://[::1]:7", Address("tls", "::1", 7)),
        ("u:p@h", Address("nats", "h", 4222, "u", "p")),
        ("nats://u:p%40ss%2Fw%23@h", Address("nats", "h", 4222, "u", "p@ss/w#")),
        ("nats://t%20k@h", Address("nats", "h", 4222, "t k")),
    ],
)
def test_an_address_is_read_with_its_defaults_and_decoded_credentials(text: str, server: Address) -> None:
    assert Address.parse(text) == server
    assert Address.parse(server.url).address == server.address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nats://",
        "http://h",
        "ws://h",
        "nats://h:99999",
        "nats://h:0",
        "nats://h:x",
        "nats://[::1",
        "nats://[x]:1",
        "nats://:4222",
        "nats://h/path",
        "nats://u:secr#t@h",
        "nats://u:secr?t@h",
        "nats://u:secr/t@h",
    ],
)
def test_what_is_no_address_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="a NATS server is nats://host:port") as caught:
        Address.parse(text)
    assert "secr" not in str(caught.value)


def test_credentials_show_nowhere_and_go_along_to_other_servers_of_the_cluster() -> None:
    server = Address.parse("tls://user:s3cret@h:1")
    assert "s3cret" not in repr(server) + server.address + server.url
    assert server.at("other", None) == Address("tls", "other", 4222, "user", "s3cret")


def test_a_discovered_address_is_checked_against_the_name_that_was_configured() -> None:
    named = Address.parse("tls://u:p@nats.example:1")
    found = named.at("10.0.0.1", 2)
    assert found.tls_name == "nats.example"
    assert found.at("10.0.0.2", 2).tls_name == "nats.example"
    assert found.at("other.example", 2).tls_name is None
    assert Address.parse("tls://10.0.0.1").at("10.0.0.2", 2).tls_name is None
    assert Address.parse("tls://[::1]").at("10.0.0.2", 2).tls_name is None
