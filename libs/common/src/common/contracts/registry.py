"""Every event there is, by its type."""

from collections.abc import Mapping
from types import MappingProxyType

from common.contracts import catalog, dossier, exchange, gateway, portal, signature, usage
from common.contracts.base import Event

_MODULES = (catalog, dossier, exchange, gateway, portal, signature, usage)


def _declared() -> dict[str, type[Event]]:
    found: dict[str, type[Event]] = {}
    for module in _MODULES:
        for item in vars(module).values():
            if isinstance(item, type) and issubclass(item, Event) and "TYPE" in vars(item):
                other = found.setdefault(item.TYPE, item)
                if other is not item:
                    raise TypeError(f"{item.TYPE} is declared twice: {other}, {item}")
    return found


EVENTS: Mapping[str, type[Event]] = MappingProxyType(_declared())
