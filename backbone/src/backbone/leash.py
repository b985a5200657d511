"""Programs on a leash: each ends when the program that started it ends, however that happens.

A leash is a small process between the two. It reads a pipe whose other end only the starter
holds; when the pipe closes (on purpose, or because the starter was killed) it asks the program to
stop, waits, and then kills it. If the leash itself is killed the kernel kills the program
(PR_SET_PDEATHSIG). That signal alone would not do: it follows the starter's *thread*, and setting
it needs code between fork and exec, which a process with threads cannot run safely.
"""

import ctypes
import errno
import json
import os
import pwd
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakSet

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ORPHANS_GRACE = 2.0  # seconds


class Leashed:
    """A running program on a leash.

    command: program and arguments; the program is looked up in PATH.
    log: file that its standard output and error are appended to.
    stop_signal, grace: what asks it to stop, and the seconds it has before SIGKILL.
    account: name or id of the user to run it as (its main group, no further groups); needs root.
    Raises OSError (often PermissionError, FileNotFoundError) where it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace: float = 10,
        account: str | int | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        order = {
            "command": [*command],
            "stop_signal": int(stop_signal),
            "grace": grace,
            "account": account,
        }
        report, child_report = os.pipe()
        try:
            with log.open("ab") as output:
                self._leash = subprocess.Popen(
                    # Isolated and without site-packages: 15 ms to start, and nothing of the
                    # caller's environment can change what it imports.
                    [sys.executable, "-I", "-S", __file__, str(child_report), json.dumps(order)],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    pass_fds=[child_report],
                    cwd=cwd,
                    env=env,
                    # Ctrl-C in a terminal goes to the whole group; the starter decides instead.
                    start_new_session=True,
                )
        finally:
            os.close(child_report)
        with os.fdopen(report, "rb") as answer:
            line = answer.read()
        started: dict[str, Any] = json.loads(line) if line else {"error": f"no answer, see {log}"}
        if "pid" not in started:
            self.stop()
            raise OSError(started.get("errno", errno.EIO), started["error"], command[0])
        self.pid: int = started["pid"]
        _held.add(self)

    @property
    def running(self) -> bool:
        """Whether the program still runs."""
        return self._leash.poll() is None

    def stop(self) -> int:
        """Ask the program to stop, wait, and return its exit status (negative: the signal)."""
        if self._leash.stdin is not None:
            self._leash.stdin.close()
        return _exit_status(self._leash.wait())

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the program to end by itself; its exit status as from `stop()`.

        Raises subprocess.TimeoutExpired after `timeout` seconds; the program then still runs.
        """
        self._leash.wait(timeout)
        return self.stop()

    def kill(self) -> None:
        """SIGKILL the program and wait until it is gone."""
        if self.running:
            os.kill(self.pid, signal.SIGKILL)
        self.stop()


_held: WeakSet[Leashed] = WeakSet()


def _let_go_in_child() -> None:
    # A forked child has the pipes too; while it lived, the starter's end would go unnoticed.
    for leashed in _held:
        if leashed._leash.stdin is not None:
            leashed._leash.stdin.close()


os.register_at_fork(after_in_child=_let_go_in_child)


def _exit_status(code: int) -> int:
    # As in a shell: the leash reports a program ended by signal N as 128 + N.
    return 128 - code if code > 128 else code


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the parent's thread that started it ends, or end at
    once where the parent, whose process id is given, is already gone."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _hold(report: int, order: dict[str, Any]) -> int:
    """The leash itself: start the program, wait for its end or for the pipe's."""
    leash, account = os.getpid(), order["account"]
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    as_account: dict[str, Any] = {}
    if account is not None:
        entry = pwd.getpwuid(account) if isinstance(account, int) else pwd.getpwnam(account)
        as_account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    with os.fdopen(report, "w") as answer:
        try:
            program = subprocess.Popen(
                order["command"],
                stdin=subprocess.DEVNULL,
                preexec_fn=lambda: die_with(leash),  # noqa: PLW1509 - one thread so far
                **as_account,
            )
        except OSError as error:
            answer.write(json.dumps({"errno": error.errno, "error": error.strerror}))
            return 1
        answer.write(json.dumps({"pid": program.pid}))

    def ask_to_stop(*_: object) -> None:
        program.send_signal(order["stop_signal"])

    def when_let_go() -> None:
        os.read(0, 1)
        ask_to_stop()
        time.sleep(order["grace"])
        program.kill()

    signal.signal(signal.SIGTERM, ask_to_stop)
    threading.Thread(target=when_let_go, daemon=True).start()
    code = program.wait()
    _end_orphans()
    return 128 - code if code < 0 else code


def _end_orphans() -> None:
    """Wait for what the program started and left behind; kill what does not end by itself."""
    deadline = time.monotonic() + _ORPHANS_GRACE
    while True:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if ended:
            continue
        if time.monotonic() > deadline:
            for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
        time.sleep(0.005)


if __name__ == "__main__":
    sys.exit(_hold(int(sys.argv[1]), json.loads(sys.argv[2])))
