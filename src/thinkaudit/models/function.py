"""A Python function as a model: `python:module:function`, for a model of one's own and for tests.

The function is given the turns as `[{"role", "content"}, ...]` and returns the raw text (thinking in tags, if any), an
OpenAI-compatible response body as a dict, or a `Reply`. It may be a coroutine function.
"""

import asyncio
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Self

from ..errors import FixIt, TryAgain
from ..thinking import split_tags
from ..types import Identity, ModelSettings, Reply, Request
from ..wire import read_body


class FunctionModel:
    """A model that calls a function; one that is not a coroutine runs in a thread."""

    def __init__(self, identity: Identity, function: Callable[[list[dict[str, str]]], Any]) -> None:
        self.identity = identity
        self._function = function

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def complete(self, request: Request) -> Reply:
        """Call the function. Its exceptions become TryAgain, so that one bad case does not end a run."""
        turns = [{"role": turn.role, "content": turn.text} for turn in request.turns]
        if request.prefix:
            turns.append({"role": "assistant", "content": request.prefix})
        try:
            if inspect.iscoroutinefunction(self._function):
                said = await self._function(turns)
            else:
                said = await asyncio.to_thread(self._function, turns)
        except (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise TryAgain("server", f"the function raised {type(error).__name__}") from error
        return _reply(said)


def from_settings(settings: ModelSettings) -> FunctionModel:
    """`python:MODULE:FUNCTION`. Raises FixIt when there is no such function."""
    return FunctionModel(settings.identity, load(settings.address))


def load(path: str) -> Callable[[list[dict[str, str]]], Any]:
    """The function at `module:function`. Raises FixIt when there is none."""
    module, _, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        fix = "write python:MODULE:FUNCTION, with the module importable (PYTHONPATH)"
        raise FixIt(f"there is no function {path!r} ({error})", fix=fix) from error
    if not callable(function):
        raise FixIt(f"{path!r} is no function", fix="name a callable")
    return function  # type: ignore[no-any-return]


def _reply(said: object) -> Reply:
    if isinstance(said, Reply):
        return said
    if isinstance(said, str):
        thinking, answer = split_tags(said)
        return Reply(answer, thinking)
    if isinstance(said, Mapping):
        return read_body(said)
    raise TryAgain("malformed", f"the function returned a {type(said).__name__}, not text, a body or a Reply")
