"""The gate of the OpenAPI document: what spectral finds fails, and its absence is named."""

import json
from pathlib import Path

import pytest

from checks import openapi

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache"


def test_without_npm_it_is_said_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert openapi.main("any.json", tmp_path) == 0
    assert capsys.readouterr().out == "not run: spectral: npm is not installed\n"


def test_packages_that_are_not_to_be_had_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code ENOTFOUND' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert openapi.main("any.json", tmp_path / "cache") == 0
    assert "not to be had (npm error code ENOTFOUND)" in capsys.readouterr().out


def test_a_document_with_a_fault_fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    document = json.loads((ROOT / "contracts/rest/gateway.openapi.json").read_text("utf-8"))
    document["paths"]["/v1/dossiers"]["get"]["summary"] = "Dossiers"
    faulty = tmp_path / "faulty.json"
    faulty.write_text(json.dumps(document))
    status = openapi.main(str(faulty), CACHE)
    said = capfd.readouterr().out
    if said.startswith("not run"):
        pytest.skip(said.strip())
    assert status == 1
    assert "operation-summary-in-both-languages" in said
