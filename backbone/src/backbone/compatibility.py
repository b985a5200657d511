"""What of a published REST document its clients could rely on and a newer one no longer gives.

Requests may come to allow more, answers may come to say more. Whatever else changes breaks
somebody: an operation, parameter, field, status or media type that is gone, a field that has to be
sent, a value or form that is no longer taken, a field that is no longer always there, or a value
that nobody knew. Of patterns only sameness is known, so another pattern counts as narrower.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_UNCHANGED = "304"
"""May go: who asks under a condition has to expect the whole answer."""
_LOWER, _UPPER = ("minLength", "minimum", "minItems"), ("maxLength", "maximum", "maxItems")


def breaks(old: Schema, new: Schema) -> Iterator[str]:
    """What breaks clients, each with its place; nothing where all is well."""
    for path, methods in old["paths"].items():
        for method, operation in methods.items():
            place = f"{method.upper()} {path}"
            now = new["paths"].get(path, {}).get(method)
            if now is None:
                yield f"{place} is gone"
            else:
                yield from _Compared(old, new).operation(operation, now, place)


class _Compared:
    """Two documents, with the pairs of components that were already looked at."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old, new
        self._seen: set[tuple[str, str, bool]] = set()

    def operation(self, old: Schema, new: Schema, place: str) -> Iterator[str]:
        if old["operationId"] != new["operationId"]:
            yield f"{place}: generated clients called it {old['operationId']}"
        yield from _logins(old, new, place)
        yield from self._parameters(old, new, place)
        yield from self._request(old.get("requestBody", {}), new.get("requestBody", {}), place)
        for status, answer in old["responses"].items():
            now = new["responses"].get(status)
            if now is None and status == _UNCHANGED:
                continue
            if now is None:
                yield f"{place}: status {status} is gone"
                continue
            for name in answer.get("headers", {}):
                if name not in now.get("headers", {}):
                    yield f"{place}: {status}: header {name} is gone"
            yield from self._contents(answer, now, f"{place}: {status}", sent=False)

    def _parameters(self, old: Schema, new: Schema, place: str) -> Iterator[str]:
        before, now = _by_name(old), _by_name(new)
        for key, parameter in before.items():
            where = f"{place}: {key[0]} {key[1]}"
            if key not in now:
                yield f"{where} is gone"
                continue
            if now[key].get("required") and not parameter.get("required"):
                yield f"{where} has to be sent"
            yield from self.schema(parameter["schema"], now[key]["schema"], where, sent=True)
        for key, parameter in now.items():
            if key not in before and parameter.get("required"):
                yield f"{place}: {key[0]} {key[1]} has to be sent"

    def _request(self, old: Schema, new: Schema, place: str) -> Iterator[str]:
        if new.get("required") and not old.get("required"):
            yield f"{place}: a body has to be sent"
        yield from self._contents(old, new, f"{place}: body", sent=True)

    def _contents(self, old: Schema, new: Schema, place: str, *, sent: bool) -> Iterator[str]:
        for kind, media in old.get("content", {}).items():
            now = new.get("content", {}).get(kind)
            if now is None:
                yield f"{place}: {kind} is gone"
            else:
                yield from self.schema(
                    media.get("schema", {}), now.get("schema", {}), place, sent=sent
                )

    def schema(self, old: Schema, new: Schema, place: str, *, sent: bool) -> Iterator[str]:
        """Compare what clients send, or what they are answered."""
        pair = str(old.get("$ref")), str(new.get("$ref")), sent
        if "$ref" in old and "$ref" in new:
            if pair in self._seen:
                return
            self._seen.add(pair)
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        yield from _values(old, new, place, sent=sent)
        yield from self._fields(old, new, place, sent=sent)
        if "items" in old:
            yield from self.schema(old["items"], new.get("items", {}), f"{place}[]", sent=sent)
        for name, part in _variants(old).items():
            now = _variants(new).get(name)
            if now is not None:
                yield from self.schema(part, now, f"{place}<{name}>", sent=sent)
            elif sent:
                yield f"{place} no longer takes {name}"
        if not sent and _variants(old):
            for name in sorted(_variants(new).keys() - _variants(old).keys()):
                yield f"{place} may now be {name}"

    def _fields(self, old: Schema, new: Schema, place: str, *, sent: bool) -> Iterator[str]:
        required, now_required = set(old.get("required", ())), set(new.get("required", ()))
        if sent:
            for name in sorted(now_required - required):
                yield f"{place}.{name} has to be sent"
            if (
                new.get("additionalProperties") is False
                and old.get("additionalProperties") is not False
            ):
                yield f"{place} takes no further fields"
        else:
            for name in sorted(required - now_required):
                yield f"{place}.{name} is no longer always there"
        for name, part in old.get("properties", {}).items():
            now = new.get("properties", {}).get(name)
            if now is None:
                yield f"{place}.{name} is gone"
            else:
                yield from self.schema(part, now, f"{place}.{name}", sent=sent)


def _logins(old: Schema, new: Schema, place: str) -> Iterator[str]:
    """A way to log in that is no longer enough; no way named at all means that none is needed."""
    ways = [set(way) for way in new.get("security") or [{}]]
    for way in old.get("security") or [{}]:
        if not any(now <= set(way) for now in ways):
            yield f"{place}: {' and '.join(sorted(way)) or 'no login'} is not enough any more"


def _values(old: Schema, new: Schema, place: str, *, sent: bool) -> Iterator[str]:
    """Types, values and limits."""
    types, now_types = _types(old), _types(new)
    gone, added = types - now_types, now_types - types
    if sent and now_types and (gone or not types):
        yield f"{place} no longer takes {', '.join(sorted(gone)) or 'every type'}"
    if not sent and types and (added or not now_types):
        yield f"{place} may now be {', '.join(sorted(added)) or 'anything'}"
    values, now_values = _allowed(old), _allowed(new)
    if sent and now_values is not None and (values is None or values - now_values):
        yield f"{place} no longer takes every value that it took"
    if not sent and values is not None and (now_values is None or now_values - values):
        yield f"{place} has values it did not have"
    if sent:
        for name in ("pattern", "format"):
            if name in new and new[name] != old.get(name):
                yield f"{place} has another {name}"
        for name in _LOWER:
            if name in new and (name not in old or new[name] > old[name]):
                yield f"{place} has a higher {name}"
        for name in _UPPER:
            if name in new and (name not in old or new[name] < old[name]):
                yield f"{place} has a lower {name}"


def _by_name(operation: Schema) -> dict[tuple[str, str], Any]:
    """Parameters; names of headers know no case."""
    return {
        (one["in"], one["name"].lower() if one["in"] == "header" else one["name"]): one
        for one in operation.get("parameters", ())
    }


def _resolved(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        schema = root["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _types(schema: Schema) -> set[str]:
    """JSON types by name, of alternatives together; none where any may be."""
    if "anyOf" in schema:
        parts = [
            _types(part) or ({"object"} if "$ref" in part else set()) for part in schema["anyOf"]
        ]
        return set().union(*parts) if all(parts) else set()
    told = schema.get("type", ())
    types = {told} if isinstance(told, str) else set(told)
    return types | {"integer"} if "number" in types else types


def _allowed(schema: Schema) -> set[str] | None:
    if "const" in schema:
        return {str(schema["const"])}
    return {str(value) for value in schema["enum"]} if "enum" in schema else None


def _variants(schema: Schema) -> dict[str, Schema]:
    """Alternatives other than null, by their discriminator or by their place."""
    if mapping := schema.get("discriminator", {}).get("mapping"):
        return {name: {"$ref": reference} for name, reference in mapping.items()}
    parts = [
        part
        for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ()))
        if part.get("type") != "null"
    ]
    return {_title(part, number): part for number, part in enumerate(parts)}


def _title(part: Schema, number: int) -> str:
    return str(part.get("$ref", "")).rpartition("/")[2] or str(part.get("type", number))
