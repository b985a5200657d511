"""Every fault there is. A new one is a coroutine with ``@fault``: it strikes, says what it did,
and has healed what it broke when it returns."""

import asyncio
import json
import os
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg

from tests.chaos import clock
from tests.chaos.providers import DISAPPOINTING, MISTAKEN, PROVIDERS, UNHEARD, WILLING
from tests.chaos.system import CLOCKED, System, clock_of

Strike = Callable[[System, random.Random], Awaitable[str]]


@dataclass(frozen=True)
class Fault:
    """A fault and its name.

    Attributes:
        latest: by what share of the submissions it strikes.
    """

    name: str
    strike: Strike
    latest: float = 0.95


FAULTS: list[Fault] = []


def fault(strike: Strike) -> Strike:
    """Enter a fault in the table."""
    FAULTS.append(Fault(strike.__name__.replace("_", " "), strike))
    return strike


def signing_fault(strike: Strike) -> Strike:
    """The same for one that somebody who signs has to meet: there are few of them, so it strikes
    while many are still to come."""
    FAULTS.append(Fault(strike.__name__.replace("_", " "), strike, latest=0.6))
    return strike


# Processes of services.


@fault
async def a_service_is_killed(system: System, chance: random.Random) -> str:
    service = chance.choice(system.services)
    async with system.held(service):
        system.stack.kill(service)
        await asyncio.sleep(chance.uniform(0, 1))
        system.stack.start(service)
        await system.back(service)
    return service


@fault
async def a_service_is_killed_twice_in_a_row(system: System, chance: random.Random) -> str:
    service = chance.choice(system.services)
    async with system.held(service):
        for pause in (chance.uniform(0.5, 1.5), 0.0):
            system.stack.kill(service)
            system.stack.start(service)
            await asyncio.sleep(pause)
        await system.back(service)
    return service


@fault
async def a_service_is_frozen(system: System, chance: random.Random) -> str:
    service, seconds = chance.choice(system.services), chance.uniform(1, 6)
    async with system.held(service):
        pid = system.stack.processes[service].pid
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(pid, signal.SIGCONT)
    return f"{service} for {seconds:.1f} s"


@fault
async def a_service_is_told_to_end(system: System, chance: random.Random) -> str:
    service = chance.choice(system.services)
    async with system.held(service):
        await asyncio.to_thread(system.stack.processes.pop(service).stop)
        system.stack.start(service)
        await system.back(service)
    return service


@fault
async def a_clock_is_stepped_and_set_right_again(system: System, chance: random.Random) -> str:
    """Needs libfaketime; elsewhere it does nothing and says so."""
    service, off = chance.choice(CLOCKED), chance.choice([-300, -45, 45, 300])
    if not system.clocks:
        return "not here: no libfaketime"
    async with system.held(f"clock of {service}"):
        file = clock_of(system.stack.plan.folder, service)
        clock.step(file, off)
        await asyncio.sleep(chance.uniform(2, 6))
        clock.step(file, 0)
    return f"{service} by {off} s"


# The broker.


_LEADERS_SECONDS = 2.0
"""Until the queues of a broker that has started have their leaders: one that is deleted or declared
before is broken by RabbitMQ 3.10 itself, and stays so."""


@fault
async def the_broker_is_killed(system: System, chance: random.Random) -> str:
    async with system.held("broker"):
        await asyncio.to_thread(system.stack.rabbit.kill)
        await asyncio.to_thread(system.stack.rabbit.start)
        await asyncio.sleep(_LEADERS_SECONDS)
    return ""


@fault
async def the_broker_restarts(system: System, chance: random.Random) -> str:
    async with system.held("broker"):
        await asyncio.to_thread(system.stack.rabbit.restart)
        await asyncio.sleep(_LEADERS_SECONDS)
    return ""


@fault
async def the_broker_freezes(system: System, chance: random.Random) -> str:
    seconds = chance.uniform(1, 8)
    async with system.held("broker"):
        system.stack.rabbit.freeze()
        await asyncio.sleep(seconds)
        system.stack.rabbit.thaw()
    return f"{seconds:.1f} s"


@fault
async def every_connection_to_the_broker_is_closed(system: System, chance: random.Random) -> str:
    for connection in await system.broker("GET", "/api/connections"):
        name = connection["name"].replace(" ", "%20").replace(">", "%3E")
        try:
            await system.broker("DELETE", f"/api/connections/{name}")
        except RuntimeError:
            pass  # it was gone by itself
    return ""


@fault
async def a_queue_is_deleted_by_mistake(system: System, chance: random.Random) -> str:
    async with system.held("broker"):
        queues = sorted(queue["name"] for queue in await system.broker("GET", "/api/queues/%2F"))
        ours = [queue for queue in queues if "." in queue and ".dead" not in queue]
        name: str = chance.choice(ours)
        await system.broker("DELETE", f"/api/queues/%2F/{name}")
        await asyncio.sleep(_LEADERS_SECONDS)  # and its consumers have declared it again
    return name


# The database.


@fault
async def the_database_crashes(system: System, chance: random.Random) -> str:
    """Immediate mode: no checkpoint, the log is replayed at the next start."""
    postgres = system.stack.postgres
    async with system.held("database"):
        await asyncio.to_thread(postgres.crash)
        await asyncio.sleep(chance.uniform(0, 1))
        await asyncio.to_thread(postgres.start)
        system.proxies.by_name["database"].target = postgres.port
    return ""


@fault
async def every_session_of_a_database_is_ended(system: System, chance: random.Random) -> str:
    name = chance.choice(sorted(system.stack.plan.databases)).replace("-", "_")
    async with system.held("database"):
        connection = await asyncpg.connect(system.stack.postgres.dsn)
        try:
            ended = await connection.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1",
                name,
            )
        finally:
            await connection.close()
    return f"{ended} of {name}"


# The wires.


def _wire(system: System, chance: random.Random) -> tuple[str, Any]:
    name = chance.choice(sorted(system.proxies.by_name))
    return name, system.proxies.by_name[name]


@fault
async def a_wire_is_slow(system: System, chance: random.Random) -> str:
    name, wire = _wire(system, chance)
    async with system.held(f"wire of {name}"):
        wire.delay = chance.uniform(0.02, 0.3)
        await asyncio.sleep(chance.uniform(1, 4))
        wire.heal()
    return name


@fault
async def a_wire_is_narrow(system: System, chance: random.Random) -> str:
    name, wire = _wire(system, chance)
    async with system.held(f"wire of {name}"):
        wire.rate = chance.uniform(20_000, 200_000)
        await asyncio.sleep(chance.uniform(1, 4))
        wire.heal()
    return name


@fault
async def a_wire_is_deaf(system: System, chance: random.Random) -> str:
    name, wire = _wire(system, chance)
    async with system.held(f"wire of {name}"):
        wire.hold()
        await asyncio.sleep(chance.uniform(1, 8))
        wire.heal()
    return name


@fault
async def a_wire_is_cut(system: System, chance: random.Random) -> str:
    name, wire = _wire(system, chance)
    async with system.held(f"wire of {name}"):
        for _ in range(chance.randrange(1, 4)):
            wire.cut()
            await asyncio.sleep(chance.uniform(0, 0.5))
    return name


# The partners.

_PROGRAMS = {
    "national-portal": ("DongBoHoSoMC", "CapNhatTienDoHoSoMC", "TraCuuHoSo", "login"),
    "emc": ("*",),
    **dict.fromkeys(PROVIDERS, ("*",)),
}
_MISBEHAVIOUR: tuple[dict[str, Any], ...] = (
    {"kind": "status", "code": 503},
    {"kind": "status", "code": 500, "work": True},
    {"kind": "status", "code": 429, "retry_after": 1},
    {"kind": "delay", "ms": 3000},
    {"kind": "delay", "ms": 3000, "after_work": True},
    {"kind": "drop_before"},
    {"kind": "drop_before", "reset": True},
    {"kind": "drop_after"},
    {"kind": "drop_after", "reset": True},
    {"kind": "half_open"},
    {"kind": "garbage"},
    {"kind": "garbage", "work": False},
    {"kind": "slow_drip", "ms": 10},
)


@fault
async def a_partner_misbehaves(system: System, chance: random.Random) -> str:
    program = chance.choice(sorted(_PROGRAMS))
    rule = dict(chance.choice(_MISBEHAVIOUR), on=chance.choice(_PROGRAMS[program]))
    await system.fault(program, times=chance.randrange(1, 4), **rule)
    return f"{program}: {json.dumps(rule)}"


@fault
async def a_partner_loses_every_session(system: System, chance: random.Random) -> str:
    forgetful = [name for name, one in PROVIDERS.items() if one.sessions]
    program = chance.choice(["national-portal", *forgetful])
    await system.fault(program, kind="session_lost", times=1)
    return program


# People who sign, and their providers.

_PEOPLE: tuple[dict[str, Any], ...] = (
    {"kind": "slow", "ms": 4000},
    {"kind": "refuse", "ms": 300},
    {"kind": "expire", "ms": 500},
    {"kind": "quota"},
)
_LOST: tuple[dict[str, Any], ...] = (
    {"kind": "drop_after"},
    {"kind": "drop_after", "reset": True},
    {"kind": "half_open"},
    {"kind": "garbage"},
    {"kind": "status", "code": 500, "work": True},
    {"kind": "status", "code": 503},
    {"kind": "status", "code": 429, "retry_after": 1},
)
"""What becomes of the answer to the call that asks a person; of the last two nobody was asked."""
_CALLBACKS: tuple[tuple[dict[str, Any], ...], ...] = (
    ({"kind": "replay_callback", "count": 3},),
    ({"kind": "late_callback", "ms": 4000}, {"kind": "replay_callback", "count": 3}),
    ({"kind": "early_callback"},),
    ({"kind": "no_callback"},),
)


async def _at(system: System, program: str, people: str, **rule: Any) -> str:
    """Let the call by which a provider asks a person go wrong."""
    one = PROVIDERS[program]
    await system.fault(program, on=one.asks, match=one.of(people), **rule)
    return f"{program}: {' '.join(str(value) for value in rule.values())}"


@signing_fault
async def signers_disappoint(system: System, chance: random.Random) -> str:
    """Of every provider some person is slow, says no, lets it be or has no signatures left."""
    times = {"times": chance.randrange(1, 3)}
    said = [
        await _at(system, program, DISAPPOINTING, **chance.choice(_PEOPLE), **times)
        for program in PROVIDERS
    ]
    return "; ".join(said)


@signing_fault
async def answers_of_providers_are_lost(system: System, chance: random.Random) -> str:
    """The person is asked, and nobody hears of it; or the provider fails over it."""
    said = [
        await _at(system, program, UNHEARD, **chance.choice(_LOST), times=1)
        for program in chance.sample(sorted(PROVIDERS), 3)
    ]
    return "; ".join(said)


@signing_fault
async def results_are_flawed(system: System, chance: random.Random) -> str:
    """Every provider gives out a signature by another's key, one that is none, or another
    document."""
    said = [
        await _at(system, program, MISTAKEN, kind=chance.choice(one.flaws), times=1)
        for program, one in PROVIDERS.items()
    ]
    return "; ".join(said)


@signing_fault
async def callbacks_go_astray(system: System, chance: random.Random) -> str:
    """They come again and again, late, too early, or never."""
    said = [
        await _at(system, program, WILLING, **rule, times=2)
        for program in (name for name, one in PROVIDERS.items() if one.calls_back)
        for rule in chance.choice(_CALLBACKS)
    ]
    return "; ".join(said)


# Messages that nobody sent like this.


@fault
async def messages_come_again_and_in_another_order(system: System, chance: random.Random) -> str:
    """What was published lately is published once more, shuffled."""
    name = f"chaos-{chance.randrange(10**9)}"
    queue = f"/api/queues/%2F/{name}"
    async with system.held("broker"):  # with whose end such a queue would be gone
        await system.broker("PUT", queue, {"durable": False, "auto_delete": False})
        binding = {"routing_key": "#", "arguments": {}}
        await system.broker("POST", f"/api/bindings/%2F/e/events/q/{name}", binding)
        await asyncio.sleep(1.0)
        taken = {"count": 60, "ackmode": "ack_requeue_false", "encoding": "auto"}
        got = await system.broker("POST", f"{queue}/get", taken)
        await system.broker("DELETE", queue)
    chance.shuffle(got)
    for message in got:
        await system.publish(message["routing_key"], message["payload"])
    return f"{len(got)} messages"


@fault
async def poison_is_published(system: System, chance: random.Random) -> str:
    key = chance.choice(["submission.received.v1", "dossier.received.v1", "signature.completed.v1"])
    poison = chance.choice(
        [
            "no JSON at all",
            "{}",
            json.dumps({"specversion": "1.0", "type": f"vn.gov.dvc.{key}", "data": {"at": 7}}),
            '{"specversion":"1.0","id":"' + "9" * 4000 + '"}',
        ]
    )
    await system.publish(key, poison)
    return f"{key}: {poison[:40]}"


# The file store.


@fault
async def the_file_store_is_full(system: System, chance: random.Random) -> str:
    """Needs a file system of its own (root mounts one); elsewhere it does nothing and says so."""
    room = system.stack.plan.folder / "blobs"
    if not room.is_mount():
        return "not here: the file store has no file system of its own"
    ballast = room / "ballast"
    async with system.held("file store"):
        # Unbuffered: what does not fit any more must not be written again by closing.
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(256 * 1024))
            except OSError:
                pass
        await asyncio.sleep(chance.uniform(1, 3))
        ballast.unlink()
    return ""


@fault
async def two_faults_at_once(system: System, chance: random.Random) -> str:
    two = chance.sample([one for one in FAULTS if one.strike is not two_faults_at_once], 2)
    own = [random.Random(chance.random()) for _ in two]
    said = await asyncio.gather(
        *(one.strike(system, draw) for one, draw in zip(two, own, strict=True))
    )
    return "; ".join(f"{one.name} {words}" for one, words in zip(two, said, strict=True))
