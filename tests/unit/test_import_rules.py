"""Each import rule of pyproject.toml bites: a tree that keeps all of them passes, and every planted
violation is found by the rule that is there for it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINTER = Path(sys.executable).with_name("lint-imports")
RULES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
SERVICES = ["catalog", "dossier", "gateway"]
SERVICES += ["metrics_exporter", "national_portal_sync", "signature_connector"]

# What every service may do, from its entry down to its domain.
ROOMS = {
    "__init__": "",
    "__main__": "from {service} import main, settings",
    "main": "import fastapi\nfrom {service} import api, consumers, settings",
    "settings": "import common.service",
    "api": "import fastapi\nfrom {service} import use_cases",
    "consumers": "from {service} import use_cases",
    "use_cases": "from {service} import clients, domain, store",
    "store": "import sqlalchemy\nfrom {service} import domain",
    "clients": "import httpx\nfrom {service} import domain",
    "domain": "from common.contracts import events\nfrom {service} import errors",
    "errors": "import common.plain",
    "migrations/__init__": "",
    "migrations/env": "import common.service",
}
LAWFUL = {
    "common/__init__": "",
    "common/service": "import fastapi, sqlalchemy",
    "common/plain": "import dataclasses",
    "common/contracts/__init__": "",
    "common/contracts/events": "import pydantic",
    "common/contracts/unread": "import pydantic",  # by no domain
    "simulators/__init__": "import fastapi",
    "backbone/__init__": "",
    "backbone/run": "\n".join(f"import {service}.main" for service in SERVICES),
} | {
    f"{service}/{room}": lines.format(service=service)
    for service in SERVICES
    for room, lines in ROOMS.items()
}

VIOLATIONS = [
    ("independent-services", "gateway/clients", "dossier.domain"),
    ("independent-services", "metrics_exporter/store", "catalog.store"),
    ("top-down", "common/service", "gateway.domain"),
    ("top-down", "common/plain", "backbone.run"),
    ("top-down", "catalog/main", "backbone.run"),
    ("outside-systems", "backbone/run", "simulators"),
    ("outside-systems", "national_portal_sync/clients", "simulators"),
    ("books-of-their-own", "simulators/__init__", "common.plain"),
    ("pure", "dossier/domain", "sqlalchemy"),
    ("pure", "signature_connector/domain", "common.service"),  # which imports a framework
    ("pure", "common/contracts/unread", "fastapi"),
    ("pure", "common/contracts/unread", "httpx"),
    ("pure", "gateway/domain", "aio_pika"),
    ("rooms", "dossier/errors", "dossier.domain"),
    ("rooms", "dossier/domain", "dossier.store"),
    ("rooms", "dossier/store", "dossier.use_cases"),
    ("rooms", "dossier/store", "dossier.clients"),
    ("rooms", "gateway/use_cases", "gateway.api"),
    ("rooms", "gateway/api", "gateway.consumers"),
    ("rooms", "gateway/consumers", "gateway.main"),
    ("rooms", "gateway/api", "gateway.settings"),
    ("rooms", "catalog/use_cases", "catalog.settings"),
]


def write(tree: Path, modules: dict[str, str]) -> None:
    for module, lines in modules.items():
        path = tree / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines + "\n")


def violated(tree: Path, rule: str | None = None) -> str:
    """What the linter has against a tree; empty where it keeps the rules."""
    only = ["--contract", rule] if rule else []
    done = subprocess.run(
        [LINTER, "--config", ROOT / "pyproject.toml", "--no-cache", "--no-logo", *only],
        cwd=tree,
        env={"PYTHONPATH": str(tree), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode in {0, 1}, done.stderr
    assert "Contracts: " in done.stdout, done.stdout + done.stderr
    return done.stdout if done.returncode else ""


def test_a_tree_that_keeps_the_rules_passes(tmp_path: Path) -> None:
    write(tmp_path, LAWFUL)
    assert violated(tmp_path) == ""


def test_every_rule_has_a_violation_here() -> None:
    assert {rule for rule, _, _ in VIOLATIONS} == {rule["id"] for rule in RULES["contracts"]}


@pytest.mark.parametrize("rule", sorted({rule for rule, _, _ in VIOLATIONS}))
def test_a_rule_finds_what_it_is_there_for(tmp_path: Path, rule: str) -> None:
    tree = dict(LAWFUL)
    planted = [(module, imported) for which, module, imported in VIOLATIONS if which == rule]
    for module, imported in planted:
        tree[module] += f"\nimport {imported}"
    write(tmp_path, tree)
    said = violated(tmp_path, rule)
    for module, imported in planted:
        importer = module.removesuffix("/__init__").replace("/", ".")
        line = rf"{re.escape(importer)} -> {re.escape(imported)} \("
        assert re.search(line, said), f"{importer} -> {imported} was not found:\n{said}"


def test_a_room_without_a_place_is_refused(tmp_path: Path) -> None:
    write(tmp_path, LAWFUL | {"gateway/helpers": ""})
    assert "gateway.helpers" in violated(tmp_path, "rooms")
