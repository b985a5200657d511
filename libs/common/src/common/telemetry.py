"""Logs, traces, counters and usage of one service.

A trace follows one dossier through all services: its ``traceparent`` is stored with the event. Only
sampled events get a span of their own, so that at a small share tracing costs next to nothing.
Each service has its own tracer provider and registry, also when several share a process.
"""

import logging
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, TextIO

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client import Counter as PrometheusCounter

from common.envelope import Received
from common.errors import describe, stack
from common.settings import TelemetrySettings

_W3C = TraceContextTextMapPropagator()
_MOST_LINKS = 32
_NEVER_LOGGED = frozenset(
    {
        *("authorization", "cookie", "password", "secret", "client_secret", "token"),
        *("access_token", "applicant", "identity", "sealed", "body", "email", "phone", "address"),
    }
)

_process_spans: ContextVar[Mapping[Any, str]] = ContextVar(
    "process_spans", default=MappingProxyType({})
)


def current_traceparent() -> str | None:
    """The W3C traceparent of the current span, if there is one."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier.get("traceparent")


def traceparent_after(cause: Received) -> str | None:
    """What an event caused by another carries on: the span that processes the cause, or its own."""
    return _process_spans.get().get(cause.id, cause.traceparent)


def context_of(traceparent: str | None) -> Context:
    """A remote parent for a span."""
    return _W3C.extract({"traceparent": traceparent} if traceparent else {}, Context())


def _sampled(traceparent: str | None) -> bool:
    return traceparent is not None and traceparent[-1:] in "13579bdf"


@contextmanager
def _failure_told(*spans: Span) -> Iterator[None]:
    """What is raised becomes the spans' status, without its message, which may be personal."""
    try:
        yield
    except Exception as error:
        for span in spans:
            span.set_status(StatusCode.ERROR, describe(error))
        raise


class Telemetry:
    """What one service measures.

    Args:
        service: its name.
        settings: where traces go and how many.
        processor: takes the finished spans in place of the OTLP exporter.
    """

    def __init__(
        self,
        service: str,
        settings: TelemetrySettings,
        processor: SpanProcessor | None = None,
    ) -> None:
        self.service = service
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": service}),
            sampler=ParentBased(TraceIdRatioBased(settings.trace_share)),
            shutdown_on_exit=False,
        )
        if processor is not None:
            self._provider.add_span_processor(processor)
        elif settings.otlp_url:
            exporter = OTLPSpanExporter(endpoint=settings.otlp_url)
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer = self._provider.get_tracer("lienthong")
        self.registry = CollectorRegistry()
        self.usage: Counter[str] = Counter()
        self._requests = Histogram(
            "http_request_seconds",
            "Time to answer a request",
            ("route", "method", "status"),
            registry=self.registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
        )
        self._events = PrometheusCounter(
            "events_consumed",
            "Events that took effect",
            ("queue",),
            registry=self.registry,
        )
        self._parked = PrometheusCounter(
            "events_parked", "Events put aside", ("queue",), registry=self.registry
        )
        self._calls = PrometheusCounter(
            "partner_calls",
            "Items sent to partners, by outcome",
            ("partner", "outcome"),
            registry=self.registry,
        )

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(route, method, str(status)).observe(seconds)
        self.usage[f"http.{method} {route} {status // 100}xx"] += 1

    def consumed(self, queue: str, done: int, parked: int) -> None:
        """Count events of a batch."""
        self._events.labels(queue).inc(done)
        self.usage[f"events.{queue}"] += done
        if parked:
            self._parked.labels(queue).inc(parked)

    def called(self, partner: str, outcome: str, items: int) -> None:
        """Count items sent to a partner."""
        self._calls.labels(partner, outcome).inc(items)
        self.usage[f"partner.{partner}.{outcome}"] += items

    def metrics(self) -> bytes:
        """All counters in the Prometheus text format."""
        return generate_latest(self.registry)

    @contextmanager
    def span(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        traceparent: str | None = None,
        **attributes: str | int,
    ) -> Iterator[Span]:
        """A span below the current one, or below a remote parent."""
        context = context_of(traceparent) if traceparent else None
        with (
            self.tracer.start_as_current_span(
                name,
                context=context,
                kind=kind,
                attributes=attributes,
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
            _failure_told(span),
        ):
            yield span

    @contextmanager
    def batch(self, queue: str, events: Sequence[Received]) -> Iterator[None]:
        """Spans for the sampled events of a batch, while it is applied."""
        spans = {
            event.id: self.tracer.start_span(
                f"{queue} {event.type}",
                context=context_of(event.traceparent),
                kind=SpanKind.CONSUMER,
                attributes={"messaging.message.id": str(event.id)},
            )
            for event in events
            if _sampled(event.traceparent)
        }
        if not spans:
            yield
            return
        carried: dict[Any, str] = {}
        for id_, span in spans.items():
            carrier: dict[str, str] = {}
            _W3C.inject(carrier, trace.set_span_in_context(span))
            carried[id_] = carrier["traceparent"]
        token = _process_spans.set(carried)
        try:
            with _failure_told(*spans.values()):
                yield
        finally:
            _process_spans.reset(token)
            for span in spans.values():
                span.end()

    @contextmanager
    def call(self, name: str, traceparents: Sequence[str | None]) -> Iterator[Span]:
        """A span of one call that carries many items, linked to (some of) their traces.

        With a single sampled item the span is a child of that item's trace instead.
        """
        sampled = list(dict.fromkeys(t for t in traceparents if t and _sampled(t)))[:_MOST_LINKS]
        if not sampled:
            yield trace.INVALID_SPAN
            return
        links = [
            Link(trace.get_current_span(context_of(traceparent)).get_span_context())
            for traceparent in sampled
        ]
        with (
            self.tracer.start_as_current_span(
                name,
                context=context_of(sampled[0]),
                kind=SpanKind.CLIENT,
                links=links if len(links) > 1 else None,
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
            _failure_told(span),
        ):
            yield span

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def configure_logging(level: str, file: TextIO = sys.stdout) -> None:
    """JSON lines, one event each, without what must not be logged; libraries' own logs as well."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _withhold,
            _without_message,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(file=file),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Libraries()], force=True)


class _Libraries(logging.Handler):
    """What libraries log, as lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        # Only the first line: asyncio's second one shows what it could not deliver.
        event = record.getMessage().partition("\n")[0]
        structlog.get_logger().log(record.levelno, event, logger=record.name, exc_info=error)


def _withhold(
    _logger: Any, _method: str, entry: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key in entry.keys() & _NEVER_LOGGED:
        entry[key] = "[withheld]"
    return entry


def _without_message(
    _logger: Any, _method: str, entry: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """An exception is told by its kind and place: its message may hold what somebody sent."""
    error = entry.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        entry.update(error=describe(error), frames=stack(error))
    return entry
