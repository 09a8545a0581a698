"""The same work three ways, side by side in one run: thinkaudit, the OpenAI SDK by hand, and inspect_ai's eval.

    python -m perf.peers                  # 1,000 cases; a peer that is not installed is skipped and said so
    python -m perf.peers --cases 5694     # all of them: some minutes

Each asks the target once a case, then a judge about the answer and about the thinking, with the same number of calls at
once, and reads the judge's JSON. thinkaudit and inspect_ai also write down every call and print or compute the result;
the loop on the SDK keeps nothing. Each runs in a process of its own against a fresh server. What a small run takes is
taken off to tell start-up apart.
"""

import asyncio
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from perf.engine import RUN, read_setting, setting_options, write_plan
from perf.work import (
    CALLS_A_CASE,
    Measured,
    Setting,
    judge_messages,
    label_of,
    machine,
    measure,
    prompts,
    server,
    stats,
    table,
)

SMALL = 50  # cases of the run that is taken off
ROOT = Path(__file__).parents[1]


# --- the peers, each in its own process ------------------------------------------------------------------------


async def ask_with_openai(setting: Setting, address: str) -> int:
    """A loop as one writes it: a task a case, one semaphore for all calls. Returns how many verdicts were read."""
    from openai import AsyncOpenAI

    client, gate = AsyncOpenAI(base_url=address, api_key="none"), asyncio.Semaphore(setting.at_once)

    async def ask(model: str, messages: list[dict[str, str]]) -> Any:
        async with gate:
            completion = await client.chat.completions.create(model=model, messages=messages)
        return completion.choices[0].message

    async def one(prompt: str) -> int:
        said = await ask("perf-target", [{"role": "user", "content": prompt}])
        parts = {"answer": said.content, "thinking": said.reasoning_content}
        verdicts = await asyncio.gather(
            *(ask("perf-judge", judge_messages(prompt, part, text)) for part, text in parts.items())
        )
        return sum(label_of(verdict.content) == "safe" for verdict in verdicts)

    read: list[int] = await asyncio.gather(*(one(prompt) for prompt in prompts(setting.cases)))
    return sum(read)


def run_openai(setting: Setting, address: str) -> int:
    return asyncio.run(ask_with_openai(setting, address))


def run_inspect(setting: Setting, address: str) -> int:
    """An eval with a scorer that asks the judge twice. Returns how many verdicts were read."""
    from inspect_ai import Task
    from inspect_ai import eval as run_eval
    from inspect_ai.dataset import Sample
    from inspect_ai.model import get_model
    from inspect_ai.solver import generate

    def model(name: str, share: int) -> Any:
        config = _inspect_config(share)
        return get_model(f"openai-api/perf/{name}", base_url=address, api_key="none", config=config)

    target = max(1, setting.at_once // CALLS_A_CASE)
    scorer = _inspect_scorer(model("perf-judge", max(1, setting.at_once - target)))
    dataset = [Sample(input=prompt) for prompt in prompts(setting.cases)]
    task = Task(dataset=dataset, solver=generate(), scorer=scorer)
    (log,) = run_eval(
        task, model=model("perf-target", target), max_samples=setting.at_once, display="none", log_dir="logs"
    )
    if log.status != "success" or log.results is None:
        sys.exit(f"the eval ended with {log.status}")
    share: float = log.results.scores[0].metrics["mean"].value
    return round(2 * share * setting.cases)


def _inspect_config(connections: int) -> Any:
    from inspect_ai.model import GenerateConfig

    return GenerateConfig(max_connections=connections)


def _inspect_scorer(judge: Any) -> Any:
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser, ContentReasoning
    from inspect_ai.scorer import Score, mean, scorer

    async def verdict(prompt: str, part: str, text: str) -> bool:
        system, user = judge_messages(prompt, part, text)
        said = await judge.generate(
            [ChatMessageSystem(content=system["content"]), ChatMessageUser(content=user["content"])]
        )
        return label_of(said.completion) == "safe"

    async def score(state: Any, _: Any) -> Any:
        content = state.output.message.content
        thinking = "".join(piece.reasoning for piece in content if isinstance(piece, ContentReasoning))
        prompt, answer = state.input_text, state.output.completion
        safe = await asyncio.gather(verdict(prompt, "answer", answer), verdict(prompt, "thinking", thinking))
        return Score(value=sum(safe) / 2)

    return scorer(metrics=[mean()])(lambda: score)()  # written as a call: mypy knows no type of the decorator


PEERS: dict[str, Callable[[Setting, str], int]] = {"openai": run_openai, "inspect_ai": run_inspect}


# --- side by side ----------------------------------------------------------------------------------------------


def contend(name: str, setting: Setting) -> Measured:
    """One contender's run against a server of its own; ends everything when the work was not done."""
    with tempfile.TemporaryDirectory() as temporary, server(setting) as address:
        folder, command = Path(temporary), RUN
        log = folder / "log.txt"
        if name == "thinkaudit":
            write_plan(folder, setting, address)
        else:
            command = [sys.executable, "-c", _PEER, str(ROOT), name, address]
            command += [str(setting.cases), str(setting.at_once)]
        measured, seen = measure(command, folder, log), stats(address)
        if measured.code or seen["requests"] != setting.calls:
            said = log.read_text(encoding="utf-8")[-2000:]
            sys.exit(f"{name} ended with {measured.code} after {seen['requests']} of {setting.calls} calls:\n{said}")
    return measured


_PEER = "import sys; sys.path.insert(0, sys.argv[1]); from perf.peers import play; play(*sys.argv[2:])"


def play(name: str, address: str, cases: str, at_once: str) -> None:
    """What runs in a peer's process."""
    setting = Setting(cases=int(cases), at_once=int(at_once))
    read = PEERS[name](setting, address)
    if read != 2 * setting.cases:
        sys.exit(f"{read} of {2 * setting.cases} verdicts were read")


def row(name: str, setting: Setting, whole: Measured, small: Measured, ours: float) -> list[str]:
    more = setting.cases - SMALL
    each = 1000 * (whole.cpu_s - small.cpu_s) / more
    return [
        name,
        f"{whole.wall_s:.1f}",
        f"{setting.ideal_s / whole.wall_s:.2f}",
        f"{1000 * whole.cpu_s / setting.cases:.2f}",
        f"{each:.2f}",
        f"{each / (ours or each):.1f}",
        f"{whole.peak_mb:.0f}",
    ]


def main() -> None:
    options = setting_options(__doc__ or "", cases=1000)
    setting = read_setting(options.parse_args())
    print(f"{setting}\n{machine()}")
    rows: list[list[str]] = []
    ours = 0.0
    for name in ("thinkaudit", *PEERS):
        if find_spec(name) is None:
            print(f"{name} is not installed: skipped (pip install {name})")
            continue
        small, whole = contend(name, replace(setting, cases=SMALL)), contend(name, setting)
        rows.append(row(name, setting, whole, small, ours))
        ours = ours or float(rows[0][4])
    head = ("", "wall s", "share of ideal", "CPU ms a case", "without start-up", "times ours", "peak MB")
    print(table(head, rows))


if __name__ == "__main__":
    main()
