"""Where RabbitMQ's programs are on this machine; on Debian and its kin they are fetched if missing.

Root gets the packages installed, without the system's own broker being started. Anybody else gets
them downloaded and unpacked under `.cache/`, where they run just as well.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.support.debian import apt, run

_ROOT = Path(__file__).resolve().parents[2]
_UNPACKED = _ROOT / ".cache" / "rabbitmq"
_SCRIPTS = ("/usr/lib/rabbitmq/bin", "/opt/rabbitmq/sbin")
_ERLANG = ("/usr/lib/erlang", "/usr/lib64/erlang", "/opt/erlang/lib/erlang")
_POLICY = Path("/usr/sbin/policy-rc.d")

_ADVICE = """\
No RabbitMQ for the tests, which run on a real one. Any of these helps:
  Debian, Ubuntu:  sudo apt-get install rabbitmq-server
  Fedora, RHEL:    sudo dnf install rabbitmq-server
  Alpine:          sudo apk add rabbitmq-server
  a running broker with the management plugin:
                   TEST_AMQP_URL=amqp://user:password@host:5672/ make test"""


class RabbitMQMissing(RuntimeError):
    """There is no RabbitMQ here and none could be fetched; the text says what to install."""


@dataclass(frozen=True)
class Installation:
    """scripts: folder of rabbitmq-server and rabbitmqctl; erlang: Erlang's own root folder;
    libraries: folder of shared libraries that came with it, where unpacked."""

    scripts: Path
    erlang: Path
    libraries: Path | None = None

    @property
    def epmd(self) -> Path:
        """Erlang's port mapper."""
        return next(self.erlang.glob("erts-*/bin/epmd"))

    def reached_through(self, link: Path) -> Self:
        """The same, by way of a symbolic link: RabbitMQ's scripts take no path with a space."""
        root = Path(os.path.commonpath([self.scripts, self.erlang]))
        if " " not in str(root):
            return self
        link.unlink(missing_ok=True)
        link.symlink_to(root)
        return type(self)(
            link / self.scripts.relative_to(root),
            link / self.erlang.relative_to(root),
            link / self.libraries.relative_to(root) if self.libraries else None,
        )

    def environment(self) -> dict[str, str]:
        """What a process needs to run it."""
        path = os.pathsep.join([str(self.erlang / "bin"), os.environ.get("PATH", os.defpath)])
        found = {"PATH": path, "LANG": "C.UTF-8"}
        if self.libraries is not None:
            found["LD_LIBRARY_PATH"] = str(self.libraries)
        return found


def installation() -> Installation:
    """The machine's RabbitMQ, or one fetched now (once; 35 MB).

    TEST_RABBITMQ=unpacked passes over an installed one. Raises RabbitMQMissing.
    """
    unpacked_only = os.environ.get("TEST_RABBITMQ") == "unpacked"
    with _one_at_a_time():
        found = None if unpacked_only else _installed()
        if found or (found := _unpacked()):
            return found
        if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
            raise RabbitMQMissing(_ADVICE)
        failures = []
        if os.geteuid() == 0 and not unpacked_only:
            try:
                _install()
            except subprocess.SubprocessError as error:
                failures.append(_what_failed(error))
            if found := _installed():
                return found
        try:
            _unpack()
        except subprocess.SubprocessError as error:
            failures.append(_what_failed(error))
        if found := _unpacked():
            return found
        raise RabbitMQMissing("\n".join([_ADVICE, "What was tried here:", *failures]))


def _installed() -> Installation | None:
    on_path = shutil.which("rabbitmq-server", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    # Debian's /usr/sbin/rabbitmq-server only serves its own account: the real one comes first.
    folders = [*_SCRIPTS, *([str(Path(on_path).resolve().parent)] if on_path else [])]
    erl = shutil.which("erl")
    roots = [*_ERLANG, *([str(Path(erl).resolve().parents[1])] if erl else [])]
    for scripts in map(Path, folders):
        for erlang in map(Path, roots):
            programs = [scripts / "rabbitmq-server", scripts / "rabbitmqctl", erlang / "bin/erl"]
            if all(os.access(program, os.X_OK) for program in programs):
                return Installation(scripts, erlang)
    return None


def _unpacked() -> Installation | None:
    if not (_UNPACKED / "complete").exists():
        return None
    usr = _UNPACKED / "root" / "usr"
    scripts = next((usr / "lib" / "rabbitmq" / "lib").glob("rabbitmq_server-*/sbin"))
    libraries = next((usr / "lib").glob("*-linux-gnu*"), None)
    return Installation(scripts, usr / "lib" / "erlang", libraries)


def _install() -> None:
    made_policy = not _POLICY.exists()
    if made_policy:
        # Debian starts a service when it installs it; 101 is "forbidden by policy".
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        install = ["install", "--yes", "--no-install-recommends", "rabbitmq-server"]
        try:
            apt(*install)
        except subprocess.CalledProcessError:
            apt("update")  # no package lists, or lists too old
            apt(*install)
    finally:
        if made_policy:
            _POLICY.unlink()


def _unpack() -> None:
    shutil.rmtree(_UNPACKED, ignore_errors=True)
    packages, root = _UNPACKED / "packages", _UNPACKED / "root"
    for folder in (packages, root, _UNPACKED / "lists" / "partial"):
        folder.mkdir(parents=True)
    try:
        _download(packages)
    except subprocess.CalledProcessError:
        # No package lists, or lists too old: fetch our own, which needs no rights.
        private = [f"-oDir::State::Lists={_UNPACKED / 'lists'}", f"-oDir::Cache={_UNPACKED}"]
        apt(*private, "update")
        _download(packages, *private)
    for package in packages.glob("*.deb"):
        run("dpkg", "-x", str(package), str(root))
    shutil.rmtree(packages)
    shutil.rmtree(_UNPACKED / "lists")
    # The packaged start script knows only its place under /usr.
    erl = root / "usr" / "lib" / "erlang" / "bin" / "erl"
    erl.write_text(
        "#!/bin/sh\n"
        'ROOTDIR=$(cd "$(dirname "$0")/.." && pwd)\n'
        'BINDIR=$(echo "$ROOTDIR"/erts-*/bin) EMU=beam PROGNAME=erl\n'
        "export ROOTDIR BINDIR EMU PROGNAME\n"
        'exec "$BINDIR/erlexec" "$@"\n'
    )
    (_UNPACKED / "complete").touch()


def _download(folder: Path, *options: str) -> None:
    plan = apt(*options, "--simulate", "--no-install-recommends", "install", "rabbitmq-server")
    needed = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
    # Erlang may be installed while its libraries elsewhere are used: one root folder needs all.
    wanted = {"rabbitmq-server", *(n for n in needed if n.startswith(("erlang-", "lib")))}
    wanted |= {line.split()[-1] for line in _erlang_parts(*options)}
    apt(*options, "download", *sorted(wanted), cwd=folder)


def _erlang_parts(*options: str) -> list[str]:
    apt_cache = ["apt-cache", *options, "depends", "--recurse", "--no-recommends", "--no-suggests"]
    listed = run(*apt_cache, "rabbitmq-server")
    return [
        line
        for line in listed.splitlines()
        if "Depends: erlang-" in line and "<" not in line and "|" not in line
    ]


def _what_failed(error: subprocess.SubprocessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"  {' '.join(error.cmd)}\n    {error.stderr.strip()[-500:]}"
    return f"  {error}"


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    _UNPACKED.parent.mkdir(parents=True, exist_ok=True)
    with (_UNPACKED.parent / "rabbitmq.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
