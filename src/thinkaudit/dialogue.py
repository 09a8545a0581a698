"""From the turns of a case to the last reply, call by call, each one remembered.

A user turn is answered by the target unless the case itself gives the answer. What goes back into the history is the
answer alone: thinking never leaves the turn it was written in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .thinking import PREFILL_CLOSE, PREFILL_OPEN, prefill
from .types import Ask, Remembered, Request, Sampling, Thinking, Turn


@dataclass(frozen=True, slots=True)
class Manner:
    """How a target is talked to.

    thinking             `auto`: as the server carries it; `prefill`: opened by us
    thinking_max_tokens  with `prefill`, where thinking that does not end by itself is closed
    system_role          `user`: the system turn is put before the first user turn, for models without that role
    """

    sampling: Sampling
    thinking: Literal["auto", "prefill"] = "auto"
    thinking_max_tokens: int = 4096
    system_role: Literal["system", "user"] = "system"


def calls_needed(turns: Sequence[Turn], manner: Manner) -> int:
    """How many calls a whole dialogue takes."""
    given = merged(turns) if manner.system_role == "user" else tuple(turns)
    asked = sum(_is_asked(given, i) for i in range(len(given)))
    last = bool(given) and _is_asked(given, len(given) - 1)
    return (asked + (not last)) * (2 if manner.thinking == "prefill" else 1)


def _is_asked(turns: Sequence[Turn], i: int) -> bool:
    """Whether the target answers turn `i`: a user's, whose answer the case does not give."""
    return turns[i].role == "user" and (i + 1 == len(turns) or turns[i + 1].role != "assistant")


async def converse(ask: Ask, turns: Sequence[Turn], manner: Manner, *, repeat: int = 0) -> Remembered:
    """The reply to the last user turn. A dialogue ends early when a reply holds no answer to go on with."""
    given = merged(turns) if manner.system_role == "user" else tuple(turns)
    history: list[Turn] = []
    for i, turn in enumerate(given):
        history.append(turn)
        if not _is_asked(given, i):
            continue
        said = await _reply(ask, tuple(history), manner, repeat)
        if i == len(given) - 1 or not said.reply.answer.strip():
            return said
        history.append(Turn("assistant", said.reply.answer))
    return await _reply(ask, tuple(history), manner, repeat)


def merged(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """System turns joined to the user turn after them by a newline, as CyberSecEval does without a system role."""
    system, rest = "", []
    for turn in turns:
        if turn.role == "system":
            system += turn.text + "\n"
        elif turn.role == "user" and system:
            rest.append(Turn("user", system + turn.text))
            system = ""
        else:
            rest.append(turn)
    return (*rest, Turn("user", system.removesuffix("\n"))) if system else tuple(rest)


async def _reply(ask: Ask, turns: tuple[Turn, ...], manner: Manner, repeat: int) -> Remembered:
    if manner.thinking == "auto":
        return await ask(Request(turns, manner.sampling, repeat=repeat))
    # the thinking is part of the second request, so an answer is never drawn without the thinking it belongs to
    sampling = manner.sampling
    cap = replace(sampling, max_tokens=manner.thinking_max_tokens)
    thought = await ask(Request(turns, cap, prefix=PREFILL_OPEN, stop=(PREFILL_CLOSE,), repeat=repeat))
    words = thought.reply.answer.partition(PREFILL_CLOSE)[0].strip()  # not every server stops where it is told to
    if thought.reply.finish == "blocked":
        so_far = Thinking("full", words, carrier="prefill", closed=False) if words else Thinking()
        return replace(thought, reply=replace(thought.reply, answer="", thinking=so_far))
    return await ask(Request(turns, sampling, prefix=prefill(words), repeat=repeat))
