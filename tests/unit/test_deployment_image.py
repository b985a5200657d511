"""The image recipe, as far as it can be followed without a container engine."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = (ROOT / "Dockerfile").read_text()
UV = Path(sys.executable).parent / "uv"


def entrypoint() -> list[str]:
    [told] = re.findall(r"^ENTRYPOINT (\[.*\])$", RECIPE, re.MULTILINE)
    return list(json.loads(told))


def test_the_entrypoint_becomes_the_module_of_the_service(tmp_path: Path) -> None:
    """The same process, so that the container's stop signal reaches Python itself."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$$"; printf "%s|" "$@"\n')
    python.chmod(0o755)
    started = subprocess.Popen(
        [*entrypoint(), "serve", "two words"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "SERVICE": "national-portal-sync"},
        stdout=subprocess.PIPE,
        text=True,
    )
    said, _ = started.communicate(timeout=10)
    assert said == f"{started.pid}\n-m|national_portal_sync|serve|two words|"


@pytest.mark.parametrize(
    ("service", "holds"),
    [
        ("catalog", ["catalog/migrations/versions/0001_catalogue.py", "catalog/data"]),
        ("signature-connector", ["signature_connector/__main__.py", "common/service.py"]),
        ("simulators", ["simulators/__main__.py"]),
        ("backbone", ["backbone/__main__.py", "gateway/__main__.py", "common/service.py"]),
    ],
)
def test_the_packages_of_an_image_can_be_built_from_what_is_copied(
    service: str, holds: list[str], tmp_path: Path
) -> None:
    for copied in re.findall(r"^COPY (\w+) \w+$", RECIPE, re.MULTILINE):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / copied, tmp_path / copied, ignore=ignored)
    [install] = re.findall(r'^RUN (case "\$SERVICE".*?done)$', RECIPE, re.MULTILINE | re.DOTALL)
    environment = tmp_path / "app"
    offline = {
        **os.environ,
        "PATH": f"{UV.parent}:{os.environ['PATH']}",
        "SERVICE": service,
        "UV_OFFLINE": "1",
        "UV_LINK_MODE": "copy",
    }
    for command in (
        f"uv venv --quiet --python {sys.executable} {environment}",
        install.replace("--python /app", f"--quiet --python {environment}"),
    ):
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=tmp_path,
            env=offline,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    [packages] = environment.glob("lib/python*/site-packages")
    assert [path for path in holds if not (packages / path).exists()] == []
