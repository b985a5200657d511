"""``.env.example``: every setting of every service, from the services' ``Settings`` classes."""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from backbone.assembly import MODULES
from common.settings import SECRETS_DIR, ServiceSettings

_HEAD = f"""\
# Settings of all services, made from the code by `python -m backbone settings`.
#
# A value stands in the environment, or in a file of the same name in the folder that
# {SECRETS_DIR} names. Lines without a value must be given one; those that are commented
# out show what holds where nothing is said.
"""
_SHARED = "EVERY_SERVICE"


def example() -> str:
    """The text of ``.env.example``: first what all services have, then what each has of its own."""
    shared = ServiceSettings.model_fields
    parts = [
        _HEAD,
        f"# ---- what every service has, with its own prefix in place of {_SHARED} ----\n",
        *_entries(ServiceSettings, shared, f"{_SHARED}_", hidden=True),
    ]
    for service in MODULES:
        kind = settings_class(service)
        own = {
            name: field
            for name, field in kind.model_fields.items()
            if name not in shared or field.is_required()
        }
        parts.append(f"# ---- {service} ----\n")
        parts += _entries(kind, own, kind.model_config.get("env_prefix", ""))
    return "\n".join(parts)


def settings_class(service: str) -> type[ServiceSettings]:
    """A service's ``Settings``."""
    module = import_module(f"{MODULES[service].__name__.partition('.')[0]}.settings")
    kind: type[ServiceSettings] = module.Settings
    return kind


def _entries(
    kind: type[BaseSettings], fields: dict[str, FieldInfo], prefix: str, *, hidden: bool = False
) -> Iterator[str]:
    """One block of lines for each setting; ``hidden`` ones are comments throughout."""
    explained = _docstrings(kind)
    for name, field in fields.items():
        lines = [f"# {line}" for line in explained.get(name, "").replace("``", "").splitlines()]
        assignment = f"{prefix}{name.upper()}={_default(field)}"
        lines.append(f"# {assignment}" if hidden or not field.is_required() else assignment)
        yield "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    default: Any = None if field.is_required() else field.get_default(call_default_factory=True)
    if hasattr(default, "get_secret_value"):
        default = default.get_secret_value()
    if default is None:
        return ""
    return default if isinstance(default, str) else json.dumps(default, default=str)


def _docstrings(kind: type[BaseSettings]) -> dict[str, str]:
    """What stands below each field of a class and of those it inherits from."""
    found: dict[str, str] = {}
    for ancestor in reversed(kind.__mro__):
        if not issubclass(ancestor, BaseSettings) or ancestor is BaseSettings:
            continue
        [definition] = ast.parse(textwrap.dedent(inspect.getsource(ancestor))).body
        for field, text in pairwise(getattr(definition, "body", ())):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(
                    value=ast.Constant(value=str() as said)
                ):
                    found[name] = inspect.cleandoc(said)
    return found
