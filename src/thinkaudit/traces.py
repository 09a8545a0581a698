"""Existing replies (JSONL, CSV, JSON or Parquet) as cases that bring their reply with them.

A row has `prompt` (or `turns`), and either `answer` with an optional `thinking`, or `text`: raw output with its tags.
`target` names the model that wrote it, `id` the case. With a benchmark, a row is matched to a case by id or else by its
prompt, and is judged by that case's rubric; without, by the rubric named in the row, or `harm`.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import data
from .benchmarks import BUILTIN
from .benchmarks.custom import MEASURES
from .benchmarks.custom import case as own_case
from .errors import FixIt
from .rows import fingerprint, numbered
from .rubrics import RUBRICS
from .thinking import split_tags
from .types import Benchmark, Case, Reply, Row, Thinking

_FIX = "a row needs `prompt` (or `turns`), and `answer` with optional `thinking`, or `text` with its tags"
_THINKING = ("thinking", "reasoning_content", "reasoning")  # field names, the first that holds text counts
_REPLY = {"answer", *_THINKING, "text", "target"}
LONGEST_GROUP = 200  # characters; a longer value names no group


def read(path: Path, unnamed: str) -> dict[str, list[tuple[str, Row]]]:
    """Rows by target, each with the place where it stands. `unnamed` is the target of rows that name none.

    Raises FixIt naming file and line for what is no trace.
    """
    found: dict[str, list[tuple[str, Row]]] = {}
    for place, row in _parquet(path) if path.suffix.lower() == ".parquet" else numbered(path):
        if not isinstance(row.get("answer"), str) and not isinstance(row.get("text"), str):
            raise FixIt("is no trace: neither `answer` nor `text` holds a text", where=place, fix=_FIX)
        found.setdefault(str(row.get("target") or unnamed), []).append((place, row))
    if not found:
        raise FixIt("holds no rows", where=str(path), fix=_FIX)
    return found


def reply_of(row: Row) -> Reply:
    """The reply in a row: thinking and answer apart, or split from raw text. A blank thinking is none.

    Tags in an `answer` are thinking as well; where the row has a field of its own for it, the field is kept.
    """
    raw = row["answer"] if isinstance(row.get("answer"), str) else row["text"]
    thinking, answer = split_tags(raw)
    field = next((row[name] for name in _THINKING if isinstance(row.get(name), str) and row[name].strip()), None)
    return Reply(answer, thinking if field is None else Thinking("full", field, carrier="trace"))


def as_benchmark(rows: list[tuple[str, Row]], benchmark: Benchmark, subset: str | None) -> Benchmark:
    """The benchmark with these replies in place of its cases. Raises FixIt for a row that no case is about."""
    cases = list(data.cases(benchmark, subset=subset))
    by_id = {case.id: case for case in cases}
    by_turns = {case.turns: case for case in cases}

    def match(index: int, place: str, row: Row) -> Case:
        fix = f"give the case's id, or its exact prompt; or leave --benchmark {benchmark.name} out"
        named = by_id.get(str(row.get("id")))
        asked = _own_case(index, place, row).turns if row.get("prompt") or row.get("turns") else None
        if named is not None and asked not in (None, named.turns):
            raise FixIt(f"the prompt is not that of the case {named.id!r}", where=place, fix="leave one of them out")
        case = named or (by_turns.get(asked) if asked else None)
        if case is None:
            raise FixIt(f"no case of {benchmark.name} has this id or prompt", where=place, fix=fix)
        return case

    return replace(benchmark, sources=(), packaged=None, **_streaming(rows, match))


def as_own_benchmark(path: Path, rows: list[tuple[str, Row]]) -> Benchmark:
    """The replies as a benchmark of their own: rubric, tags and measures as for a user's own prompts.

    It has the file's name, and the file's content as its revision, so that outcomes of a changed file stand alone.
    """
    cases = [_own_case(i, place, row) for i, (place, row) in enumerate(rows)]
    rubrics = {case.rubric.name: RUBRICS[case.rubric.name] for case in cases}
    axes = dict.fromkeys(tag for case in cases for tag, value in case.tags.items() if len(value) <= LONGEST_GROUP)
    return Benchmark(
        name=f"{path.stem}-replies" if path.stem in BUILTIN else path.stem,
        title=f"{len(rows):,} replies of your own",
        revision=int(fingerprint(path)[0][:12], 16),
        rubrics=tuple(rubrics.values()),
        measures=tuple(measure for measure in MEASURES if measure.rubric in rubrics),
        axes=tuple(axes),
        **_streaming(rows, _own_case),
    )


def _own_case(index: int, place: str, row: Row) -> Case:
    """The row as a case of one's own, its reply set aside."""
    asked = {key: value for key, value in row.items() if key not in _REPLY}
    try:
        return own_case(index, asked)
    except FixIt as error:
        raise FixIt(error.problem, where=place, fix=error.fix) from None


def _streaming(rows: list[tuple[str, Row]], match: Callable[[int, str, Row], Case]) -> dict[str, Any]:
    """Rows and case function that pair each reply with its case; a prompt that comes again gets an id of its own."""

    def paired() -> Iterator[Row]:
        seen: Counter[str] = Counter()
        for i, (place, row) in enumerate(rows):
            case = match(i, place, row)
            seen[case.id] += 1
            ident = case.id if seen[case.id] == 1 else f"{case.id}#{seen[case.id]}"
            yield {"case": replace(case, id=ident, reply=reply_of(row))}

    return {"rows": paired, "case": lambda _, row: row["case"]}


def _parquet(path: Path) -> Iterator[tuple[str, Row]]:
    import polars as pl

    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FixIt("cannot be read as Parquet", where=str(path), fix="check the file") from error
    for i, row in enumerate(frame.iter_rows(named=True)):
        yield f"{path}, row {i + 1}", row
