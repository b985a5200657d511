"""The published language as files: event schemas, the AsyncAPI document, the REST documents.

Written from the code, committed and reviewed. A schema that would break readers of the committed
one is refused: a breaking change is a new type, published side by side.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from backbone.assembly import MODULES, Client, Outside, Plan, settings_of
from backbone.compatibility import breaks as rest_breaks
from common.contracts.base import TYPE_PREFIX
from common.contracts.registry import EVENTS

_TITLE = "Liên thông – events"
PUBLISHED = "published/gateway.openapi.json"
"""The gateway's document as clients have it, which the next one may not break."""


class BreakingChange(Exception):
    """A committed event schema would no longer hold."""


def documents() -> dict[str, str]:
    """Every contract file: its place below ``contracts/`` and its text."""
    files = {f"events/{type_}.schema.json": _json(schema_of(type_)) for type_ in sorted(EVENTS)}
    files["asyncapi.yaml"] = yaml.safe_dump(
        asyncapi(), allow_unicode=True, sort_keys=False, width=100
    )
    for name, document in openapi():
        files[f"rest/{name}.openapi.json"] = _json(document)
    return files


def schema_of(type_: str) -> dict[str, Any]:
    """JSON Schema of an event's data."""
    schema = EVENTS[type_].model_json_schema(mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:lienthong:event:{type_}",
        **schema,
        "title": type_,
    }


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document of all events."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for type_, event in sorted(EVENTS.items()):
        name = type_.replace(".", "-")
        channels[name] = {
            "address": type_,
            "description": (event.__doc__ or "").strip(),
            "messages": {
                "event": {
                    "name": TYPE_PREFIX + type_,
                    "contentType": "application/cloudevents+json",
                    "summary": (event.__doc__ or "").strip().splitlines()[0],
                    "payload": {"$ref": f"./events/{type_}.schema.json"},
                }
            },
            "x-producer": event.PRODUCER,
            "x-ordered": event.ORDERED,
        }
        operations[f"send-{name}"] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{name}"},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": _TITLE,
            "version": "1.0.0",
            "description": (
                "CloudEvents 1.0 in structured JSON mode on the topic exchange `events`; the "
                "address is the routing key and the payload the event's `data`."
            ),
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
    }


def openapi() -> Iterator[tuple[str, dict[str, Any]]]:
    """The OpenAPI document of each service."""
    nowhere = Plan(
        folder=Path("/nonexistent"),
        databases=dict.fromkeys(MODULES, "postgresql+asyncpg://nobody@localhost/none"),
        ports=dict.fromkeys(MODULES, 0),
        outside=Outside("http://localhost", "http://localhost", "http://localhost", Path("none")),
        clients=(Client("nobody", "0" * 32, (), ()),),
        amqp_url="amqp://localhost/",
    )
    for name, module in MODULES.items():
        app = module.create_app(module.Settings(**settings_of(nowhere, name)))
        yield name, app.openapi()


def write(folder: Path) -> list[str]:
    """Write the documents; the places that changed.

    Raises:
        BreakingChange: a committed schema, or the published REST document, would be broken.
    """
    wanted = documents()
    _keep_published(folder, wanted)
    for place, text in wanted.items():
        committed = folder / place
        if place.startswith("events/") and committed.exists():
            faults = list(breaks(json.loads(committed.read_text("utf-8")), json.loads(text)))
            if faults:
                raise BreakingChange(f"{place}: {'; '.join(faults)}")
    changed = drift(folder)
    for place in changed:
        if place in wanted:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_text(wanted[place], "utf-8")
        else:
            (folder / place).unlink()
    return changed


def publish(folder: Path) -> Path:
    """From now on clients may rely on the gateway's document as it is.

    Raises:
        BreakingChange: it takes something away that was published before.
    """
    wanted = documents()
    _keep_published(folder, wanted)
    baseline = folder / PUBLISHED
    baseline.parent.mkdir(parents=True, exist_ok=True)
    baseline.write_text(wanted["rest/gateway.openapi.json"], "utf-8")
    return baseline


def _keep_published(folder: Path, wanted: Mapping[str, str]) -> None:
    baseline = folder / PUBLISHED
    if baseline.exists():
        now = json.loads(wanted["rest/gateway.openapi.json"])
        if faults := list(rest_breaks(json.loads(baseline.read_text("utf-8")), now)):
            raise BreakingChange(f"{PUBLISHED}: {'; '.join(faults)}")


def drift(folder: Path) -> list[str]:
    """The places where the folder differs from what the code says."""
    wanted = documents()
    found = {
        str(path.relative_to(folder)): path.read_text("utf-8")
        for pattern in ("events/*.json", "rest/*.json", "asyncapi.yaml")
        for path in folder.glob(pattern)
    }
    return sorted(
        place for place in wanted.keys() | found.keys() if wanted.get(place) != found.get(place)
    )


def breaks(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """What of the old schema a reader could rely on and the new one no longer gives.

    Events are only read by others, so what is written may become narrower or richer: a field that
    disappears, stops being always there, or changes or widens its type breaks its readers.
    """
    yield from _breaks(old, new, old, new, "$")


def _breaks(
    old: Any, new: Any, old_root: Mapping[str, Any], new_root: Mapping[str, Any], place: str
) -> Iterator[str]:
    old, new = _resolve(old, old_root), _resolve(new, new_root)
    for name in sorted(set(old.get("required", ())) - set(new.get("required", ()))):
        yield f"{place}.{name} is no longer always there"
    for name, part in sorted(old.get("properties", {}).items()):
        if name not in new.get("properties", {}):
            yield f"{place}.{name} is gone"
        else:
            yield from _breaks(part, new["properties"][name], old_root, new_root, f"{place}.{name}")
    if widened := _types(new, new_root) - _types(old, old_root):
        yield f"{place} may now be {', '.join(sorted(widened))}"
    allowed, now = old.get("enum"), new.get("enum")
    if allowed is not None and (now is None or set(now) - set(allowed)):
        yield f"{place} has values it did not have"
    if "items" in old and "items" in new:
        yield from _breaks(old["items"], new["items"], old_root, new_root, f"{place}[]")
    for kind, part in _variants(old, old_root).items():
        other = _variants(new, new_root).get(kind)
        if other is None:
            continue  # no longer written: no reader misses it
        yield from _breaks(part, other, old_root, new_root, f"{place}<{kind}>")


def _resolve(schema: Any, root: Mapping[str, Any]) -> Any:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def _types(schema: Any, root: Mapping[str, Any]) -> set[str]:
    if "anyOf" in schema:
        return set().union(*(_types(_resolve(part, root), root) for part in schema["anyOf"]))
    return {schema["type"]} if "type" in schema else set()


def _variants(schema: Any, root: Mapping[str, Any]) -> dict[str, Any]:
    if "discriminator" in schema:
        return {
            kind: {"$ref": reference}
            for kind, reference in schema["discriminator"]["mapping"].items()
        }
    parts = [part for part in schema.get("anyOf", ()) if part.get("type") != "null"]
    return {"value": parts[0]} if len(parts) == 1 else {}


def _json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
