"""Debian's package tools, for what tests need that is not installed."""

import os
import subprocess
from pathlib import Path


def apt(*arguments: str, cwd: Path | None = None) -> str:
    """What apt-get prints; CalledProcessError where it fails."""
    return run("apt-get", "--quiet", *arguments, cwd=cwd)


def run(*command: str, cwd: Path | None = None) -> str:
    """What a command prints; CalledProcessError where it fails, nothing is asked."""
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    ).stdout
