"""Connections that cost more than they bring are closed: uvicorn's protocol with limits of its own.

uvicorn bounds neither the size of a request's head nor the time it may take, waits for ever for a
reader that does not read, and takes trailers of a chunked body for headers. What follows is about
that; bodies are bounded in ``common.middleware``.

A timer runs only while a connection waits for something that did not come with the last bytes, so
that a request that comes in one piece costs none.
"""

import asyncio
from collections import Counter
from typing import Any, ClassVar

import orjson
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from common.errors import HeadTooLarge, HeadTooSlow, MalformedRequest, Problem
from common.settings import ServerSettings

LARGEST_HEAD = 32 * 1024
"""Bytes of the request line and the headers."""
MOST_HEADERS = 100
_LEAST_READ = 8 * 1024


class Guarded(HttpToolsProtocol):
    """One connection; ``guarded`` makes the class for a server.

    Attributes:
        settings: how long and how many.
        waiting: connections without a request under way, the one that waits longest first.
        addresses: open connections by the peer's address.
    """

    settings: ClassVar[ServerSettings]
    waiting: ClassVar[dict["Guarded", None]]
    addresses: ClassVar[Counter[str]]

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._head_open = False
        self._head_bytes = 0
        self._fed = 0
        self._refusal: type[Problem] = MalformedRequest
        self._impatience: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, if there is room for it."""
        super().connection_made(transport)
        peer = self.client[0] if self.client else ""
        self.addresses[peer] += 1
        most = self.settings.connections_per_address
        if most is not None and self.addresses[peer] > most:
            transport.abort()
            return
        if len(self.connections) > self.settings.connections and not self._make_room():
            transport.abort()
            return
        self.waiting[self] = None
        self._be_impatient()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self.waiting.pop(self, None)
        peer = self.client[0] if self.client else ""
        self.addresses[peer] -= 1
        if not self.addresses[peer]:
            del self.addresses[peer]
        _cancel(self._impatience)
        self._impatience = None
        _cancel(self._unread)
        self._unread = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; what is no request yet must become one in time."""
        self._fed = len(data)
        super().data_received(data)
        if self._head_open:
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD:
                self._refusal = HeadTooLarge
                self.send_400_response("")
                return
        if self._impatience is None and not self._under_way():
            self._be_impatient()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head_open, self._head_bytes = True, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; trailers come the same way and must not become headers afterwards."""
        if self._head_open:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._head_open = False
        if len(self.headers) > MOST_HEADERS or (
            self._head_bytes + self._fed > LARGEST_HEAD and self._head() > LARGEST_HEAD
        ):
            self._refusal = HeadTooLarge
            raise ValueError(HeadTooLarge.slug)  # the parser stops, and the refusal is sent
        self.waiting.pop(self, None)
        _cancel(self._impatience)
        self._impatience = None
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """The answer is written, though perhaps not read."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._have_read()
        elif not self._under_way():
            self.waiting[self] = None

    def timeout_keep_alive_handler(self) -> None:
        """Nothing came for long."""
        super().timeout_keep_alive_handler()
        self._have_read()

    def pause_writing(self) -> None:
        """The peer reads more slowly than we write."""
        super().pause_writing()
        self._have_read()

    def resume_writing(self) -> None:
        """It has caught up."""
        if not self.transport.is_closing():
            _cancel(self._unread)
            self._unread = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, as a problem; nothing is written into an answer under way."""
        if self._under_way():
            self.transport.abort()
            return
        content = orjson.dumps(self._refusal().body())
        head = (
            b"content-type: application/problem+json\r\n"
            b"content-length: %d\r\n"
            b"cache-control: no-store\r\n"
            b"x-content-type-options: nosniff\r\n"
            b"connection: close\r\n\r\n" % len(content)
        )
        self.transport.write(STATUS_LINE[self._refusal.status] + head + content)
        self.transport.close()
        self._have_read()

    def _under_way(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete

    def _head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _make_room(self) -> bool:
        """Close the connection that has waited longest for a request; whether there was one."""
        oldest = next(iter(self.waiting), None)
        if oldest is None:
            return False
        del self.waiting[oldest]
        oldest.transport.abort()
        return True

    def _be_impatient(self) -> None:
        self._impatience = self.loop.call_later(self.settings.header_seconds, self._too_late)

    def _too_late(self) -> None:
        self._impatience = None
        if self._under_way() or self.transport.is_closing():
            return
        if self._head_open:
            self._refusal = HeadTooSlow
            self.send_400_response("")
        else:
            self.transport.close()
            self._have_read()

    def _have_read(self) -> None:
        """Break the connection off unless what is written is read within some time."""
        if self._unread is None:
            unread = self.transport.get_write_buffer_size()
            seconds = self.settings.write_seconds + unread / _LEAST_READ
            self._unread = self.loop.call_later(seconds, self.transport.abort)


def guarded(settings: ServerSettings) -> type[Guarded]:
    """The protocol of one server."""
    members = {"settings": settings, "waiting": {}, "addresses": Counter()}
    return type("GuardedConnection", (Guarded,), members)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
