"""``make run``: the main job in one process."""

import json
import subprocess
import sys
from pathlib import Path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-m", "backbone", "run", "--once", "--count", "40",
            "--port", "0", "--folder", str(folder), *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )  # fmt: skip


def test_the_main_job_ends_without_differences(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dossiers at the national portal" in done.stdout
    assert "dossiers of the day, reconciled" in done.stdout


def test_a_dossier_that_the_portal_forgot_is_named(tmp_path: Path) -> None:
    fault = {"program": "national-portal", "on": "DongBoHoSoMC", "kind": "forget"}
    done = run(tmp_path, "--patience", "8", "--fault", json.dumps(fault))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the portal does not know it" in done.stdout
