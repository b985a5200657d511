"""Clients that hand in dossiers over kept connections, and what it cost whoever took them."""

import asyncio
import itertools
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import httptools
import httpx
import orjson
import psutil

from tests.support.gateway import PROCEDURE, submission

ACCEPTED = 202
_numbers = itertools.count(1)
_CODE = re.compile(rb'"code":"([^"]+)"')


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def listening(port: int) -> None:
    """Wait until a program answers.

    Raises:
        TimeoutError: it does not within a minute.
    """
    async with httpx.AsyncClient(trust_env=False) as http:
        for _ in range(600):
            try:
                await http.get(f"http://127.0.0.1:{port}/healthz")
            except httpx.TransportError:
                await asyncio.sleep(0.1)
            else:
                return
    raise TimeoutError


def requests(
    path: str,
    count: int,
    headers: Mapping[str, str],
    *,
    agencies: Sequence[str] = ("H56.14",),
    procedure: str = PROCEDURE,
) -> list[bytes]:
    """Requests as they go over the wire: dossiers of some 2 KB, each with a code of its own and of
    a person of its own.

    Args:
        agencies: whose they are, in turn.
    """
    return list(itertools.islice(_requests(path, headers, agencies, procedure), count))


def _requests(
    path: str, headers: Mapping[str, str], agencies: Sequence[str], procedure: str
) -> Iterator[bytes]:
    papers = [
        {
            "id": f"TL{n:02d}",
            "name": "Giấy chứng nhận quyền sử dụng đất, bản sao",
            "digitised": True,
            "url": f"https://kho.example.vn/ho-so/2026/{n:08d}.pdf",
        }
        for n in range(10)
    ]
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
    for number in _numbers:
        agency = agencies[number % len(agencies)]
        code = f"{agency}-2611{number // 10_000_000 % 28 + 1:02d}-{number % 10_000_000:07d}"
        told = submission(code, documents=papers, procedure=procedure)
        told["applicant"]["identity"]["number"] = f"079{number:09d}"
        yield request(path, orjson.dumps(told), lines)


def request(path: str, body: bytes, lines: bytes = b"") -> bytes:
    """A POST of JSON as it goes over the wire, with further header lines."""
    return (
        b"POST %s HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n%s\r\n%s" % (path.encode(), len(body), lines, body)
    )


def code_of(request: bytes) -> str | None:
    """The code of the dossier that a request hands in; None where it hands none in."""
    found = _CODE.search(request)
    return found[1].decode() if found else None


class _Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def ask(self, request: bytes) -> asyncio.Future[int]:
        self.answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.parser = httptools.HttpResponseParser(self)
        self.transport.write(request)  # type: ignore[attr-defined]
        return self.answered

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.answered.set_result(self.parser.get_status_code())

    def connection_lost(self, error: Exception | None) -> None:
        if hasattr(self, "answered") and not self.answered.done():
            self.answered.set_exception(error or ConnectionResetError())


@dataclass
class Load:
    """What a round showed.

    Attributes:
        accepted: answers of 202.
        refused: other answers, by status.
        seconds: it took.
        latencies: seconds each, sorted.
        answered: when each that was accepted was answered (seconds since 1970), by its place.
        cpu: CPU seconds by whom.
    """

    accepted: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    answered: dict[int, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Accepted a second."""
        return self.accepted / self.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds within which that share was answered."""
        return self.latencies[min(int(len(self.latencies) * share), len(self.latencies) - 1)] * 1e3

    def cpu_ms(self, who: str) -> float:
        """Milliseconds of CPU for each accepted one."""
        return self.cpu[who] / max(self.accepted, 1) * 1e3


async def load(
    port: int | Sequence[int],
    asked: Sequence[bytes],
    *,
    connections: int,
    rate: float | None = None,
    watched: Mapping[str, Sequence[int]] | None = None,
    settle: float = 0.0,
) -> Load:
    """Hand requests in, as fast as they are answered, or at a rate.

    Args:
        port: where to; of several each has its share of the connections.
        rate: requests a second; a latency counts from when its request was due.
        watched: process ids (with their children), by whom.
        settle: seconds after the last answer in which CPU time still counts.
    """
    loop = asyncio.get_running_loop()
    found = Load()
    todo = iter(enumerate(asked))
    ports = [port] if isinstance(port, int) else port
    lines = [
        (await loop.create_connection(_Connection, "127.0.0.1", ports[number % len(ports)]))[1]
        for number in range(connections)
    ]
    before = {who: cpu_of(pids) for who, pids in (watched or {}).items()}
    start = time.perf_counter()

    async def client(line: _Connection) -> None:
        for number, request in todo:
            begun = time.perf_counter()
            if rate:
                due = start + number / rate
                if due > begun:
                    await asyncio.sleep(due - begun)
                begun = due
            status = await line.ask(request)
            found.latencies.append(time.perf_counter() - begun)
            if status == ACCEPTED:
                found.accepted += 1
                found.answered[number] = time.time()
            else:
                found.refused[status] += 1

    await asyncio.gather(*(client(line) for line in lines))
    found.seconds = time.perf_counter() - start
    await asyncio.sleep(settle)
    found.cpu = {who: cpu_of(pids) - before[who] for who, pids in (watched or {}).items()}
    found.latencies.sort()
    for line in lines:
        line.transport.close()
    return found


def cpu_of(pids: Sequence[int]) -> float:
    """CPU seconds of processes and their children, those that have ended included."""
    seconds = 0.0
    for process in trees(pids):
        try:
            seconds += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return seconds


def trees(pids: Sequence[int]) -> list[psutil.Process]:
    """Processes with all their children."""
    roots = [psutil.Process(pid) for pid in pids]
    return [process for root in roots for process in (root, *root.children(recursive=True))]
