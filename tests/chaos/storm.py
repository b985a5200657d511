"""Load, and faults while it runs; then rest, and everybody's books held against each other."""

import asyncio
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
from rich.console import Console

from backbone.demo import play
from backbone.demo.client import ClientSystem, Sent
from backbone.demo.comparison import SIGNING, Check
from backbone.demo.flags import operators_side
from backbone.demo.lives import KINDS, Life, Procedure
from backbone.demo.lives import lives as make_lives
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.invariants import INVARIANTS, Evidence
from tests.chaos.providers import PROVIDERS, signer_of, spread
from tests.chaos.signings import Signings, signings, under_way
from tests.chaos.system import WITNESS, System

_AT_ONCE = 2
"""Faults that may be at work at the same time, besides those that are two by themselves."""
_DRAIN_SECONDS = 120.0
_ROUNDS_MORE = 3
PATIENCE = 600.0
"""Seconds that the client waits for a signature: a busy machine is no fault."""
_NO_HEALING = ("undecodable",)
_NEVER_STILL = "metrics-exporter.usage"
"""A queue that services fill every few seconds by themselves: it has drained once it was empty."""


@dataclass(frozen=True)
class Struck:
    """A fault that struck: after how many submissions, what it did, and for how long."""

    after: int
    name: str
    words: str
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What became of a storm.

    Attributes:
        signings: by provider, how many people did what, as its books say.
        code: which code went through it.
    """

    seed: int
    dossiers: int
    submissions: int
    struck: list[Struck]
    doubtful: dict[str, int]
    violations: dict[str, list[str]]
    published: int
    published_again: int
    load_seconds: float
    drain_seconds: float
    signings: dict[str, dict[str, int]] = field(default_factory=dict)
    code: str = ""


async def storm(
    system: System,
    *,
    seed: int,
    dossiers: int,
    faults: int,
    first: int = 1,
    only: Sequence[str] = (),
    patience: float = PATIENCE,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Play dossiers while faults strike; the same seed draws the same faults at the same places.

    Args:
        first: number of the first dossier, so that rounds on one system do not meet.
        only: names of the faults to draw from; all of them where none is named.
        patience: seconds that the client waits for a signature.
        say: hears of every fault.
    """
    plan = system.stack.plan
    client = plan.clients[0]
    load = ClientSystem(plan.url("gateway"), client.client_id, client.secret)
    procedures = await play.catalogue(load)
    draw = _Draw(procedures, seed, first)
    played = draw.lives(dossiers)
    total = sum(1 + len(life.steps) for life in played)
    await _empty_books(system)
    await system.calm()
    await system.watch()
    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        thunder = tasks.create_task(_strike(system, load, drawn(seed, faults, total, only), say))
        await _play(load, played, patience)
        struck = await thunder
    await _meet_the_rest(system, load, draw, patience)
    loaded = time.monotonic()
    unmet = await system.unmet()
    await _calm(system)
    await play.arrived(Console(quiet=True), system.stack.outside, load.book)
    evidence = await _evidence(system, load, unmet)
    return Outcome(
        seed=seed,
        dossiers=len(load.book.sent),
        submissions=load.book.submissions,
        struck=struck,
        doubtful={check.what: check.doubtful for check in evidence.checks if check.doubtful},
        violations={
            check.__name__.replace("_", " "): found
            for check in INVARIANTS
            if (found := list(check(evidence)))
        },
        published=len(evidence.published),
        published_again=sum(times > 1 for times in evidence.published.values()),
        load_seconds=loaded - began,
        drain_seconds=time.monotonic() - loaded,
        signings=evidence.signings.told(),
    )


@dataclass
class _Draw:
    """Lives of one storm, each with a number of its own."""

    procedures: list[Procedure]
    seed: int
    first: int
    drawn: int = 0

    def lives(self, count: int) -> list[Life]:
        """So many more."""
        seed = self.seed + self.drawn
        first = self.first + self.drawn
        self.drawn += count
        return spread(make_lives(count, play.AGENCIES, self.procedures, seed, first), seed)

    def to_meet(self, program: str, rule: Mapping[str, Any]) -> Life:
        """One more, whose signer is to be struck by a provider's rule."""
        while True:
            for life in self.lives(len(KINDS)):
                person, asks = signer_of(life) or ("", "")
                willing = life.kind == "signed" and asks == program
                if willing and PROVIDERS[program].meets(person, rule["match"]):
                    return life


async def _play(load: ClientSystem, played: list[Life], patience: float) -> None:
    await load.play(played, at_once=96, living=400, signature_seconds=patience, step_done=_ignore)


async def _meet_the_rest(system: System, load: ClientSystem, draw: _Draw, patience: float) -> None:
    """Faults that struck so late that nobody of that provider was left to meet them are met by
    further dossiers."""
    for _ in range(_ROUNDS_MORE):
        unmet = await system.unmet()
        if not unmet:
            return
        more = [draw.to_meet(program, rule) for program, rule in unmet]
        await _play(load, more, patience)


def drawn(
    seed: int, faults: int, total: int, only: Sequence[str] = ()
) -> list[tuple[int, Fault, random.Random]]:
    """Which faults strike after how many submissions: every kind once before any comes again."""
    chance = random.Random(seed)
    kinds: list[Fault] = []
    while len(kinds) < faults:
        known = [one for one in FAULTS if not only or one.name in only]
        kinds += chance.sample(known, len(known))
    placed = [(int(chance.random() * total * kind.latest), kind) for kind in kinds[:faults]]
    placed.sort(key=lambda one: one[0])
    return [
        (place, kind, random.Random(f"{seed}:{number}"))
        for number, (place, kind) in enumerate(placed)
    ]


async def _strike(
    system: System,
    load: ClientSystem,
    faults: list[tuple[int, Fault, random.Random]],
    say: Callable[[str], None],
) -> list[Struck]:
    struck: list[Struck] = []
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(place: int, fault: Fault, chance: random.Random) -> None:
        began = time.monotonic()
        try:
            words = await fault.strike(system, chance)
        finally:
            turn.release()
        struck.append(Struck(place, fault.name, words, time.monotonic() - began))
        say(f"after {place}: {fault.name} {words}".rstrip())

    async with asyncio.TaskGroup() as tasks:
        for place, fault, chance in faults:
            while load.book.submissions < place:
                await asyncio.sleep(0.02)
            await turn.acquire()
            tasks.create_task(one(place, fault, chance))
    return struck


def _ignore(_: Sent) -> None:
    pass


async def _empty_books(system: System) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        for program in system.programs:
            (await http.delete(f"{system.outside(program)}/_books")).raise_for_status()


async def _calm(system: System) -> None:
    """Every fault is over: partners behave, wires are whole."""
    for proxy in system.proxies.by_name.values():
        proxy.heal()
    await system.calm()


async def _evidence(
    system: System, load: ClientSystem, unmet: Sequence[tuple[str, Mapping[str, Any]]]
) -> Evidence:
    plan = system.stack.plan
    operator = plan.clients[1]
    desk = ClientSystem(plan.url("gateway"), operator.client_id, operator.secret)
    ask = operators_side(desk, plan.url("national-portal-sync"), plan.url("metrics-exporter"))
    parked: dict[str, list[str]] = {}
    undelivered: dict[str, int] = {}
    unpublished: dict[str, int] = {}
    waiting: dict[str, int] = {}
    usage = sys.maxsize
    # What is drained a moment later was not stuck: retries have their own rhythm.
    deadline = time.monotonic() + _DRAIN_SECONDS
    while True:
        for service in plan.databases:
            rows = await _at_rest(system, service)
            parked[service], undelivered[service], unpublished[service] = rows
        waiting = await asyncio.to_thread(system.stack.rabbit.queue_depths)
        waiting.pop(WITNESS, None)
        usage = min(usage, waiting.get(_NEVER_STILL, 0))
        waiting[_NEVER_STILL] = usage
        still = (
            await under_way(system)
            + sum(map(len, parked.values()))
            + sum(undelivered.values())
            + sum(unpublished.values())
            + sum(waiting.values())
        )
        if not still or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.5)
    checks = await play.held_against(load, system.stack.outside, ask)
    found = await signings(system, load, unmet)
    return Evidence(
        book=load.book,
        checks=[_signing(found) if check.what == SIGNING else check for check in checks],
        parked=parked,
        waiting=waiting,
        undelivered=undelivered,
        unpublished=unpublished,
        published=await system.published(),
        signings=found,
    )


def _signing(found: Signings) -> Check:
    """Who was asked, by whichever provider; what is wrong with it is for the invariants."""
    held = sum(one.signing == "held" for one in found.all)
    return Check(SIGNING, len(found.all), sum(one.times for one in found.all), held)


async def _at_rest(system: System, service: str) -> tuple[list[str], int, int]:
    """What waits in a service's database."""
    postgres, name = system.stack.postgres, service.replace("-", "_")
    connection = await asyncpg.connect(postgres.dsn.rsplit("/", 1)[0] + f"/{name}")
    try:
        rows = await connection.fetch(
            "SELECT consumer, reason, coalesce(type, '') AS type, coalesce(error, '') AS error"
            " FROM parked WHERE reason <> ALL($1)",
            list(_NO_HEALING),
        )
        undelivered = 0
        if await connection.fetchval("SELECT to_regclass('delivery') IS NOT NULL"):
            undelivered = await connection.fetchval(
                "SELECT count(*) FROM delivery WHERE state <> 'held'"
            )
        unpublished = await connection.fetchval("SELECT count(*) FROM outbox")
    finally:
        await connection.close()
    parked = [f"{row['consumer']}: {row['reason']} {row['type']} {row['error']}" for row in rows]
    return parked, undelivered, unpublished
