"""Secrets and addresses of a deployment in containers: one folder of files per program.

A service reads its folder by ``LIENTHONG_SECRETS_DIR``. Made once and kept: a second call changes
nothing, so that a running database keeps its passwords.
"""

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from backbone.assembly import MODULES, Client, Outside, Plan, environment_of
from backbone.demo.play import demo_client, operator_client

_OUTSIDE = Outside(
    national_portal="http://simulators:9100",
    signing_gateway="http://simulators:9101",
    emc="http://simulators:9102",
    trust_roots=Path("/var/lib/simulators/signing-gateway/root.pem"),
)
_IMPORT_DEFINITIONS = """\
definitions.import_backend = local_filesystem
definitions.local.path = /etc/rabbitmq/definitions.json
"""


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
    # Containers read the files as other users; this keeps the other users of this machine out.
    folder.chmod(0o700)
    databases = {service: secrets.token_hex(16) for service in MODULES}
    broker = {service: secrets.token_hex(16) for service in MODULES}
    client, operator = demo_client(), operator_client()
    plan = ContainerPlan(
        folder=Path("/var/lib/backbone"),
        databases={
            service: f"postgresql+asyncpg://{_role(service)}:{password}@postgres/{_role(service)}"
            for service, password in databases.items()
        },
        ports=dict.fromkeys(MODULES, 8000),
        outside=_OUTSIDE,
        clients=(client, operator),
        usage_seconds=60.0,
    )
    for service in MODULES:
        prefix = _role(service).upper()
        own = {
            f"{prefix}_HOST": "0.0.0.0",  # noqa: S104 - the container's own network
            f"{prefix}_AMQP_URL": f"amqp://{service}:{broker[service]}@rabbitmq/",
        }
        _write(folder / service, {**environment_of(plan, service), **own})
    _write(folder / "demo", {"demo.json": _for_demo(plan, client, operator)})
    _write(
        folder / "postgres",
        {
            "superuser_password": secrets.token_hex(16),
            "databases.sql": "".join(_database(_role(s), p) for s, p in databases.items()),
        },
    )
    _write(
        folder / "rabbitmq",
        {
            "definitions.json": json.dumps(definitions(broker), indent=2),
            "10-backbone.conf": _IMPORT_DEFINITIONS,
        },
    )
    (folder / "complete").touch()
    return True


def _for_demo(plan: Plan, client: Client, operator: Client) -> str:
    return json.dumps(
        {
            "gateway": plan.url("gateway"),
            "portal_sync": plan.url("national-portal-sync"),
            "exporter": plan.url("metrics-exporter"),
            "client": asdict(client),
            "operator": asdict(operator),
            "outside": {key: str(value) for key, value in asdict(plan.outside).items()},
        },
        indent=2,
    )


def _database(role: str, password: str) -> str:
    return (
        f"CREATE ROLE {role} LOGIN PASSWORD '{password}';\n"
        f"CREATE DATABASE {role} OWNER {role};\n"
        f"REVOKE ALL ON DATABASE {role} FROM PUBLIC;\n"
    )


def definitions(passwords: Mapping[str, str]) -> dict[str, object]:
    """What RabbitMQ imports when it starts: a user for each service, who may use the exchanges
    that all share and the queues that bear the service's name.

    Args:
        passwords: in clear, by service.
    """
    return {
        "users": [
            {
                "name": service,
                "password_hash": password_hash(password, secrets.token_bytes(4)),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": [],
            }
            for service, password in passwords.items()
        ],
        "vhosts": [{"name": "/"}],
        "permissions": [
            {"user": service, "vhost": "/"}
            | dict.fromkeys(
                ("configure", "write", "read"),
                rf"^(events|events\.unrouted|dead|{re.escape(service)}\..+)$",
            )
            for service in passwords
        ],
    }


def password_hash(password: str, salt: bytes) -> str:
    """A password as RabbitMQ's definitions hold it: base64 of the salt and the SHA-256 of both.

    Args:
        password: in clear.
        salt: 4 bytes of chance.
    """
    digest = hashlib.sha256(salt + password.encode()).digest()
    return base64.b64encode(salt + digest).decode()


def _role(service: str) -> str:
    return service.replace("-", "_")


def _write(folder: Path, files: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        path.write_text(text, "utf-8")
        path.chmod(0o644)
