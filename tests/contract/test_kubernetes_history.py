"""A consumer can ask every producer whose events it hears for those that it missed."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from backbone.assembly import MODULES, Outside, Plan, settings_of
from backbone.settings_example import settings_class
from common.contracts.registry import EVENTS
from common.service import Shared
from common.transport.base import Message, Queue

BASE = Path(__file__).parents[2] / "k8s" / "base"


@dataclass
class Heard:
    """A transport that carries nothing and remembers which queues were asked for."""

    queues: list[Queue] = field(default_factory=list)

    async def start(self) -> None: ...

    async def ready(self) -> None: ...

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        return [False] * len(messages)

    def consume(self, queue: Queue, handler: object, **_: Any) -> None:
        self.queues.append(queue)

    async def stop_consuming(self, service: str | None = None) -> None: ...

    async def close(self) -> None: ...


@pytest.mark.parametrize("service", MODULES)
async def test_a_service_has_the_address_of_every_producer_it_hears(
    service: str,
    database_url: Callable[..., Awaitable[str]],
    tmp_path: Path,
) -> None:
    (tmp_path / "roots.pem").write_bytes(certificate())
    nowhere = "http://127.0.0.1:9"
    plan = Plan(
        folder=tmp_path,
        databases={service: await database_url("history")},
        ports=dict.fromkeys(MODULES, 0),
        outside=Outside(nowhere, nowhere, nowhere, tmp_path / "roots.pem"),
        clients=(),
    )
    settings = settings_class(service)(**settings_of(plan, service))
    heard = Heard()
    app = MODULES[service].create_app(settings, Shared(transport=heard))
    async with app.router.lifespan_context(app):
        pass
    producers = {
        event.PRODUCER
        for type_, event in EVENTS.items()
        if any(queue.wants(type_) for queue in heard.queues) and event.PRODUCER != "*"
    }
    assert producers == set(addresses(service))


def addresses(service: str) -> dict[str, str]:
    """What the service's ConfigMap is made from."""
    for line in (BASE / "settings" / f"{service}.env").read_text().splitlines():
        name, _, value = line.partition("=")
        if name.endswith("_HISTORY_URLS"):
            return dict(json.loads(value))
    return {}


def certificate() -> bytes:
    """A root certificate, which the signature connector does not start without."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Root")])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder(
        name, name, key.public_key(), 1, now, now + timedelta(days=1)
    ).sign(key, hashes.SHA256())
    return built.public_bytes(Encoding.PEM)
