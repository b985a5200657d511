"""Operations that are on their way out: ``Deprecation`` (RFC 9745) and ``Sunset`` (RFC 8594).

An operation that is to go moves to a router of its own::

    leaving = Retirement(since=…, until=…, more="/docs#/…")
    router = APIRouter(route_class=leaving.route_class())

Every answer of its routes then says so, refusals included, and so does the OpenAPI document.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

_NOTICE = timedelta(days=365)


@dataclass(frozen=True)
class Retirement:
    """When an operation stops being recommended, and when it stops answering.

    Attributes:
        since: from when on it is deprecated; may lie ahead.
        until: when it may be gone; at least a year after ``since`` by our own promise
            (docs/api/README.md), checked here.
        more: where to read what to use instead, as a reference relative to the gateway.

    Raises:
        ValueError: a time without its zone, or too little of it.
    """

    since: datetime
    until: datetime
    more: str

    def __post_init__(self) -> None:
        if self.since.tzinfo is None or self.until.tzinfo is None:
            raise ValueError("a time needs its zone")
        if self.until - self.since < _NOTICE:
            raise ValueError("what is deprecated stays for at least a year")

    def headers(self) -> dict[str, str]:
        """The response headers; a time of RFC 9745 is a structured date."""
        return {
            "deprecation": f"@{int(self.since.timestamp())}",
            "sunset": format_datetime(self.until.astimezone(UTC), usegmt=True),
            "link": f'<{self.more}>; rel="deprecation", <{self.more}>; rel="sunset"',
        }

    def route_class(self) -> type[APIRoute]:
        """The class of the routes that go."""
        told = self.headers()
        extra = {
            "x-sunset": self.until.isoformat(),
            "externalDocs": {"url": self.more, "description": "Dùng gì thay · What to use instead"},
        }

        class RetiringRoute(APIRoute):
            def __init__(self, *arguments: Any, **options: Any) -> None:
                options["deprecated"] = True
                options["openapi_extra"] = {**(options.get("openapi_extra") or {}), **extra}
                super().__init__(*arguments, **options)

            async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
                async def answer(message: Message) -> None:
                    if message["type"] == "http.response.start":
                        headers = MutableHeaders(scope=message)
                        for name, value in told.items():
                            headers.append(name, value)
                    await send(message)

                await super().handle(scope, receive, answer)

        return RetiringRoute
