"""Lints an OpenAPI document with spectral, whose packages npm installs once as locked.

Where npm or its registry is not there, that is said and nothing fails.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent / "spectral"
_INSTALL_SECONDS, _LINT_SECONDS = 200, 90


def main(document: str, cache: Path = Path(".cache")) -> int:
    """Lint the document; 0 also where spectral could not be had, after a line `not run: …`."""
    npm = shutil.which("npm")
    if npm is None:
        print("not run: spectral: npm is not installed")
        return 0
    folder = cache.absolute() / "spectral"
    if reason := _install(npm, folder, cache.absolute() / "npm"):
        print(f"not run: spectral: {reason}")
        return 0
    done = subprocess.run(
        [
            *(str(folder / "node_modules/.bin/spectral"), "lint", "--quiet"),
            *("--fail-severity", "warn", "--ruleset", str(HERE / "ruleset.yaml"), document),
        ],
        check=False,
        timeout=_LINT_SECONDS,
    )
    return done.returncode


def _install(npm: str, folder: Path, cache: Path) -> str | None:
    """Install what the lock names, unless it is there; why not, if so."""
    lock = (HERE / "package-lock.json").read_bytes()
    ready = folder / f".ready-{hashlib.sha256(lock).hexdigest()[:16]}"
    if ready.exists():
        return None
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    try:
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=folder,
            env={**os.environ, "npm_config_cache": str(cache)},
            capture_output=True,
            text=True,
            check=False,
            timeout=_INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"npm did not end within {_INSTALL_SECONDS} s"
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "code" in line] or ["npm failed"]
        return f"its packages are not to be had ({said[0].strip()})"
    ready.touch()
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
