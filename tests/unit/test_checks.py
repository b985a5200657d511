"""The gates themselves: what they refuse, and that one that could not run is named."""

import sys
from pathlib import Path
from typing import Any

import pytest

from checks import gates, kubernetes, suites


def config_map(**changes: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, **changes}


def test_a_valid_object_has_no_problem() -> None:
    assert kubernetes.problems([config_map(data={"key": "value"})]) == []


@pytest.mark.parametrize(
    ("objects", "problem"),
    [
        ([], "renders to nothing"),
        ([config_map(kind="ConfigMop")], "ConfigMop/a: no such kind in v1"),
        ([config_map(apiVersion="v7")], "no such kind in v7"),
        ([config_map(dota={})], "dota"),
        ([config_map(data={"key": 7})], "data.key: 7 is not of type"),
        ([{"kind": "ConfigMap"}], "it has no 'apiVersion'"),
    ],
)
def test_a_broken_object_is_a_problem(objects: list[dict[str, Any]], problem: str) -> None:
    assert problem in "\n".join(kubernetes.problems(objects))


def kustomization(folder: Path, kind: str) -> str:
    (folder / "base").mkdir()
    (folder / "base" / kubernetes.KUSTOMIZATION).write_text("resources: [a.yaml]\n")
    (folder / "base" / "a.yaml").write_text(
        f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: a}}\n"
    )
    return str(folder)


def test_a_folder_is_rendered_and_validated(tmp_path: Path) -> None:
    assert kubernetes.main(kustomization(tmp_path, "ConfigMap")) == 0


def test_without_a_renderer_the_files_are_validated_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert kubernetes.main(kustomization(tmp_path, "ConfigMop")) == 1
    said = capsys.readouterr().out
    assert "not run: rendering" in said
    assert "no such kind" in said


def run(monkeypatch: pytest.MonkeyPatch, gate: gates.Gate) -> tuple[gates.Outcome, list[str]]:
    said: list[str] = []
    monkeypatch.setattr(gates, "GATES", [gate])
    return gates.run(show=said.append), said


def test_a_failing_gate_is_reported_with_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = gates.Gate("g", [sys.executable, "-c", "print('why'); exit(3)"])
    outcome, said = run(monkeypatch, gate)
    assert outcome.failed == ["g"]
    assert said[-1] == "why"


def test_a_gate_without_its_input_or_tool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    without_input, _ = run(monkeypatch, gates.Gate("g", ["true"], needs=["no-such-file"]))
    without_tool, _ = run(monkeypatch, gates.Gate("g", ["no-such-tool"]))
    assert without_input.not_run == [("g", "there is no no-such-file")]
    assert without_tool.not_run == [("g", "no-such-tool is not installed")]
    assert without_input.failed == without_tool.failed == []


def test_a_part_that_a_gate_could_not_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, _ = run(monkeypatch, gates.Gate("g", ["echo", "not run: a part: no kubectl"]))
    assert outcome.not_run == [("g", "a part: no kubectl")]


def test_suites_name_skipped_tests_and_report_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[2]
    (tmp_path / "pyproject.toml").write_bytes((root / "pyproject.toml").read_bytes())
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").touch()
    (tmp_path / "tests" / "support").symlink_to(root / "tests" / "support")
    (tmp_path / "tests" / "conftest.py").symlink_to(root / "tests" / "conftest.py")
    for folder in ("unit", "e2e", "chaos"):
        (tmp_path / "tests" / folder).mkdir()
    (tmp_path / "tests" / "unit" / "test_a.py").write_text(
        "import pytest\ndef test_skips(): pytest.skip('no such: machine')\n"
    )
    (tmp_path / "tests" / "e2e" / "test_b.py").write_text("def test_fails(): assert False\n")
    monkeypatch.chdir(tmp_path)
    serial = ("--numprocesses=0",)
    monkeypatch.setattr(
        suites, "SUITES", [suites.Suite((name,), serial) for name in ("unit", "e2e", "chaos")]
    )
    outcome = suites.run()
    assert outcome.failed == ["tests e2e"]
    assert outcome.not_run == [
        ("tests/unit/test_a.py::test_skips", "no such: machine"),
        ("tests/chaos", "it holds no tests yet"),
    ]
