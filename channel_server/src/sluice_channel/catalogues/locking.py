"""One thread at a time in the methods of an object that has a `lock`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar


class Locked(Protocol):
    """What the decorator needs."""

    lock: threading.RLock


_S = TypeVar("_S", bound=Locked)
_P = ParamSpec("_P")
_T = TypeVar("_T")


def locked(method: Callable[Concatenate[_S, _P], _T]) -> Callable[Concatenate[_S, _P], _T]:
    """Hold the object's lock for as long as the method runs."""

    @wraps(method)
    def call(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with self.lock:
            return method(self, *args, **kwargs)

    return call
