"""One trace follows an event from its producer through outbox, relay and consumers."""

from collections.abc import AsyncIterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id

from common.envelope import Received
from common.inbox import Consumer, Subscription
from common.outbox import Outbox, Unit
from common.settings import TelemetrySettings
from common.telemetry import Telemetry
from common.transport.local import LocalTransport
from tests.support.databases import Databases
from tests.support.messaging import Opened, alone, ordered


@pytest.fixture
async def opened(databases: Databases) -> AsyncIterator[Opened]:
    made = Opened(databases)
    yield made
    await made.close()


class Services:
    """catalog tells, dossier tells in consequence, signature-connector listens to that."""

    def __init__(self, opened: Opened, share: float) -> None:
        self._opened = opened
        self._exporter = InMemorySpanExporter()
        self._share = share
        self.transport = LocalTransport()
        self.heard: list[Received] = []

    def telemetry(self, service: str) -> Telemetry:
        settings = TelemetrySettings(trace_share=self._share)
        return Telemetry(service, settings, SimpleSpanProcessor(self._exporter))

    def spans(self) -> list[ReadableSpan]:
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    async def play(self, events: int) -> None:
        """catalog tells some events in one request; all that follows from them happens."""

        async def consequence(unit: Unit, received: Sequence[Received]) -> None:
            for event in received:
                unit.tell(alone(), aggregate="b", agency="H01", cause=event)

        async def listen(_: Unit, received: Sequence[Received]) -> None:
            self.heard += received

        dossier = await self._consumer("dossier", "catalog.#", consequence)
        await self._consumer("signature-connector", "signing.#", listen)
        catalog = Outbox(await self._opened("catalog"), "catalog")
        with self.telemetry("catalog").span("POST /things"):
            async with catalog.transaction() as unit:
                for number in range(events):
                    unit.tell(ordered(version=number), aggregate="a", agency="H01")
        await catalog.publish_once(self.transport)
        await dossier.publish_once(self.transport)

    async def _consumer(self, service: str, pattern: str, apply: object) -> Outbox:
        database = await self._opened("consumer")
        outbox = Outbox(database, service)
        subscription = Subscription("facts", (pattern,), apply)  # type: ignore[arg-type]
        consumer = Consumer(service, subscription, outbox, self.telemetry(service))
        self.transport.consume(consumer.queue, consumer.take, check=database.check, batch=100)
        return outbox


async def test_one_trace_goes_through_all_services(opened: Opened) -> None:
    services = Services(opened, share=1.0)
    await services.play(events=2)
    request, *rest = services.spans()
    assert request.name == "POST /things"
    first, second = (span for span in rest if span.name.startswith("dossier.facts "))
    third, fourth = (span for span in rest if span.name.startswith("signature-connector.facts "))
    assert len(rest) == 4
    trace = request.context.trace_id
    assert {span.context.trace_id for span in rest} == {trace}
    for child, parent in ((first, request), (second, request), (third, first), (fourth, second)):
        assert child.parent is not None
        assert format_span_id(child.parent.span_id) == format_span_id(parent.context.span_id)
    assert [span.resource.attributes["service.name"] for span in (request, first, third)] == [
        "catalog",
        "dossier",
        "signature-connector",
    ]
    assert len({event.correlation for event in services.heard}) == 2


async def test_a_trace_that_is_not_sampled_is_carried_on_and_costs_no_spans(
    opened: Opened,
) -> None:
    services = Services(opened, share=0.0)
    await services.play(events=3)
    assert services.spans() == []
    assert len(services.heard) == 3
    traces = {event.traceparent for event in services.heard}
    assert len(traces) == 1
    (carried,) = traces
    assert carried is not None
    assert not int(carried[-2:], 16) & 1
