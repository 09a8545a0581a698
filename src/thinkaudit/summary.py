"""From stored outcomes to a report: rates by part and axis, answer against thinking, provenance.

Everything is recomputed from rows, so a resumed run reports what an undisturbed one would. Settings that are not shown
any more are named in the notes.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from .errors import FixIt
from .recall import Setup, by, outcomes_of, runs_of, setups_of
from .shape import EVERYTHING, Comparison, RateRow, Report
from .shape import Target as TargetView
from .stats import effective_size, paired_by_case, rate
from .store import Spent, Store
from .types import KINDS, PARTS, UNJUDGED

if TYPE_CHECKING:
    import polars as pl


def make_report(store: Store) -> Report:
    """The report of everything in a store. Raises FixIt when there is nothing to report."""
    setups, older = setups_of(store)
    outcomes = outcomes_of(store, setups)
    if not outcomes:
        raise FixIt("the store holds no outcomes yet", where=str(store.path), fix="run a plan into it first")
    facts = runs_of(store)
    rates: list[RateRow] = []
    comparisons: list[Comparison] = []
    for setup in (setup for setup in setups if setup.id in outcomes):
        for attack, rows in by(outcomes[setup.id], "attack"):
            rates += _rates(setup, attack, rows)
            comparisons += _comparisons(setup, attack, rows)
    targets = _targets(store, outcomes.values(), facts)
    return {
        "schema": "thinkaudit.report/1",
        "assessment": _assessment(setups, outcomes.values(), facts) | {"notes": _notes(facts, older, store.spent())},
        "targets": targets,
        "judges": _judges(setups, facts),
        "rates": rates,
        "comparisons": comparisons,
        "findings": [],
        "provenance": _provenance(store, setups, facts),
    }


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
                    for group, some in by(of_part, f"axis:{axis}"):
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
    """Answer against thinking on the same replies, where both were judged; repeats of a case count as one case."""
    import polars as pl

    keys = ["case_id", "repeat"]
    for measure in setup.spec["measures"]:
        rows = _among(frame, measure)
        judged = rows.filter(rows["status"] == "ok")
        judged = judged.with_columns(hit=judged["label"].is_in(list(measure["hits"])))
        answer, thinking = (judged.filter(judged["part"] == part).select(*keys, "hit") for part in PARTS)
        if thinking.is_empty():
            continue
        both = answer.sort(keys).join(thinking, on=keys, suffix="_thinking", maintain_order="left")
        shares = both.group_by("case_id", maintain_order=True).agg(pl.col("hit", "hit_thinking").mean())
        found = paired_by_case(shares.select("hit", "hit_thinking").rows())
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


def _assessment(setups: Sequence[Setup], frames: Iterable["pl.DataFrame"], facts: Sequence[Mapping[str, Any]]) -> Any:
    last = facts[0] if facts else {}
    statuses: Counter[str] = Counter()
    for frame in frames:
        statuses.update(frame["status"].to_list())
    return {
        "name": last.get("name", ""),
        "benchmarks": sorted({setup.benchmark for setup in setups}),
        "reference": last.get("reference"),
        "started": _when(min((f["started"] for f in facts), default=None)),
        "ended": _when(last.get("ended")),
        "complete": last.get("state", "done") == "done" and not statuses["failed"] and not statuses["judge_error"],
    }


def _notes(facts: Sequence[Mapping[str, Any]], older: Sequence[Setup], spent: Mapping[str, Spent]) -> list[str]:
    """What must be read before the numbers."""
    last = facts[0] if facts else {}
    notes = [f"{t['name']}: {t['remark']}" for t in last.get("targets", ()) if t.get("remark")]
    notes += [f"{t['name']} was stopped: {t['stopped']}" for t in last.get("targets", ()) if t.get("stopped")]
    changed = {name: what for run in reversed(facts) for name, what in run.get("adaptations", {}).items()}
    notes += [f"The server of {name} refused what the plan says: {what}." for name, what in changed.items()]
    notes += [
        f"{name}: {sums.unpriced:,} of {sums.calls:,} calls have no known price; the cost shown is of the others."
        for name, sums in spent.items()
        if 0 < sums.unpriced < sums.calls
    ]
    if older:
        shown = ", ".join(sorted({f"{s.target} on {s.benchmark}" for s in older}))
        notes.append(f"The store also holds outcomes of earlier settings, which are not shown: {shown}.")
    state = last.get("state", "done")
    if state != "done":
        how = "is still under way, or was killed" if state == "running" else f"ended as {state!r}"
        notes.append(f"The last run {how}; run the plan again to go on.")
    return notes


def _targets(store: Store, frames: Iterable["pl.DataFrame"], facts: Sequence[Mapping[str, Any]]) -> list[TargetView]:
    """What each target is, what it took, and in which state its thinking reached us."""
    import polars as pl

    once = ["target", "benchmark", "case_id", "attack", "repeat"]
    answers = [f.filter(pl.col("part") == "answer").select(*once, "status", "thinking", "finish") for f in frames]
    replies = pl.concat(answers, how="vertical").unique(once)
    known = {t["name"]: t for run in reversed(facts) for t in run.get("targets", ())}
    spent = store.spent()
    views: list[TargetView] = []
    for name, rows in by(replies, "target"):
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
                "cost_usd": sums.cost_usd if sums and sums.unpriced < sums.calls else None,
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
