"""What the chain's benchmark works out of what it has measured."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from benchmarks.chain.gate import Reference, ratios, verdict
from benchmarks.chain.portal_books import Journal
from benchmarks.chain.statements import statements
from benchmarks.chain.table import BEGIN, END, markdown, put
from benchmarks.chain.usage import percentile
from benchmarks.peers.clients import code_of, requests
from benchmarks.peers.group_commit import Together
from benchmarks.peers.portal import Books

ROOT = Path(__file__).parents[2]


def a_round(rate, cpu, **changed):
    return {
        "rate": rate,
        "intake_rate": rate,
        "elsewhere": 0.01,
        "cpu": cpu,
        "cpu_by_role": {"intake": cpu / 2, "PostgreSQL": cpu / 2},
        "cpu_beside": {"load": 0.1},
        "memory": {"intake": {"resident": 40.0, "private": 20.0}},
        "written": {"log": 5000.4, "size": 6000.0, "broker": 2500.0, "transactions": 0.5},
        "stages": {"intake answers": {"p50": 10.0, "p99": 20.0}},
        **changed,
    }


def a_result(**changed):
    return {
        "command": "python -m benchmarks.chain",
        "code": "code 1234567",
        "cores": 2,
        "agencies": 200,
        "bytes": 2049,
        "count": 20_000,
        "rounds": 3,
        "connections": 32,
        "delay": 0.02,
        "chains": {
            "least": [a_round(1000, 0.5), a_round(400, 1.0), a_round(1000, 0.5)],
            "ours": [a_round(220, 2.0), a_round(100, 3.0), a_round(200, 2.2)],
        },
        **changed,
    }


def cells(table, label):
    """The cells of the row with this label."""
    found = re.search(rf"^\| {re.escape(label)} \|(.*) \|$", table, re.MULTILINE)
    assert found, label
    return [cell.strip() for cell in found[1].split("|")]


def test_the_table_shows_medians_of_the_rounds():
    table = markdown(a_result())
    assert cells(table, "end to end, per second") == ["1,000", "200"]
    assert cells(table, "**CPU seconds per 1,000**") == ["0.50", "2.20"]


def test_ratios_are_taken_round_by_round_so_that_a_busy_minute_weighs_on_both():
    table = markdown(a_result())
    assert cells(table, "… of least") == ["100%", "22%"]
    assert cells(table, "… times least") == ["1.0", "4.0"]


def test_of_replicas_cpu_time_is_added_and_the_largest_memory_shown():
    twice = a_round(
        300,
        2.0,
        cpu_by_role={"gateway": 0.5, "gateway/2": 0.25},
        memory={
            "gateway": {"resident": 100.0, "private": 70.0},
            "gateway/2": {"resident": 90.0, "private": 80.0},
        },
    )
    table = markdown(a_result(chains={"ours-twice": [twice]}))
    assert cells(table, "CPU gateway") == ["0.750"]
    assert cells(table, "MiB gateway, RSS / USS") == ["100 / 80"]


def test_statements_are_shown_as_a_whole_and_ours_by_database():
    found = {"least": {"peers_intake": 0.02}, "ours": {"dossier": 0.5, "gateway": 1.25}}
    table = markdown(a_result(statements=found))
    assert cells(table, "statements per request") == ["0.02", "1.75"]
    assert "per request: gateway 1.25, dossier 0.50." in table


def test_a_pipeline_that_could_not_run_is_named():
    assert "Not run: celery (no index)." in markdown(a_result(not_run={"celery": "no index"}))


def test_with_many_stored_the_change_is_that_against_the_least_chain():
    stored = {
        "count": 100_000,
        "least": [a_round(500, 1.0)] * 3,
        "ours": [a_round(110, 4.4)] * 3,
    }
    told = markdown(a_result(stored=[stored]))
    assert "With 100,000 dossiers stored: 1.10 times the CPU time and 1.00 times the rate" in told


def test_the_table_goes_between_the_marks_of_the_document():
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert put("| new |\n", document) == f"before\n{BEGIN}\n\n| new |\n\n{END}\nafter\n"


def test_a_document_without_marks_is_left_alone():
    with pytest.raises(ValueError, match="no place for the figures"):
        put("| new |", "nothing here")


def test_the_document_has_a_place_for_the_table():
    put("", (ROOT / "docs/performance.md").read_text("utf-8"))


KEPT = Reference(cpu_ratio=4.0, margin=0.2, count=3000, rounds=3)


@pytest.mark.parametrize(
    ("found", "status"), [([4.7, 4.9, 4.8], 0), ([4.7, 5.1, 4.9], 1), ([9.0, 4.1, 4.2], 0)]
)
def test_the_gate_compares_the_median_with_what_is_kept_and_the_margin(found, status):
    ended, sentence = verdict(found, KEPT)
    assert ended == status
    assert sentence.startswith("SLOWER" if status else "as fast as before")
    assert "4.80" in sentence


def test_the_gate_takes_the_ratio_of_each_round():
    pairs = [(a_round(1, 4.0), a_round(1, 1.0)), (a_round(1, 9.0), a_round(1, 3.0))]
    assert ratios(pairs, busy=0.15) == [4, 3]


def test_the_gate_does_not_judge_by_rounds_in_which_others_took_the_machine():
    quiet = a_round(1, 4.0), a_round(1, 1.0)
    busy = a_round(1, 40.0, elsewhere=0.5), a_round(1, 1.0)
    assert ratios([quiet, busy, quiet], busy=0.15) == [4, 4]
    status, sentence = verdict(ratios([quiet, busy, busy], busy=0.15), KEPT)
    assert status == 2
    assert sentence.startswith("NOT JUDGED")


def test_a_reference_is_committed():
    kept = Reference.kept()
    assert kept.cpu_ratio > 1
    assert 0 < kept.margin <= 0.5


def test_statements_are_counted_by_database_each_once():
    log = [
        "in gateway: LOG:  statement: BEGIN;\n",
        "in gateway: LOG:  execute __asyncpg_stmt_3__: INSERT INTO submission\n",
        "\tVALUES ($1)\n",
        "in dossier: LOG:  execute <unnamed>: SELECT 1\n",
        "in dossier: ERROR:  canceling statement due to user request\n",
        "2026-11-22 08:00:00 UTC [7] LOG:  checkpoint starting: time\n",
    ]
    assert statements(log) == {"gateway": 2, "dossier": 1}


def call(number, kept, codes, *, at=100.0, outcome="accepted"):
    record = {"number": number, "time": at, "service": "DongBoHoSoMC", "outcome": outcome}
    items = [{"MaHoSo": code} for code in codes]
    record |= {"end": "open", "items": len(codes), "kept": {kept: items}}
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


async def test_the_portals_journal_tells_when_each_dossier_was_accepted(tmp_path):
    file = tmp_path / "books.jsonl"
    file.write_bytes(
        call(1, "created", ["A-1", "A-2"], at=100.0)
        + call(2, "created", ["A-3"], outcome="refused 3")
        + call(3, "updated", ["A-1"], at=101.0)
        + call(4, "steps", ["A-1"], at=102.0)
    )
    journal = Journal(file, (b"created",), delay=0.5)
    assert await journal.known() == (2, 100.5)
    assert await journal.times() == {"A-1": 100.5, "A-2": 100.5}
    assert await Journal(file, (b"created", b"steps"), delay=0.0).known() == (3, 102.0)


async def test_a_line_that_is_being_written_is_read_once_it_is_whole(tmp_path):
    file = tmp_path / "books.jsonl"
    journal = Journal(file, (b"created",), delay=0.0)
    assert await journal.known() == (0, 0.0)
    line = call(1, "created", ["A-1"])
    file.write_bytes(line[:-10])
    assert await journal.known() == (0, 0.0)
    file.write_bytes(line)
    assert await journal.known() == (1, 100.0)


def test_a_percentile_is_a_value_that_was_measured():
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0] * 98 + [7.0, 9.0], 0.99) == 9.0


def test_every_request_hands_in_a_dossier_and_a_person_of_its_own():
    asked = requests("/v1/dossiers", 3, {}, agencies=("H01", "H02"))
    assert len({code_of(one) for one in asked}) == 3
    assert (
        len({number for one in asked for number in re.findall(rb'"number":"(\d{12})"', one)}) == 3
    )
    assert code_of(b'{"kind":"receive"}') is None


async def test_the_floor_writes_together_what_waits_at_the_same_moment():
    batches = []

    async def write(rows):
        batches.append(list(rows))
        await asyncio.sleep(0)

    together = Together(write)
    await asyncio.gather(*(together.add(number) for number in range(10)))
    assert sorted(row for batch in batches for row in batch) == list(range(10))
    assert len(batches) <= 3


async def test_the_floor_answers_nobody_whose_batch_was_not_written():
    async def write(rows):
        raise ConnectionError

    together = Together(write)
    told = await asyncio.gather(*(together.add(n) for n in range(3)), return_exceptions=True)
    assert [type(one) for one in told] == [ConnectionError] * 3


def test_the_counting_portal_counts_a_code_once():
    books = Books()
    assert books.take(b'{"data":[{"code":"A"},{"code":"B"}]}') == b'{"error_code":"0"}'
    books.take(b'{"data":[{"code":"B"}]}')
    assert (len(books.times), books.again) == (2, 1)
    assert books.take(json.dumps({"data": [{"code": "C"}] * 101}).encode()) == b'{"error_code":"1"}'


@pytest.mark.parametrize("framework", ["celery", "faststream", "psycopg"])
def test_the_frameworks_of_the_reference_pipelines_are_not_ours(framework):
    line = re.compile(rf"^{framework}==", re.MULTILINE)
    assert line.search((ROOT / "benchmarks/peers/requirements.lock").read_text())
    for ours in ("requirements.lock", "requirements.services.lock"):
        assert not line.search((ROOT / ours).read_text())
