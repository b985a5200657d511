"""One trace follows a dossier from the request through every service it passes."""

from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rich.console import Console

from backbone.assembly import Plan, running
from backbone.demo import play
from backbone.demo.client import ClientSystem
from backbone.demo.lives import lives as make_lives

SILENT = Console(quiet=True)


def services_by_trace(spans: tuple[ReadableSpan, ...]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for span in spans:
        assert span.context is not None
        service = str(span.resource.attributes["service.name"])
        found.setdefault(span.context.trace_id, set()).add(service)
    return found


async def test_a_trace_follows_a_dossier_through_all_services(tmp_path: Path) -> None:
    spans = InMemorySpanExporter()
    async with play.stage(tmp_path) as (postgres, outside):
        plan = Plan(
            folder=tmp_path,
            databases=await play.databases(postgres),
            ports=play.free_ports(0),
            outside=outside,
            clients=(play.demo_client(),),
            trace_share=1.0,
        )
        async with running(plan, SimpleSpanProcessor(spans)):
            client = plan.clients[0]
            system = ClientSystem(plan.url("gateway"), client.client_id, client.secret)
            procedures = await play.catalogue(system)
            signed = [
                life
                for life in make_lives(8, play.AGENCIES, procedures, seed=1)
                if life.kind == "signed"
            ]
            await system.play(signed[:1], step_done=lambda _: None)
            await play.arrived(SILENT, outside, system.book)
    traces = services_by_trace(spans.get_finished_spans())
    through = {"gateway", "dossier", "national-portal-sync", "metrics-exporter"}
    passed = [services for services in traces.values() if "dossier" in services]
    # The submission and its four steps: each is one trace through all that it passes.
    assert sum(through <= services for services in passed) >= 5
    assert any(through | {"signature-connector"} == services for services in passed)
