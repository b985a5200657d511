"""The document that says what was proved, by which command."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.chaos.rounds import DOSSIERS, FAULTS, finished
from tests.chaos.storm import Outcome

DOCUMENT = Path("docs/proof/chaos.md")
_MUTANTS = Path("docs/proof/chaos-mutants.json")
_MOST_NAMED = 10
_FOUND = (
    (
        "a claim that was committed without its worker hearing of it: what it held was stuck",
        "`test_delivery.py`, `test_signature_interrupted.py`",
    ),
    (
        "a queue broken inside the broker took all other queues of a process with it",
        "`test_transport_faults.py`",
    ),
    (
        "a queue deleted while a process came back from a lost connection was made again unnoticed",
        "`test_transport_faults.py`, `test_inbox_backfill.py`",
    ),
    (
        "of two dossiers in a call that was refused for one of them the other one was held, too",
        "`test_delivery.py`",
    ),
    (
        "a proxy's page with a good status passed for the monitoring endpoint's answer",
        "`test_metrics_exporter_partners.py`",
    ),
)
"""Faults that storms brought to light, and the tests that keep them mended."""


_SIGNING = (
    "## Signing",
    "",
    "Results are signed through five dialects, each with people of its own: the eSign gateway, and",
    "SmartCA (QĐ 769), MySign, CSC v1 and v2 in one process, known to the connector by a mounted",
    "file and reached by wires that break. Callbacks reach it over one, too. Of the faults these",
    "are people's and providers': slow, refusing and missing persons, a used-up quota, an answer",
    "lost after signing, 5xx and 429, lost sessions, callbacks that come again, late, early or",
    "never, and results with another's signature, a bad one, or of a changed or another document.",
    "",
    "How each request must end is read from the providers' books when all is over: a person is",
    "asked once, by one provider; a refusal, an end of patience and a quota are outcomes; what is",
    "flawed fails with the finding in its evidence, and is neither a dossier's result nor the",
    "portal's; what is sound is completed, and the file fetched by the portal's link begins with",
    "what was sent and is signed by the person asked, over all of it (`signatures.py` there).",
    "Held for an operator is right only where an answer was lost about which nobody can be asked.",
    "At last every callback comes once more, and must change nothing. A storm fails in which a",
    "provider completed nothing, held most, or a fault at one was met by nobody.",
)


def told(outcome: Outcome) -> str:
    """One storm in words."""
    lines = [
        f"seed {outcome.seed}: {outcome.dossiers} dossiers, {outcome.submissions} submissions",
        f"{len(outcome.struck)} faults; load {outcome.load_seconds:.0f} s",
        f"at rest {outcome.drain_seconds:.0f} s later",
        f"{outcome.published} events, {outcome.published_again} of them published more than once",
        *(f"in doubt and flagged: {count} {what}" for what, count in outcome.doubtful.items()),
        *(
            f"{program}: {', '.join(f'{count} {end}' for end, count in ends.items())}"
            for program, ends in outcome.signings.items()
        ),
    ]
    for name, found in outcome.violations.items():
        lines.append(f"VIOLATED {name}: {len(found)}")
        lines += [f"  {one}" for one in found[:_MOST_NAMED]]
    if not outcome.violations:
        lines.append("nothing lost, nothing doubled")
    return "\n".join(lines)


def write(mutants: Mapping[str, str | None] | None = None) -> None:
    """Write the document from the rounds so far and the latest run of the mutants.

    Args:
        mutants: what caught each mutant; None for one that survived.
    """
    if mutants is not None:
        _MUTANTS.write_text(json.dumps(mutants, ensure_ascii=False, indent=1) + "\n", "utf-8")
    caught = json.loads(_MUTANTS.read_text("utf-8")) if _MUTANTS.exists() else {}
    DOCUMENT.write_text("\n".join(_lines(finished(), caught)) + "\n", "utf-8")


def _lines(done: list[Outcome], caught: Mapping[str, str | None]) -> list[str]:
    kinds = Counter(struck.name for outcome in done for struck in outcome.struck)
    doubtful: Counter[str] = Counter()
    for outcome in done:
        doubtful.update(outcome.doubtful)
    before = dict.fromkeys(one.code for one in done if not one.signings)
    violations = sum(len(found) for one in done for found in one.violations.values())
    return [
        "# Proof against faults",
        "",
        "Real processes, a real RabbitMQ and PostgreSQL; every invariant is checked against the",
        "books of the client and of the outside systems (`tests/chaos/invariants.py`).",
        "",
        *_SIGNING,
        "",
        "## Rounds: `make chaos FULL=1`",
        "",
        f"It goes on until there are {DOSSIERS:,} dossiers and {FAULTS:,} faults. Every round is a",
        "line of `chaos-rounds.jsonl`. One of them again, with its seed:",
        "`make chaos SEED=8001 DOSSIERS=5000 FAULTS=50`. A round that found something wrong is",
        "gone through again after the mend, and what it found stands below.",
        *(["In rounds of " + ", ".join(before) + " the gateway alone signed."] if before else []),
        "",
        "| what | count |",
        "|---|---:|",
        f"| rounds | {len(done)} |",
        f"| seeds | {', '.join(str(one.seed) for one in done)} |",
        f"| code | {', '.join(dict.fromkeys(one.code for one in done))} |",
        f"| dossiers | {sum(one.dossiers for one in done):,} |",
        f"| submissions (202) | {sum(one.submissions for one in done):,} |",
        f"| faults | {sum(len(one.struck) for one in done):,} |",
        f"| events | {sum(one.published for one in done):,} |",
        f"| … published more than once (harmless) | {sum(one.published_again for one in done):,} |",
        *(f"| in doubt and flagged: {what} | {count} |" for what, count in doubtful.items()),
        f"| lost or doubled | {violations} |",
        "",
        "| fault | times |",
        "|---|---:|",
        *(f"| {kind} | {count} |" for kind, count in sorted(kinds.items())),
        "",
        "## Mutants: `make chaos MUTANTS=1`",
        "",
        "Each takes one guarantee out of the code; the same storm must then fail.",
        "",
        "| what was removed | caught by |",
        "|---|---|",
        *(f"| {name} | {by or '**survived**'} |" for name, by in caught.items()),
        "",
        "## What storms brought to light",
        "",
        "| fault, mended since | kept by |",
        "|---|---|",
        *(f"| {fault} | {tests} |" for fault, tests in _FOUND),
    ]
