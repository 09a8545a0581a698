"""The whole job on one screen: for each target, cases stream past; each is asked, judged and written down.

Nothing is carried along that the store does not hold: stop it anywhere and run it again.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from . import data
from .dialogue import calls_needed, converse
from .engine import Engine, Lane
from .errors import CallFailed, DryRun, FixIt, Interrupted, OverBudget, TargetStopped, TryAgain
from .plan import Chosen, Plan, Target
from .setup import run_facts, setup_of
from .store import Call, Store, call_key, digest
from .thinking import answer_status
from .types import (
    Benchmark,
    Case,
    Exhibit,
    Identity,
    Outcome,
    Part,
    Remembered,
    Reply,
    Request,
    Status,
    Verdict,
)


@dataclass(slots=True)
class Progress:
    """Live counts for whoever watches; reports recompute everything from the store."""

    cases: int = 0
    done: int = 0
    statuses: Counter[Status] = field(default_factory=Counter)
    stopped: dict[str, str] = field(default_factory=dict)
    missing: Counter[str] = field(default_factory=Counter)
    missing_usd: float = 0.0
    unpriced: set[str] = field(default_factory=set)
    started: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Work:
    """One case of one benchmark for one target, once."""

    chosen: Chosen
    case: Case
    repeat: int


class Assessment:
    """A plan at work on a store. `run` may be called once; `interrupt` may be called while it runs."""

    def __init__(self, plan: Plan, store: Store, engine: Engine) -> None:
        self.plan, self.store, self.engine = plan, store, engine
        self.progress = Progress()
        self._setups: dict[tuple[str, str, str], str] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def count_cases(self) -> int:
        """Read every case once: data that is wrong shows before anything is paid for."""
        plan = self.plan
        each = sum(sum(1 for _ in self._cases(chosen)) for chosen in plan.benchmarks)
        self.progress.cases = each * plan.options.repeats * len(plan.targets)
        return each

    async def run(self) -> str:
        """Do everything that is not done yet. Returns how it ended: the state that the runs table keeps.

        Raises FixIt when the store or the data fails; what was done until then is kept.
        """
        started = time.time()
        ident = digest(f"{started}{self.plan.text}".encode())
        self._note_run(ident, started, "running")
        state = "interrupted"
        try:
            await asyncio.gather(*(self._audit(target) for target in self.plan.targets))
            state = self._state()
        except asyncio.CancelledError:
            if self.engine.halt is None:
                raise
            state = self._state()
        finally:
            self._note_run(ident, started, state)
        await self.store.flushed()
        return state

    async def count_missing(self) -> None:
        """With an engine that may not ask: count the calls that remain."""
        for target in self.plan.targets:
            for item in self._work():
                with suppress(DryRun):
                    await self._one(target, item)

    async def interrupt(self) -> None:
        """Ask nothing new, let the calls that are under way finish and be committed, then end."""
        self.engine.halt = self.engine.halt or Interrupted("interrupted")
        while self.engine.under_way:  # noqa: ASYNC110 - the engine need not know that someone waits
            await asyncio.sleep(0.05)
        for task in self._tasks:
            task.cancel()

    def _state(self) -> str:
        halt = self.engine.halt
        if isinstance(halt, Interrupted):
            return "interrupted"
        if isinstance(halt, OverBudget):
            return "budget"
        if isinstance(halt, FixIt):
            raise halt
        again = self.progress.stopped or any(self.progress.statuses[status] for status in ("failed", "judge_error"))
        return "incomplete" if again else "done"

    # --- one target

    async def _audit(self, target: Target) -> None:
        """Workers share one stream of cases, so memory holds what is in flight and no more."""
        work = self._work()
        lanes = {target.lane, *(seat.lane for seat in self.plan.seats.values() if seat.lane)}
        workers = sum(lane.limits.concurrency for lane in lanes)
        tasks = [asyncio.create_task(self._worker(target, work)) for _ in range(workers)]
        self._tasks += tasks
        ended = await asyncio.gather(*tasks, return_exceptions=True)  # calls under way are never thrown away
        for error in ended:
            if isinstance(error, TargetStopped):
                self.progress.stopped[target.name] = str(error)
            elif isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
                raise error

    def _work(self) -> Iterator[Work]:
        for chosen in self.plan.benchmarks:
            for repeat in range(self.plan.options.repeats):
                for case in self._cases(chosen):
                    yield Work(chosen, case, repeat)

    def _cases(self, chosen: Chosen) -> Iterable[Case]:
        options = self.plan.options
        return data.cases(
            chosen.benchmark, subset=chosen.subset, count=options.count, limit=options.limit, seed=options.seed
        )

    async def _worker(self, target: Target, work: Iterator[Work]) -> None:
        for item in work:
            try:
                await self._one(target, item)
            except (OverBudget, Interrupted, DryRun):
                continue  # what is remembered still counts; nothing new is asked
            except UnicodeEncodeError:
                self._note(target, item, "answer", Verdict(None, "failed", "the case holds text that is no Unicode"))
            self.progress.done += 1

    # --- one case

    async def _one(self, target: Target, item: Work) -> None:
        case = item.case
        try:
            said = await self._reply(target, item)
        except (TryAgain, CallFailed) as error:
            self._note(target, item, "answer", Verdict(None, "failed", str(error)))
            return
        except DryRun:
            self._count_missing_judge(item)
            raise
        judged = [self._judge(target, item, part, said) for part in case.parts if _is_there(part, said.reply)]
        await asyncio.gather(*judged)

    async def _reply(self, target: Target, item: Work) -> Remembered:
        case = item.case
        if case.reply is not None:
            return await self._given(target.name, case, case.reply, item.repeat)
        done = 0

        async def ask(request: Request) -> Remembered:
            nonlocal done
            said = await self.engine.ask(target.lane, request)
            done += 1
            return said

        try:
            return await converse(ask, case.turns, target.manner, repeat=item.repeat)
        except DryRun:
            left = calls_needed(case.turns, target.manner) - done
            self._count_missing(target.lane, left, Request(case.turns, target.manner.sampling))
            raise

    async def _given(self, name: str, case: Case, reply: Reply, repeat: int) -> Remembered:
        """A reply that came with the case is remembered like any other; its text is part of its key."""
        said = digest(f"{reply.thinking.kind}\0{reply.thinking.text}\0{reply.answer}".encode(errors="replace"))
        who, request = Identity(name, "given", said), Request(case.turns, repeat=repeat)
        key = call_key(who, request)
        if await self.store.get(key) is None:
            await self.store.put(Call(key, who, request, reply, cost_usd=0.0))
        return Remembered(key, reply)

    async def _judge(self, target: Target, item: Work, part: Part, said: Remembered) -> None:
        reply, case = said.reply, item.case
        status = answer_status(reply) if part == "answer" else "ok"
        if status != "ok":
            self._note(target, item, part, Verdict(None, status, reply.note), said)
            return
        seat = self.plan.seat(item.chosen.benchmark, case.rubric)
        text = reply.answer if part == "answer" else reply.thinking.text

        async def ask(request: Request) -> Remembered:
            if seat.lane is None:
                raise FixIt(f"the judge {seat.judge.name} has no model, yet asks one", fix="tell its maker")
            try:
                return await self.engine.ask(seat.lane, request)
            except DryRun:
                self._count_missing(seat.lane, 1, request)
                raise

        try:
            verdict = await seat.judge.judge(Exhibit(case.rubric, case.turns, part, text), ask)
        except TargetStopped as stop:
            raise TargetStopped(f"the judge cannot be asked: {stop.problem}", where=stop.where, fix=stop.fix) from stop
        except (TryAgain, CallFailed) as error:
            verdict = Verdict(None, "judge_error", f"the judge's call failed: {error}")
        self._note(target, item, part, verdict, said)

    # --- writing down

    def _note(self, target: Target, item: Work, part: Part, verdict: Verdict, said: Remembered | None = None) -> None:
        benchmark, case = item.chosen.benchmark, item.case
        judge = self.plan.seat(benchmark, case.rubric).judge.name
        outcome = Outcome(
            setup=self._setup(target, benchmark, judge),
            target=target.name,
            benchmark=benchmark.name,
            judge=judge,
            case=case.id,
            part=part,
            rubric=case.rubric.name,
            status=verdict.status,
            label=verdict.label,
            reason=verdict.reason,
            repeat=item.repeat,
            axes=case.tags,
            judge_call=verdict.call,
        )
        if said is not None:
            kind, finish = said.reply.thinking.kind, said.reply.finish
            outcome = replace(outcome, thinking=kind, finish=finish, call=said.key)
        self.progress.statuses[verdict.status] += 1
        self.store.note_outcome(outcome)

    def _setup(self, target: Target, benchmark: Benchmark, judge: str) -> str:
        known = (target.name, benchmark.name, judge)
        if known not in self._setups:
            ident, spec = setup_of(self.plan, target, benchmark, judge)
            self._setups[known] = ident
            self.store.note_setup(ident, target=target.name, benchmark=benchmark.name, judge=judge, spec=spec)
        return self._setups[known]

    def _note_run(self, ident: str, started: float, state: str) -> None:
        facts = run_facts(self.plan, self.progress.stopped)
        self.store.note_run(ident, started=started, plan=self.plan.text, state=state, facts=facts)

    # --- counting what remains, when nothing may be asked

    def _count_missing(self, lane: Lane, calls: int, like: Request) -> None:
        self.progress.missing[lane.identity.name] += calls
        self.progress.missing_usd += calls * lane.forecast_usd(like)
        if lane.price is None:
            self.progress.unpriced.add(lane.identity.name)

    def _count_missing_judge(self, item: Work) -> None:
        """A reply that is not there yet will be judged once a part, at about the length of its prompt."""
        seat = self.plan.seat(item.chosen.benchmark, item.case.rubric)
        if seat.lane is not None:
            self._count_missing(seat.lane, len(item.case.parts), Request(item.case.turns))


def _is_there(part: Part, reply: Reply) -> bool:
    """An answer is always judged or counted; thinking only when the model's own words, in full, are there."""
    return part == "answer" or (reply.thinking.kind == "full" and bool(reply.thinking.text.strip()))
