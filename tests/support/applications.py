"""Hundreds of applications start in the process of the tests, one after the other, where a service
starts one: what is the same for all of them is done once."""

import gc
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import params, routing

_freeze = gc.freeze
# What FastAPI reads out of an endpoint's signature and its route's dependencies.
_read = routing._build_dependant_with_parameterless_dependencies
_known: dict[tuple[object, ...], Any] = {}


def share() -> None:
    """Once, before any application is made.

    An application freezes what it began with, and what is frozen is never given back; and it reads
    the signatures of its endpoints anew at its first request.
    """
    gc.freeze = lambda: None
    routing._build_dependant_with_parameterless_dependencies = _read_once


def freeze() -> None:
    """What is there now stays to the end: no application goes through it again, as each does that
    collects its garbage when it has started."""
    gc.collect()
    _freeze()


def _read_once(
    *, path: str, call: Callable[..., Any], dependencies: Sequence[params.Depends]
) -> Any:
    key = (path, call, *dependencies)
    if key not in _known:
        _known[key] = _read(path=path, call=call, dependencies=dependencies)
    return _known[key]
