"""What the example responders use of nats-py beyond its public API: an upgrade that changes it fails here, by name."""

import inspect
from collections import deque

import pytest
from nats import micro
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.micro.request import Request
from nats.micro.service import Endpoint, Service

from tests.harness import NatsServer, connect


@pytest.mark.parametrize(
    ("owner", "method", "parameters"),
    [
        (Client, "_process_msg", ["self", "sid", "subject", "reply", "data", "headers"]),
        (Client, "_send_ping", ["self", "future"]),
        (Endpoint, "__init__", ["self", "service", "config"]),
        (Endpoint, "_start", ["self"]),
        (Endpoint, "_handle_request", ["self", "msg"]),
        (Subscription, "_drain", ["self"]),
    ],
)
def test_the_methods_that_are_replaced_or_called_take_what_they_took(
    owner: type, method: str, parameters: list[str]
) -> None:
    assert list(inspect.signature(getattr(owner, method)).parameters) == parameters


def test_a_client_makes_its_messages_of_a_class_that_can_be_another() -> None:
    assert Client.msg_class is Msg


async def test_a_connected_client_has_what_waits_to_be_written(shared_nats: NatsServer) -> None:
    async with connect(shared_nats.url) as client:
        assert isinstance(client._pending, list | deque)
        assert isinstance(client._pending_data_size, int)
        assert callable(getattr(client._transport, "writelines"))  # noqa: B009 - it may be None by its type
        assert hasattr(client, "_disconnected_cb")


async def test_a_service_and_its_endpoint_have_their_queue_group_endpoints_and_subscription(
    shared_nats: NatsServer,
) -> None:
    async with connect(shared_nats.url) as client:
        requests: list[Request] = []

        async def note(request: Request) -> None:
            requests.append(request)
            await request.respond(b"")

        service = await micro.add_service(client, name="contract", version="0.0.1")
        assert isinstance(service, Service)
        assert isinstance(service._queue_group, str | None)
        await service.add_endpoint(name="note", subject="contract.note", handler=note)
        (endpoint,) = service._endpoints
        assert isinstance(endpoint, Endpoint)
        assert isinstance(endpoint._subscription, Subscription)
        await client.request("contract.note", timeout=10)
        assert isinstance(requests[0]._msg, Msg)
        assert requests[0]._msg._client is client
        await service.stop()
