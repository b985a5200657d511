"""Clocks that can be stepped: a process of its own time, by libfaketime (Debian's package).

Only the wall clock is faked; waiting goes by the monotonic one, as it does on a real machine.
"""

import shutil
import subprocess
from pathlib import Path

_PLACES = ("/usr/lib", "/usr/lib64")
_UNPACKED = Path(__file__).resolve().parents[2] / ".cache" / "faketime"
_NAME = "libfaketime.so.1"


def library() -> Path | None:
    """The library, fetched where it is missing; None where that cannot be done."""
    found = _found(*map(Path, _PLACES), _UNPACKED)
    if found is None and shutil.which("apt-get") and shutil.which("dpkg"):
        _UNPACKED.mkdir(parents=True, exist_ok=True)
        try:
            _run("apt-get", "--quiet", "download", "libfaketime")
            _run("dpkg", "-x", *map(str, _UNPACKED.glob("*.deb")), str(_UNPACKED))
        except subprocess.SubprocessError:
            return None
        found = _found(_UNPACKED)
    return found


def environment(library: Path, file: Path) -> dict[str, str]:
    """What a process needs so that its clock follows a file (``step``)."""
    step(file, 0)
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def step(file: Path, seconds: int) -> None:
    """Set a clock this much off; the process sees it within a second."""
    file.write_text(f"{seconds:+d}s\n")


def _found(*places: Path) -> Path | None:
    return next((file for place in places for file in place.glob(f"**/faketime/{_NAME}")), None)


def _run(*command: str) -> None:
    subprocess.run(
        command, cwd=_UNPACKED, stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
