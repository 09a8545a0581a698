"""What a person sees while a run goes on: cases, rate, tokens, cost, time left, and trouble by kind."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from .assess import Progress
from .engine import Lane
from .job import Watch
from .shape import stripped

EVERY_S = 15.0  # how often a line is written where there is no terminal to draw on


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Watch | None]:
    """A function to be shown the live counts: a moving bar on a terminal, a line now and then elsewhere."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bar() as watch:
            yield watch
    else:
        yield _lines()


@contextmanager
def _bar() -> Iterator[Watch]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}", markup=False),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("cases", total=None, facts="")

        def watch(now: Progress, lanes: tuple[Lane, ...]) -> None:
            bar.update(task, total=now.cases or None, completed=now.done, facts=facts(now, lanes))

        yield watch


def _lines() -> Watch:
    last, told = time.monotonic(), False

    def watch(now: Progress, lanes: tuple[Lane, ...]) -> None:
        nonlocal last, told
        if now.ending and not told:
            last, told = 0.0, True
        if time.monotonic() - last >= EVERY_S:
            last = time.monotonic()
            sys.stderr.write(f"{now.done}/{now.cases} cases  {facts(now, lanes)}\n")
            sys.stderr.flush()

    return watch


def facts(now: Progress, lanes: tuple[Lane, ...]) -> str:
    """One line: calls a second, tokens, cost, time left, failures by kind and whoever makes us wait."""
    spent = max(time.monotonic() - now.started, 1e-9)
    calls = sum(lane.tally.fresh for lane in lanes)
    tokens = sum(lane.tally.input_tokens + lane.tally.output_tokens for lane in lanes)
    parts = [f"{calls / spent:.1f} calls/s", f"{_short(tokens)} tokens", _cost(lanes)]
    if 0 < now.done < now.cases:
        parts.append(f"{_clock(spent / now.done * (now.cases - now.done))} left")
    parts += _trouble(now, lanes)
    if now.ending:
        parts.append("finishing the calls under way; Ctrl-C again stops at once")
    return stripped("  ".join(part for part in parts if part))


def _trouble(now: Progress, lanes: tuple[Lane, ...]) -> list[str]:
    retried: Counter[str] = sum((lane.tally.troubles for lane in lanes), Counter())
    found = [f"{kind} {n}x" for kind, n in retried.items()]
    found += [f"{status} {n}" for status, n in now.statuses.items() if status != "ok"]
    waits = [lane.tally.waiting_until - time.monotonic() for lane in lanes]
    if max(waits, default=0) > 0:
        found.append(f"told to wait {max(waits):.0f} s")
    found += [f"{name} stopped" for name in now.stopped]
    return found


def _cost(lanes: tuple[Lane, ...]) -> str:
    priced = [lane for lane in lanes if lane.price is not None]
    if any(lane.price is None and lane.tally.fresh for lane in lanes):
        return "cost unknown"
    return f"{sum(lane.tally.cost_usd for lane in priced):.2f} USD"


def _short(n: float) -> str:
    for unit in ("", "k", "M"):
        if n < 1000:
            return f"{n:.0f}{unit}" if not unit else f"{n:.1f}{unit}"
        n /= 1000
    return f"{n:.1f}G"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
