"""From stored outcomes to a report: rates by part and axis, answer against thinking, provenance.

Everything is recomputed from rows, so a resumed run reports what an undisturbed one would. Of each target, benchmark
and judge the setup that was run last is shown; older ones stay in the store and are named in the notes.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from .errors import FixIt
from .shape import EVERYTHING, CaseView, Comparison, RateRow, Report, VerdictView
from .shape import Target as TargetView
from .stats import effective_size, paired, rate
from .store import Store
from .types import KINDS, PARTS, UNJUDGED

if TYPE_CHECKING:
    import polars as pl

_COLUMNS = (
    "setup", "target", "benchmark", "judge", "case_id", "attack", "repeat", "part", "rubric", "status", "label",
    "score", "reason", "thinking", "finish", "axes", "call", "judge_call",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setup:
    """A row of the setups table, read back."""

    id: str
    target: str
    benchmark: str
    judge: str
    spec: Mapping[str, Any]


def make_report(store: Store) -> Report:
    """The report of everything in a store. Raises FixIt when there is nothing to report."""
    setups, older = _setups(store)
    outcomes = _outcomes(store, setups)
    if not outcomes:
        raise FixIt("the store holds no outcomes yet", where=str(store.path), fix="run a plan into it first")
    facts = _facts(store)
    rates: list[RateRow] = []
    comparisons: list[Comparison] = []
    for setup in (setup for setup in setups if setup.id in outcomes):
        for attack, rows in _by(outcomes[setup.id], "attack"):
            rates += _rates(setup, attack, rows)
            comparisons += _comparisons(setup, attack, rows)
    targets = _targets(store, outcomes.values(), facts)
    return {
        "schema": "thinkaudit.report/1",
        "assessment": _assessment(setups, outcomes.values(), facts, older),
        "targets": targets,
        "judges": _judges(setups, facts),
        "rates": rates,
        "comparisons": comparisons,
        "findings": [],
        "provenance": _provenance(store, setups, facts),
    }


# --- reading ---------------------------------------------------------------------------------------------------


def _setups(store: Store) -> tuple[list[Setup], list[Setup]]:
    """The last setup of each target, benchmark and judge, and those it replaced."""
    latest: dict[tuple[str, str, str], Setup] = {}
    older: list[Setup] = []
    rows = store.query("SELECT id, target, benchmark, judge, spec FROM setups ORDER BY at DESC, id")
    for ident, target, benchmark, judge, spec in rows:
        setup = Setup(ident, target, benchmark, judge, json.loads(spec))
        if (target, benchmark, judge) in latest:
            older.append(setup)
        else:
            latest[target, benchmark, judge] = setup
    return sorted(latest.values(), key=lambda s: (s.benchmark, s.target, s.judge)), older


def _outcomes(store: Store, setups: Sequence[Setup]) -> dict[str, "pl.DataFrame"]:
    """The outcomes of each setup as a frame, the axes as columns named `axis:...`."""
    import polars as pl

    found = {}
    for setup in setups:
        rows = store.query(f"SELECT {', '.join(_COLUMNS)} FROM outcomes WHERE setup = ?", (setup.id,))  # noqa: S608
        if not rows:
            continue
        frame = pl.DataFrame(rows, schema=list(_COLUMNS), orient="row", infer_schema_length=None).cast(
            {"label": pl.String, "score": pl.Float64, "call": pl.String, "judge_call": pl.String}
        )
        tags = frame["axes"].unique()
        parsed = [json.loads(text) for text in tags]
        names = sorted({name for one in parsed for name in one})
        table = {f"axis:{name}": [one.get(name) for one in parsed] for name in names}
        lookup = pl.DataFrame({"axes": tags, **{k: pl.Series(v, dtype=pl.String) for k, v in table.items()}})
        found[setup.id] = frame.join(lookup, on="axes", how="left")
    return found


def _facts(store: Store) -> list[dict[str, Any]]:
    """The runs, latest first."""
    rows = store.query("SELECT started, ended, version, plan, state, facts FROM runs ORDER BY started DESC")
    names = ("started", "ended", "version", "plan", "state")
    return [{**dict(zip(names, row[:5], strict=True)), **json.loads(row[5])} for row in rows]


def _by(frame: "pl.DataFrame", column: str) -> Iterator[tuple[str, "pl.DataFrame"]]:
    for (value,), rows in sorted(frame.group_by(column), key=lambda pair: str(pair[0][0])):
        if value is not None:
            yield str(value), rows


# --- rates -----------------------------------------------------------------------------------------------------


def _rates(setup: Setup, attack: str, frame: "pl.DataFrame") -> Iterator[RateRow]:
    """Every measure of a benchmark, over everything and by each axis, for each part."""
    for measure in setup.spec["measures"]:
        rows = _among(frame, measure)
        for part in PARTS:
            of_part = rows.filter(rows["part"] == part)
            if of_part.is_empty():
                continue
            yield _rate(setup, attack, part, measure, (EVERYTHING, EVERYTHING), of_part)
            for axis in setup.spec["axes"]:
                if f"axis:{axis}" in of_part.columns and axis not in measure["among"]:
                    for group, some in _by(of_part, f"axis:{axis}"):
                        yield _rate(setup, attack, part, measure, (axis, group), some)


def _among(frame: "pl.DataFrame", measure: Mapping[str, Any]) -> "pl.DataFrame":
    """The outcomes that a measure is about."""
    if measure["rubric"] is not None:
        frame = frame.filter(frame["rubric"] == measure["rubric"])
    for tag, group in measure["among"].items():
        column = f"axis:{tag}"
        frame = frame.filter(frame[column] == group) if column in frame.columns else frame.clear()
    return frame


def _rate(
    setup: Setup, attack: str, part: str, measure: Mapping[str, Any], where: tuple[str, str], rows: "pl.DataFrame"
) -> RateRow:
    import polars as pl

    judged = rows.filter(rows["status"] == "ok")
    hit = judged["label"].is_in(list(measure["hits"]))
    hits, n = int(hit.sum()), judged.height
    clusters = judged.with_columns(hit=hit).group_by("case_id").agg(pl.col("hit").sum(), pl.len().alias("n"))
    found = rate(hits, n, effective=effective_size(clusters.select("hit", "n").iter_rows()) if n else None)
    counts, everyone = Counter(rows["status"].to_list()), rows.height
    return {
        "target": setup.target,
        "benchmark": setup.benchmark,
        "attack": attack,
        "judge": setup.judge,
        "part": cast("Any", part),
        "axis": where[0],
        "group": where[1],
        "measure": measure["name"],
        "about": measure["about"],
        "better": measure["better"],
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "hits": hits,
        "judged": n,
        "unjudged": {status: counts[status] for status in UNJUDGED if counts[status]},
        "bounds": (hits / everyone, (hits + everyone - n) / everyone) if everyone else None,
    }


def _comparisons(setup: Setup, attack: str, frame: "pl.DataFrame") -> Iterator[Comparison]:
    """Answer against thinking on the same replies, where both were judged."""
    keys = ["case_id", "repeat"]
    for measure in setup.spec["measures"]:
        rows = _among(frame, measure)
        judged = rows.filter(rows["status"] == "ok")
        judged = judged.with_columns(hit=judged["label"].is_in(list(measure["hits"])))
        answer, thinking = (judged.filter(judged["part"] == part).select(*keys, "hit") for part in PARTS)
        if thinking.is_empty():
            continue
        pairs = Counter(answer.join(thinking, on=keys, suffix="_thinking").select("hit", "hit_thinking").iter_rows())
        found = paired(pairs[True, True], pairs[True, False], pairs[False, True], pairs[False, False])
        yield {
            "kind": "answer_vs_thinking",
            "target": setup.target,
            "benchmark": setup.benchmark,
            "attack": attack,
            "judge": setup.judge,
            "measure": measure["name"],
            "better": measure["better"],
            "n": found.n,
            "answer": found.first,
            "thinking": found.second,
            "difference": found.difference,
            "low": found.low,
            "high": found.high,
            "p": found.p,
            "only_answer": found.only_first,
            "only_thinking": found.only_second,
        }


# --- around the rates ------------------------------------------------------------------------------------------


def _assessment(
    setups: Sequence[Setup],
    frames: Iterable["pl.DataFrame"],
    facts: Sequence[Mapping[str, Any]],
    older: Sequence[Setup],
) -> Any:
    last = facts[0] if facts else {}
    statuses: Counter[str] = Counter()
    for frame in frames:
        statuses.update(frame["status"].to_list())
    notes = [f"{t['name']}: {t['remark']}" for t in last.get("targets", ()) if t.get("remark")]
    notes += [f"{t['name']} was stopped: {t['stopped']}" for t in last.get("targets", ()) if t.get("stopped")]
    if older:
        shown = ", ".join(sorted({f"{s.target} on {s.benchmark}" for s in older}))
        notes.append(f"The store also holds outcomes of earlier settings, which are not shown: {shown}.")
    state = last.get("state", "done")
    if state != "done":
        how = "is still under way, or was killed" if state == "running" else f"ended as {state!r}"
        notes.append(f"The last run {how}; run the plan again to go on.")
    return {
        "name": last.get("name", ""),
        "benchmarks": sorted({setup.benchmark for setup in setups}),
        "reference": last.get("reference"),
        "started": _when(min((f["started"] for f in facts), default=None)),
        "ended": _when(last.get("ended")),
        "complete": state == "done" and not statuses["failed"] and not statuses["judge_error"],
        "notes": notes,
    }


def _targets(store: Store, frames: Iterable["pl.DataFrame"], facts: Sequence[Mapping[str, Any]]) -> list[TargetView]:
    """What each target is, what it took, and in which state its thinking reached us."""
    import polars as pl

    once = ["target", "benchmark", "case_id", "attack", "repeat"]
    answers = [f.filter(pl.col("part") == "answer").select(*once, "status", "thinking", "finish") for f in frames]
    replies = pl.concat(answers, how="vertical").unique(once)
    known = {t["name"]: t for run in reversed(facts) for t in run.get("targets", ())}
    spent = store.spent()
    views: list[TargetView] = []
    for name, rows in _by(replies, "target"):
        about, sums = known.get(name, {}), spent.get(name)
        answered = rows.filter(rows["status"] != "failed")
        kinds = Counter(answered["thinking"].to_list())
        views.append(
            {
                "name": name,
                "model": about.get("model", ""),
                "access": about.get("access"),
                "reasoning": about.get("reasoning"),
                "base": about.get("base"),
                "calls": sums.calls if sums else 0,
                "input_tokens": sums.input_tokens if sums else None,
                "output_tokens": sums.output_tokens if sums else None,
                "cost_usd": sums.cost_usd if sums and not sums.unpriced else None,
                "thinking": {kind: kinds[kind] for kind in KINDS},
                "cut_off": int((answered["finish"] == "length").sum()),
                "stopped": about.get("stopped"),
                "remark": about.get("remark", ""),
            }
        )
    missing = [t for name, t in known.items() if name not in {v["name"] for v in views} and t.get("stopped")]
    return views + [_stopped(target) for target in missing]


def _stopped(target: Mapping[str, Any]) -> TargetView:
    """A target of which nothing came: shown with its reason, not left out."""
    return {
        "name": target["name"], "model": target["model"], "access": target["access"], "reasoning": target["reasoning"],
        "base": target["base"], "calls": 0, "input_tokens": None, "output_tokens": None, "cost_usd": None,
        "thinking": dict.fromkeys(KINDS, 0), "cut_off": 0, "stopped": target["stopped"], "remark": target["remark"],
    }  # fmt: skip


def _judges(setups: Sequence[Setup], facts: Sequence[Mapping[str, Any]]) -> list[Any]:
    known = {j["name"]: j for run in reversed(facts) for j in run.get("judges", ())}
    return [
        {"name": name, "about": known.get(name, {}).get("about", ""), "limits": known.get(name, {}).get("limits", "")}
        for name in sorted({setup.judge for setup in setups})
    ]


def _provenance(store: Store, setups: Sequence[Setup], facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    spent = store.spent()
    benchmarks = {(b["name"], b["subset"]): b for run in reversed(facts) for b in run.get("benchmarks", ())}
    return {
        "versions": sorted({run["version"] for run in facts}),
        "runs": [
            {"started": _when(run["started"]), "ended": _when(run["ended"]), "state": run["state"]} for run in facts
        ],
        "plan": facts[0]["plan"] if facts else "",
        "data": [
            {"benchmark": b["name"], "revision": b["revision"], "subset": b["subset"], "files": b["files"]}
            for _, b in sorted(benchmarks.items(), key=str)
        ],
        "setups": [
            {"target": s.target, "benchmark": s.benchmark, "judge": s.judge, "id": s.id}
            | {key: s.spec[key] for key in ("manner", "judge_sampling", "rubrics")}
            for s in setups
        ],
        "rubrics": _rubrics(setups),
        "calls": {
            name: {"calls": s.calls, "input_tokens": s.input_tokens, "output_tokens": s.output_tokens,
                   "cost_usd": s.cost_usd, "calls_without_price": s.unpriced}
            for name, s in sorted(spent.items())
        },
    }  # fmt: skip


def _rubrics(setups: Sequence[Setup]) -> dict[str, Any]:
    """What the judges were asked, once for each wording, under the hash that the setups name."""
    return {
        hashed: {"name": name, "question": s.spec["questions"][name], "labels": s.spec.get("labels", {}).get(name, {})}
        for s in setups
        for name, hashed in sorted(s.spec["rubrics"].items())
    }


def _when(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


# --- the cases behind the numbers ------------------------------------------------------------------------------

_CASES = """
    SELECT o.benchmark, o.target, o.case_id, o.attack, o.repeat, o.part, o.judge, o.rubric, o.status, o.label, o.reason,
           o.axes, c.request, c.thinking_kind, c.thinking, c.carrier, c.answer, c.finish, c.note, j.answer, o.setup
    FROM outcomes o LEFT JOIN calls c ON c.key = o.call LEFT JOIN calls j ON j.key = o.judge_call
    WHERE o.setup IN ({marks}) ORDER BY o.benchmark, o.case_id, o.target, o.attack, o.repeat, o.part, o.judge
"""


def cases(store: Store) -> Iterator[CaseView]:
    """Every case with its texts and verdicts, one at a time, in the order of benchmark and case."""
    setups, _ = _setups(store)
    current: tuple[Any, ...] | None = None
    view: CaseView | None = None
    marks = ", ".join("?" * len(setups))
    for row in store.stream(_CASES.format(marks=marks), [setup.id for setup in setups]):
        key = row[:5]
        if key != current:
            if view is not None:
                yield view
            current, view = key, _view(row)
        assert view is not None  # noqa: S101 - set with `current`
        view["verdicts"].append(_verdict(row))
    if view is not None:
        yield view


def _view(row: tuple[Any, ...]) -> CaseView:
    benchmark, target, case, attack, repeat = row[:5]
    axes, request, kind, thinking, carrier, answer, finish, note = row[11:19]
    turns = json.loads(request)["turns"] if request else []
    return {
        "id": case,
        "benchmark": benchmark,
        "target": target,
        "attack": attack,
        "repeat": repeat,
        "tags": json.loads(axes),
        "turns": [{"role": role, "text": text} for role, text in turns],
        "thinking": {"kind": kind or "none", "text": thinking or "", "carrier": carrier or ""},
        "answer": answer or "",
        "finish": finish or "stop",
        "note": note or "",
        "verdicts": [],
    }


def _verdict(row: tuple[Any, ...]) -> VerdictView:
    part, judge, rubric, status, label, reason = row[5:11]
    return {
        "part": part, "judge": judge, "rubric": rubric, "label": label, "status": status, "reason": reason,
        "judge_reply": row[19],
    }  # fmt: skip


def export(store: Store) -> "pl.DataFrame":
    """The latest outcomes as one flat table: a column for each field and each axis (`axis:NAME`)."""
    import polars as pl

    setups, _ = _setups(store)
    frames = list(_outcomes(store, setups).values())
    if not frames:
        raise FixIt("the store holds no outcomes yet", where=str(store.path), fix="run a plan into it first")
    table = pl.concat(frames, how="diagonal").drop("axes")
    return table.sort("target", "benchmark", "judge", "case_id", "attack", "repeat", "part")
