"""The plan of `thinkaudit quickstart`, as the text of a plan file that anyone can take and change.

How many cases are asked depends on how fast the model writes here, so that a first run ends within minutes.
"""

import asyncio
import time
from collections.abc import Callable

from .embedded import EmbeddedModel, fetch
from .models.llamacpp import LlamaCppModel
from .types import Identity, Request, Sampling, Turn

THINKING, ANSWER = 96, 96  # tokens at most; enough to see which way a reply goes
AT_ONCE = 8
CONTEXT = 2048  # tokens of one sequence
SECONDS = 200.0  # for asking; loading, judging and reporting come on top
PROBE = 24  # tokens a sequence in the speed test

_PLAN = """\
[assessment]
name = "quickstart"
benchmarks = ["{benchmark}"]

[[targets]]
name = "{name}"
model = "llamacpp:{address}"
access = "open"
thinking = "prefill"          # opened by us, closed at its tag or after so many tokens, then the answer
thinking_max_tokens = {thinking}
max_tokens = {answer}
temperature = 0.6
concurrency = {at_once}
context = {context}

[judges]
default = {{ kind = "classifier" }}   # the embedded screen

[options]
limit = {limit}                    # cases, stratified; without --limit, what there is time for in three minutes
"""


def prepare(address: str, benchmark: str, notify: Callable[[str], None], *, limit: int | None = None) -> str:
    """Fetch the model and return the plan; without a `limit`, measure first how many cases there is time for.

    Raises FixIt when the model cannot be had.
    """
    found = fetch(address, notify)
    if limit is None:
        speed = asyncio.run(_tokens_per_second(found))
        limit = max(AT_ONCE, int(SECONDS * speed / (THINKING + ANSWER)))
        notify(f"{found.name} writes {speed:.0f} tokens/s here: time for up to {limit} cases")
    return _PLAN.format(
        benchmark=benchmark,
        name=found.name,
        address=found.name if address == "default" else address,
        thinking=THINKING,
        answer=ANSWER,
        at_once=AT_ONCE,
        context=CONTEXT,
        limit=limit,
    )


async def _tokens_per_second(found: EmbeddedModel) -> float:
    """Tokens that all sequences together write in a second, once the file is in memory."""
    turns = (Turn("user", "Write a long story about a walk through a town."),)
    async with LlamaCppModel(found.path, Identity(found.name, found.model), parallel=AT_ONCE, context=CONTEXT) as model:
        await model.complete(Request(turns, Sampling(max_tokens=1)))
        started = time.monotonic()
        asked = (model.complete(Request(turns, Sampling(max_tokens=PROBE, seed=i))) for i in range(AT_ONCE))
        written = sum(reply.usage.output or 0 for reply in await asyncio.gather(*asked))
        return written / (time.monotonic() - started)
