"""Work that goes wrong in an isolated process; light, since each new process loads it anew."""

import os
import time
from pathlib import Path


def hang(paper: Path, seconds: float) -> None:
    time.sleep(seconds)


def crash(paper: Path, status: int) -> None:
    os._exit(status)


def eat(paper: Path, size: int) -> None:
    bytearray(size)


def shout(paper: Path) -> int:
    before = paper.read_bytes()
    paper.write_bytes(before.upper() + b"!")
    return len(before)


def spoil_then_crash_once(paper: Path, mark: Path) -> int:
    size = len(paper.read_bytes())
    if not mark.exists():
        mark.touch()
        paper.write_bytes(b"spoilt")
        os._exit(3)
    return size
