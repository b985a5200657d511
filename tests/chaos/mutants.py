"""Guarantees taken out of the code, one at a time: the storm has to notice each."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 900
_PATIENCE_SECONDS = 30.0
"""What a mutant has lost need not be waited for."""


@dataclass(frozen=True)
class Mutant:
    """A change that removes a guarantee.

    Attributes:
        package: folder of the packages that it is in.
        file: below that.
        old, new: what stands there, once, and what takes its place.
        only: the faults that bring out what is missing.
        seed, dossiers, faults: the storm that is to catch it.
    """

    name: str
    package: str
    file: str
    old: str
    new: str
    only: tuple[str, ...] = ()
    seed: int = 1
    dossiers: int = 300
    faults: int = 25


_COMMON = "libs/common/src"
_GATEWAY = "services/gateway/src"
_CONNECTOR = "services/signature-connector/src"

MUTANTS = (
    Mutant(
        "the position check of ordered events",
        _COMMON,
        "common/inbox.py",
        "            if event.sequence == last[event.stream] + 1:\n",
        "            if True:\n",
        only=("messages come again and in another order",),
        faults=5,
    ),
    Mutant(
        "the lock of the outbox's parts",
        _COMMON,
        "common/outbox.py",
        "    FOR UPDATE SKIP LOCKED\n",
        "",
        faults=0,
    ),
    Mutant(
        "acknowledging only after the commit",
        _COMMON,
        "common/transport/rabbitmq_consumer.py",
        "            await self._handler([message.body for message in batch])\n"
        "            await lower.basic_ack(batch[-1].delivery_tag, multiple=True, wait=False)\n",
        "            await lower.basic_ack(batch[-1].delivery_tag, multiple=True, wait=False)\n"
        "            await asyncio.sleep(0.2)\n"
        "            await self._handler([message.body for message in batch])\n",
        only=("a service is killed",),
    ),
    Mutant(
        "asking about unknown outcomes and flagging what cannot be asked about",
        _COMMON,
        "common/delivery/deliverer.py",
        '            state, wait, reason = "unknown", _wait(item, outcome), reason or "not known"\n'
        "            doubled = doubled or partner.ability(item.kind) is Ability.NONE\n",
        "            wait = _wait(item, outcome)\n",
        only=("a partner misbehaves",),
    ),
    Mutant(
        "committing before the 202",
        _GATEWAY,
        "gateway/use_cases/intake.py",
        "        async with self._outbox.transaction() as unit:\n"
        "            return await self._decide(unit, wishes)\n",
        "        import asyncio\n\n"
        "        transaction = self._outbox.transaction()\n"
        "        unit = await transaction.__aenter__()\n"
        "        answers = await self._decide(unit, wishes)\n\n"
        "        async def later() -> None:\n"
        "            await asyncio.sleep(0.3)\n"
        "            await transaction.__aexit__(None, None, None)\n\n"
        "        self._later = asyncio.create_task(later())\n"
        "        return answers\n",
        only=("a service is killed", "every session of a database is ended"),
    ),
    Mutant(
        "the verdict on what came back signed",
        _CONNECTOR,
        "signature_connector/use_cases/finishing.py",
        "        if report.refusal:\n"
        "            return failed(report.refusal, facts)\n"
        '        told = report.facts["signature"]["signed_at"]\n',
        '        told = report.facts.get("signature", {}).get("signed_at")\n',
        only=("results are flawed",),
        faults=3,
    ),
    Mutant(
        "not asking a person again whose answer was lost",
        _CONNECTOR,
        "signature_connector/use_cases/asking.py",
        '                finding = refused("unclear-answer", answer.reason)\n'
        "                return unclear(request, finding, facts, self.patience.news)\n",
        "                return self._never_sent(request, NeverSent(answer.reason), facts)\n",
        only=("answers of providers are lost",),
        dossiers=150,
        faults=3,
    ),
)


def mutated(mutant: Mutant) -> str:
    """The code of the file that a mutant changes, changed.

    Raises:
        ValueError: what it changes is not there any more, or more than once.
    """
    code = (ROOT / mutant.package / mutant.file).read_text("utf-8")
    if code.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: {mutant.file} has changed")
    return code.replace(mutant.old, mutant.new)


def survives(mutant: Mutant, folder: Path, say: Callable[[str], None]) -> str | None:
    """Run a storm over the mutant; which invariant caught it, None where none did.

    Raises:
        ValueError: see ``mutated``.
    """
    changed = mutated(mutant)
    copy = folder / "mutant"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ROOT / mutant.package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / mutant.file).write_text(changed, "utf-8")
    say(f"without {mutant.name} …")
    numbers = (mutant.seed, mutant.dossiers, mutant.faults)
    result = folder / "mutant.json"
    result.unlink(missing_ok=True)
    places = (str(folder), str(result))
    ended = subprocess.run(
        [sys.executable, "-m", "tests.chaos.mutants", *map(str, numbers), *places, *mutant.only],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(copy.absolute()), str(ROOT)])},
        check=False,
        timeout=_SECONDS,
        capture_output=True,
        text=True,
    )
    if not result.exists():
        last = [line.strip(" |") for line in ended.stderr.splitlines() if "Error" in line]
        words = last[-1] if last else "no word"
        caught: str | None = f"the storm did not come to its end: {words[:300]}"
    else:
        found = json.loads(result.read_text("utf-8"))
        caught = "; ".join(f"{name} ({len(said)})" for name, said in found.items()) or None
    say(f"  {caught or 'SURVIVED'}")
    return caught


def _run(
    seed: int, dossiers: int, faults: int, folder: Path, result: Path, only: list[str]
) -> None:
    """The storm of one mutant, in a process that has its code."""
    import uvloop

    from tests.chaos.rounds import one_storm

    outcome = uvloop.run(
        one_storm(
            folder, seed, dossiers, faults, lambda _: None, only=only, patience=_PATIENCE_SECONDS
        )
    )
    result.write_text(json.dumps(outcome.violations, ensure_ascii=False), "utf-8")


if __name__ == "__main__":
    drawn = [int(number) for number in sys.argv[1:4]]
    _run(drawn[0], drawn[1], drawn[2], Path(sys.argv[4]), Path(sys.argv[5]), sys.argv[6:])
