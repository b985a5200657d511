"""Secrets and addresses of a deployment in containers: one folder of files per program.

A service reads its folder by ``LIENTHONG_SECRETS_DIR``. Made once and kept: a second call changes
nothing, so that a running database keeps its passwords.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from backbone.assembly import MODULES, Client, Outside, Plan, environment_of
from backbone.demo.play import demo_client

_OUTSIDE = Outside(
    national_portal="http://simulators:9100",
    signing_gateway="http://simulators:9101",
    emc="http://simulators:9102",
    trust_roots=Path("/var/lib/simulators/signing-gateway/root.pem"),
)


class ContainerPlan(Plan):
    """Services that find each other by name, each on port 8000 of its own container."""

    def url(self, service: str) -> str:
        """Base address of a service."""
        return f"http://{service}:8000"


def write_compose(folder: Path) -> bool:
    """Make the secrets of ``docker-compose.yml`` below a folder; False where they are there."""
    if (folder / "complete").exists():
        return False
    folder.mkdir(parents=True, exist_ok=True)
    passwords = {service: secrets.token_hex(16) for service in MODULES}
    broker_password = secrets.token_hex(16)
    client = demo_client()
    plan = ContainerPlan(
        folder=Path("/var/lib/backbone"),
        databases={
            service: f"postgresql+asyncpg://{_role(service)}:{password}@postgres/{_role(service)}"
            for service, password in passwords.items()
        },
        ports=dict.fromkeys(MODULES, 8000),
        outside=_OUTSIDE,
        clients=(client,),
        amqp_url=f"amqp://backbone:{broker_password}@rabbitmq/",
        usage_seconds=60.0,
    )
    for service in MODULES:
        _write(folder / service, {**environment_of(plan, service), **_listen(service)})
    _write(folder / "demo", _for_demo(plan, client))
    _write(
        folder / "postgres",
        {
            "superuser_password": secrets.token_hex(16),
            "databases.sql": "".join(_database(_role(s), p) for s, p in passwords.items()),
        },
    )
    _write(
        folder / "rabbitmq",
        {
            "definitions.json": json.dumps(_definitions(broker_password), indent=2),
            "10-backbone.conf": "load_definitions = /etc/rabbitmq/definitions.json\n",
        },
    )
    (folder / "complete").touch()
    return True


def _listen(service: str) -> dict[str, str]:
    return {f"{_role(service).upper()}_HOST": "0.0.0.0"}  # noqa: S104 - the container's own network


def _for_demo(plan: Plan, client: Client) -> dict[str, str]:
    return {
        "demo.json": json.dumps(
            {
                "gateway": plan.url("gateway"),
                "client": asdict(client),
                "outside": {key: str(value) for key, value in asdict(plan.outside).items()},
            },
            indent=2,
        )
    }


def _database(role: str, password: str) -> str:
    return (
        f"CREATE ROLE {role} LOGIN PASSWORD '{password}';\n"
        f"CREATE DATABASE {role} OWNER {role};\n"
        f"REVOKE ALL ON DATABASE {role} FROM PUBLIC;\n"
    )


def _definitions(password: str) -> dict[str, object]:
    return {
        "users": [{"name": "backbone", "password": password, "tags": ""}],
        "vhosts": [{"name": "/"}],
        "permissions": [
            {"user": "backbone", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
        ],
    }


def _role(service: str) -> str:
    return service.replace("-", "_")


def _write(folder: Path, files: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        path.write_text(text, "utf-8")
        # Containers read them as another user; the folder above keeps others on this machine out.
        path.chmod(0o644)
    folder.parent.chmod(0o700)
