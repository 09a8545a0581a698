"""A Python function as a model: whatever it returns or raises, and however it was written."""

import asyncio
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from thinkaudit.errors import CallFailed, FixIt, TryAgain
from thinkaudit.models.function import FunctionModel, from_settings, load
from thinkaudit.types import Identity, ModelSettings, Reply, Request, Thinking, Turn

WHO = Identity("own", "module:function")
ASKED = Request((Turn("system", "Be kind."), Turn("user", "Good morning")))
THOUGHT = Reply("Gladly.", Thinking("full", "They ask.", carrier="tags"))


async def said(function: Any, request: Request = ASKED) -> Reply:
    async with FunctionModel(WHO, function) as model:
        return await model.complete(request)


async def test_the_function_gets_the_turns_as_messages() -> None:
    seen: list[list[dict[str, str]]] = []

    def function(turns: list[dict[str, str]]) -> str:
        seen.append(turns)
        return "Gladly."

    assert await said(function) == Reply("Gladly.")
    assert seen == [[{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Good morning"}]]


class Callable:
    async def __call__(self, _: object) -> str:
        return "<think>They ask.</think>Gladly."


async def coroutine(_: object) -> str:
    return "<think>They ask.</think>Gladly."


@pytest.mark.parametrize(
    "function",
    [lambda _: "<think>They ask.</think>Gladly.", coroutine, partial(coroutine), Callable(), lambda _: THOUGHT],
    ids=["function", "coroutine", "partial", "object", "reply"],
)
async def test_any_kind_of_callable_may_return_text_with_tags_or_a_reply(function: Any) -> None:
    assert await said(function) == THOUGHT


async def test_a_response_body_is_read_like_a_servers() -> None:
    message = {"content": "Gladly.", "reasoning_content": "They ask."}
    reply = await said(lambda _: {"choices": [{"message": message, "finish_reason": "length"}]})
    assert (reply.answer, reply.thinking.text, reply.finish) == ("Gladly.", "They ask.", "length")


@pytest.mark.parametrize("value", [None, 5, ["text"], b"bytes", object()])
async def test_anything_else_that_it_returns_is_malformed(value: object) -> None:
    with pytest.raises(TryAgain) as caught:
        await said(lambda _: value)
    assert caught.value.trouble == "malformed"


async def test_a_prefix_comes_last_and_its_continuation_is_kept_raw() -> None:
    request = Request(ASKED.turns, prefix="<think>\n")
    reply = await said(lambda turns: f"{turns[-1]['role']}: {turns[-1]['content']!r} </think> Gladly.", request)
    assert reply == Reply("assistant: '<think>\\n' </think> Gladly.")


class OwnError(Exception):
    """As vendors' libraries have them: derived from Exception and from nothing else."""


@pytest.mark.parametrize("error", [OwnError("secret"), AssertionError("secret"), TimeoutError(), KeyError("secret")])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["in a thread", "as a coroutine"])
async def test_whatever_it_raises_fails_its_call_alone_and_is_not_quoted(
    error: Exception, *, asynchronous: bool
) -> None:
    async def later(_: object) -> str:
        raise error

    def now(_: object) -> str:
        raise error

    with pytest.raises(TryAgain) as caught:
        await said(later if asynchronous else now)
    assert str(caught.value) == f"server: the function raised {type(error).__name__}"


@pytest.mark.parametrize("error", [TryAgain("rate_limited", "429", after=3.0), CallFailed("too long"), FixIt("no")])
async def test_our_own_errors_pass_as_they_are(error: Exception) -> None:
    def function(_: object) -> str:
        raise error

    with pytest.raises(type(error)) as caught:
        await said(function)
    assert caught.value is error


async def test_being_cancelled_is_no_error_of_the_function() -> None:
    async def function(_: object) -> str:
        await asyncio.sleep(60)
        return "never"

    call = asyncio.create_task(said(function))
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_as_many_plain_functions_run_at_once_as_the_plan_allows() -> None:
    together = threading.Barrier(12)  # breaks, and with it the calls, unless twelve are inside at once

    def function(_: object) -> str:
        together.wait(20)
        return "Gladly."

    async with FunctionModel(WHO, function, concurrency=12) as model:
        replies = await asyncio.gather(*(model.complete(ASKED) for _ in range(12)))
    assert {reply.answer for reply in replies} == {"Gladly."}


def test_a_function_is_found_by_module_and_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_a.py").write_text("def answer(turns):\n    return 'Gladly.'\n\nNUMBER = 5\n")
    (tmp_path / "mine_b.py").write_text("def answer(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    model = from_settings(ModelSettings(WHO, "mine_a:answer"))
    assert asyncio.run(model.complete(ASKED)) == Reply("Gladly.")
    assert model.identity == WHO
    for wrong in ("mine_a:other", "mine_a", "missing_module:x", ":x", "", "mine_b:answer"):
        with pytest.raises(FixIt, match="there is no function"):
            load(wrong)
    with pytest.raises(FixIt, match="is no function"):
        load("mine_a:NUMBER")
