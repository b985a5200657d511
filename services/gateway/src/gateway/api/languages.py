"""Which language leads: Vietnamese, unless ``Accept-Language`` prefers English.

A text that exists in both has its members ``name`` and ``name_en``. Where English leads, ``name``
is the English one and ``name_vi`` the Vietnamese; ``name_en`` stays. So a reader who knows one
language reads one member, and whoever names a language gets that one. Problems follow the rule
wherever they come from.
"""

import re
from functools import lru_cache
from typing import Any, Literal

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.problems import MEDIA_TYPE

Language = Literal["vi", "en"]

_LONGEST = 200
_RANGE = re.compile(
    r"\s*(\*|[A-Za-z]{1,8})(?:-[A-Za-z0-9-]{1,40})?\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?))?\s*"
)


def language_of(headers: Headers) -> Language:
    """The language that leads in an answer (RFC 9110 §12.5.4); what is malformed asks for none."""
    asked = headers.get("accept-language")
    return _preferred(asked) if asked and len(asked) <= _LONGEST else "vi"


@lru_cache(maxsize=256)
def _preferred(asked: str) -> Language:
    weights: dict[str, tuple[float, int]] = {}
    for place, part in enumerate(asked.split(",")):
        if found := _RANGE.fullmatch(part):
            name, weight = found[1].lower(), float(found[2] or 1)
            weights[name] = max(weights.get(name, (0.0, 0)), (weight, -place))
    rest = weights.get("*", (0.0, 0))
    vietnamese, english = weights.get("vi", rest), weights.get("en", rest)
    return "en" if english[0] > 0 and english > vietnamese else "vi"


def english_first(value: Any) -> bool:
    """Let English lead in a JSON value, in place; whether there was any."""
    changed = False
    if isinstance(value, list):
        for one in value:
            changed |= english_first(one)
    elif isinstance(value, dict):
        for inside in value.values():
            changed |= english_first(inside)
        for english in [name for name in value if name.endswith("_en")]:
            name = english.removesuffix("_en")
            if isinstance(value[english], str) and name in value:
                value[f"{name}_vi"], value[name] = value[name], value[english]
                changed = True
    return changed


def varies(headers: MutableHeaders) -> None:
    """Say that the answer depends on ``Accept-Language``."""
    given = headers.get("vary", "")
    if "accept-language" not in given.lower():
        headers["vary"] = f"{given}, accept-language" if given else "accept-language"


class Languages:
    """Gives problems their language (pure ASGI)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        body = bytearray()

        async def answer(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                if message["status"] < 400 or not _is_problem(message):
                    await send(message)
                    return
                language = language_of(Headers(scope=scope))
                headers = MutableHeaders(scope=message)
                headers["content-language"] = language
                varies(headers)
                if language == "vi":
                    await send(message)
                else:
                    start = message
            elif start is None:
                await send(message)
            else:
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    told = _english(bytes(body))
                    MutableHeaders(scope=start)["content-length"] = str(len(told))
                    await send(start)
                    await send({"type": "http.response.body", "body": told})

        await self._app(scope, receive, answer)


def _is_problem(message: Message) -> bool:
    kind = MutableHeaders(scope=message).get("content-type", "")
    return kind.startswith(MEDIA_TYPE)


def _english(body: bytes) -> bytes:
    try:
        problem = orjson.loads(body)
    except ValueError:
        return body
    english_first(problem)
    return orjson.dumps(problem)
