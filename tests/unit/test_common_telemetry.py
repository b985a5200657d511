"""Logs without what must not be logged; spans only where a trace is sampled."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from common.envelope import Received, decode
from common.errors import describe, stack
from common.settings import TelemetrySettings
from common.telemetry import (
    Telemetry,
    configure_logging,
    current_traceparent,
    traceparent_after,
)
from tests.support.messaging import envelope, ordered

SECRET = "012345678901"
TRACE = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = f"00-{TRACE}-b7ad6b7169203331-01"
UNSAMPLED = f"00-{TRACE}-b7ad6b7169203331-00"


class Told:
    """A service's telemetry, and the spans it finished."""

    def __init__(self, share: float = 0.0) -> None:
        self.exporter = InMemorySpanExporter()
        self.telemetry = Telemetry(
            "thing", TelemetrySettings(trace_share=share), SimpleSpanProcessor(self.exporter)
        )

    @property
    def spans(self) -> dict[str, Any]:
        return {span.name: span for span in self.exporter.get_finished_spans()}


def received(traceparent: str | None, sequence: int = 1) -> Received:
    return decode(envelope(ordered(), "a", sequence, traceparent=traceparent))


def test_sampled_events_get_a_span_each_and_what_follows_belongs_below_it() -> None:
    told, events = Told(), [received(SAMPLED), received(UNSAMPLED), received(None)]
    with told.telemetry.batch("thing.queue", events):
        after = [traceparent_after(event) for event in events]
    (span,) = told.spans.values()
    assert span.name == "thing.queue catalog.agency-published.v1"
    context = span.get_span_context()
    assert format(context.trace_id, "032x") == TRACE
    assert format(span.parent.span_id, "016x") == "b7ad6b7169203331"
    assert after == [f"00-{TRACE}-{context.span_id:016x}-01", UNSAMPLED, None]
    assert traceparent_after(events[0]) == SAMPLED  # not any more


def test_without_a_sampled_event_there_are_no_spans() -> None:
    told = Told()
    with told.telemetry.batch("q", [received(UNSAMPLED)] * 50):
        pass
    with told.telemetry.call("partner", [UNSAMPLED, None]) as span:
        assert not span.is_recording()
    with told.telemetry.span("GET", traceparent=UNSAMPLED):
        assert current_traceparent() is not None
    assert told.spans == {}


@pytest.mark.parametrize(
    "odd", ["", "00", "00-zz-zz-01", "ff" * 30, f"00-{'0' * 32}-{'0' * 16}-01"]
)
def test_a_traceparent_that_is_none_of_ours_is_no_trouble(odd: str) -> None:
    told = Told()
    with told.telemetry.batch("q", [received(odd)]), told.telemetry.call("p", [odd]):
        traceparent_after(received(odd))


def test_a_call_for_many_is_linked_to_their_traces() -> None:
    told = Told()
    others = [f"00-{number:032x}-{number:016x}-01" for number in range(1, 60)]
    with told.telemetry.call("partner send", others):
        pass
    (span,) = told.spans.values()
    assert len(span.links) == 32
    with told.telemetry.call("one", [SAMPLED, SAMPLED, None]):
        pass
    single = told.spans["one"]
    assert single.links == ()
    assert format(single.get_span_context().trace_id, "032x") == TRACE


def test_a_failure_is_told_by_the_span_without_its_message() -> None:
    told = Told(share=1.0)

    def fail() -> None:
        with (
            told.telemetry.span("outer"),
            told.telemetry.batch("q", [received(SAMPLED)]),
            told.telemetry.call("partner", [SAMPLED]),
        ):
            raise ValueError(SECRET)

    with pytest.raises(ValueError, match=SECRET):
        fail()
    assert len(told.spans) == 3
    for span in told.spans.values():
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description.startswith("ValueError at tests.unit.")
        assert not span.events
        assert SECRET not in span.to_json()


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Where logs go, as services configure them."""
    before = structlog.get_config()
    handlers = logging.getLogger().handlers[:]
    level = logging.getLogger().level
    file = io.StringIO()
    configure_logging("INFO", file)
    structlog.configure(cache_logger_on_first_use=False)
    yield file
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


def test_a_line_is_json_and_withholds_what_is_personal(lines: io.StringIO) -> None:
    log = structlog.get_logger()
    log.debug("not this")
    log.info("hồ sơ", dossier="H01", token=SECRET, identity=SECRET, sealed=SECRET, body=SECRET)
    (line,) = lines.getvalue().splitlines()
    told = json.loads(line)
    assert told["event"] == "hồ sơ"
    assert told["dossier"] == "H01"
    assert told["level"] == "info"
    assert told["timestamp"].endswith("Z")
    assert [told[key] for key in ("token", "identity", "sealed", "body")] == ["[withheld]"] * 4
    assert SECRET not in line


def test_an_exception_is_logged_by_its_kind_and_place(lines: io.StringIO) -> None:
    def fail() -> None:
        raise ValueError(SECRET)

    try:
        fail()
    except ValueError as error:
        structlog.get_logger().exception("one")
        structlog.get_logger().error("two", exc_info=error)
        logging.getLogger("library").exception("three\nfuture: <Task %s>", SECRET)
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [line["event"] for line in told] == ["one", "two", "three"]
    for line in told:
        assert line["error"].startswith("ValueError at tests.unit.test_common_telemetry.")
        assert len(line["frames"]) == 2
    assert told[2]["logger"] == "library"
    assert SECRET not in lines.getvalue()


async def test_a_task_that_fails_unseen_is_logged_without_its_message(
    lines: io.StringIO,
) -> None:
    async def fail() -> None:
        raise ValueError(SECRET)

    task = asyncio.get_running_loop().create_task(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    await asyncio.sleep(0)
    assert "Task exception was never retrieved" in lines.getvalue()
    assert SECRET not in lines.getvalue()


def test_libraries_are_heard_from_warnings_on(lines: io.StringIO) -> None:
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("worth it %s", 7)
    (line,) = lines.getvalue().splitlines()
    assert json.loads(line)["event"] == "worth it 7"


def test_the_place_of_an_error_is_in_our_code_and_not_in_a_library() -> None:
    def ours() -> None:
        json.loads(SECRET + "x")

    with pytest.raises(json.JSONDecodeError) as raised:
        ours()
    assert describe(raised.value).startswith("JSONDecodeError at tests.unit.test_common_telemetry.")
    assert "ours" in describe(raised.value)
    assert all("json" not in place.partition(":")[0].split(".")[0] for place in stack(raised.value))
    assert describe(None) == "unknown"
    assert describe(ValueError(SECRET)) == "ValueError"


def test_counters() -> None:
    told = Told().telemetry
    told.consumed("q", 3, 0)
    told.consumed("q", 2, 1)
    told.called("portal", "done", 4)
    text = told.metrics().decode()
    assert 'events_consumed_total{queue="q"} 5.0' in text
    assert 'events_parked_total{queue="q"} 1.0' in text
    assert 'partner_calls_total{outcome="done",partner="portal"} 4.0' in text
    assert told.usage == {"events.q": 5, "partner.portal.done": 4}
    told.close()
