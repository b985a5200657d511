"""Programs on a leash end with whoever started them, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from backbone.leash import Leashed

# Ignores the polite signal and has a child of its own that does the same.
STUBBORN = "import os, signal, time; signal.signal(15, signal.SIG_IGN); os.fork(); time.sleep(99)"
STARTER = """
import os, sys, time
from pathlib import Path
from backbone.leash import Leashed
program = Leashed(sys.argv[2:], log=Path(sys.argv[1]), grace=0.2)
if (forked := os.fork()) == 0:
    os.close(1)
    time.sleep(99)
print(program.pid, program._leash.pid, forked, flush=True)
time.sleep(99)
"""


def gone(pid: int, within: float = 10) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


def test_stopping_asks_first(tmp_path: Path) -> None:
    program = Leashed(["sleep", "99"], log=tmp_path / "log")
    assert program.running
    assert program.stop() == -signal.SIGTERM
    assert not program.running


def test_a_program_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    program = Leashed([sys.executable, "-c", STUBBORN], log=tmp_path / "log", grace=0.2)
    time.sleep(0.3)  # until it ignores the signal
    child = psutil.Process(program.pid).children()[0].pid
    assert program.stop() == -signal.SIGKILL
    assert gone(child)


def test_its_own_end_is_reported(tmp_path: Path) -> None:
    program = Leashed(["sh", "-c", "echo said; exit 7"], log=tmp_path / "log")
    assert program.wait(10) == 7
    assert (tmp_path / "log").read_text() == "said\n"


def test_what_cannot_be_started_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Leashed(["no-such-program"], log=tmp_path / "log")


@pytest.mark.parametrize(
    ("victim", "command"),
    [("starter", [sys.executable, "-c", STUBBORN]), ("leash", ["sleep", "99"])],
)
def test_a_killed_starter_or_leash_takes_the_program_along(
    tmp_path: Path, victim: str, command: list[str]
) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path / "log"), *command],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    program, leash, forked = map(int, starter.stdout.readline().split())
    assert not gone(program, within=0.1)
    os.kill(starter.pid if victim == "starter" else leash, signal.SIGKILL)
    assert gone(program)
    assert gone(leash)
    os.kill(forked, signal.SIGKILL)
    starter.kill()
    starter.communicate()


def test_the_thread_that_started_it_may_end(tmp_path: Path) -> None:
    started: list[Leashed] = []
    thread = threading.Thread(
        target=lambda: started.append(Leashed(["sleep", "99"], log=tmp_path / "log"))
    )
    thread.start()
    thread.join()
    time.sleep(0.1)
    assert started[0].running
    started[0].kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change accounts")
def test_it_can_run_as_another_account(tmp_path: Path) -> None:
    Leashed(["id", "-un"], log=tmp_path / "log", account="nobody").wait(10)
    assert (tmp_path / "log").read_text() == "nobody\n"
