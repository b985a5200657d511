"""Programs of others that judge signatures; on Debian and its kin they are fetched if missing.

Root gets the packages installed. Anybody else gets them downloaded and unpacked under `.cache/`,
where they run just as well.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.debian import apt, run

_ROOT = Path(__file__).resolve().parents[2]
_UNPACKED = _ROOT / ".cache" / "signing-tools"
PACKAGES = {
    "pdfsig": "poppler-utils",
    "mutool": "mupdf-tools",
    "openssl": "openssl",
    "xmlsec1": "xmlsec1",
}


def tool(name: str) -> "Tool":
    """The program; a test that needs it is not run, and says so, where there is none."""
    if (found := _found(name)) is None:
        with _one_at_a_time():
            if _found.__wrapped__(name) is None:
                _fetch(PACKAGES[name])
        _found.cache_clear()
        found = _found(name)
    if found is None:
        pytest.skip(f"there is no {name} here; Debian's package is {PACKAGES[name]}")
    return Tool(found)


class Tool:
    """A program of others."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def run(self, *arguments: str | Path, cwd: Path | None = None) -> tuple[int, str]:
        """Its exit status, and all that it wrote."""
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        if self._path.is_relative_to(_UNPACKED):
            libraries = next((_UNPACKED / "root/usr/lib").glob("*-linux-gnu*"))
            environment["LD_LIBRARY_PATH"] = str(libraries)
        ended = subprocess.run(
            [self._path, *arguments],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=60,
        )
        return ended.returncode, ended.stdout.decode(errors="replace")


@cache
def _found(name: str) -> Path | None:
    if path := shutil.which(name):
        return Path(path)
    unpacked = _UNPACKED / "root/usr/bin" / name
    return unpacked if unpacked.exists() else None


def _fetch(package: str) -> None:
    """As far as it goes: what is missing afterwards is skipped by name."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        return
    with contextlib.suppress(subprocess.SubprocessError):
        if os.geteuid() == 0:
            _install(package)
        else:
            _unpack(package)


def _install(package: str) -> None:
    install = ["install", "--yes", "--no-install-recommends", package]
    try:
        apt(*install)
    except subprocess.CalledProcessError:
        apt("update")  # no package lists, or lists too old
        apt(*install)


def _unpack(package: str) -> None:
    packages, root, lists = (_UNPACKED / part for part in ("packages", "root", "lists"))
    for folder in (packages, root, lists / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        _download(package, packages)
    except subprocess.CalledProcessError:
        private = [f"-oDir::State::Lists={lists}", f"-oDir::Cache={_UNPACKED}"]
        apt(*private, "update")
        _download(package, packages, *private)
    for archive in packages.glob("*.deb"):
        run("dpkg", "-x", str(archive), str(root))
    shutil.rmtree(packages)
    shutil.rmtree(lists)


def _download(package: str, folder: Path, *options: str) -> None:
    plan = apt(*options, "--simulate", "--no-install-recommends", "install", package)
    needed = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
    apt(*options, "download", *needed, cwd=folder)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    _UNPACKED.parent.mkdir(parents=True, exist_ok=True)
    # The lock of RabbitMQ's installation: two installers at a time get into each other's way.
    with (_UNPACKED.parent / "rabbitmq.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
