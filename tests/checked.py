"""Shapes and types of despur's functions, checked from their first call on: most are never called in a process of the tests."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from beartype import beartype


def lazily(function: Callable[..., Any]) -> Callable[..., Any]:
    """What beartype makes of a function, made when it is first called; a function inside of another is left as it is."""
    if "<locals>" in function.__qualname__:
        return function
    ready: list[Callable[..., Any]] = []

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not ready:
            ready.append(beartype(function))
        return ready[0](*args, **kwargs)

    return call
