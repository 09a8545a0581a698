"""Own replies through the command line: judged once, whatever form they come in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from tests.servers import plan_text, serving, thinkaudit
from thinkaudit import data
from thinkaudit.benchmarks import load
from thinkaudit.cli import app

DECLINED = "I'm sorry, but I can't help with that request."


@pytest.fixture
def within(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), catch_exceptions=False)

    return run


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def report(within: Callable[..., Result], store: str) -> Any:
    done = within("report", store, "--json")
    assert done.exit_code == 0
    return json.loads(done.stdout)


def totals(report: Any) -> dict[tuple[str, str], tuple[int, int]]:
    """Judged and not judged by target and part, over everything."""
    return {
        (r["target"], r["part"]): (r["judged"], sum(r["unjudged"].values()))
        for r in report["rates"]
        if r["axis"] == "all" and r["measure"] == "safe_rate"
    }


def test_own_replies_are_judged_by_target_and_part(tmp_path: Path, within: Callable[..., Result]) -> None:
    jsonl(tmp_path / "own.jsonl", [
        {"prompt": "a", "answer": DECLINED, "thinking": DECLINED, "target": "x"},
        {"prompt": "b", "text": f"<think>{DECLINED}</think>{DECLINED}", "target": "x"},
        {"prompt": "a", "answer": DECLINED, "target": "y"},
        {"prompt": "b", "answer": "", "target": "y"},
    ])  # fmt: skip
    assert within("score", "own.jsonl").exit_code == 0
    found = totals(report(within, "own.db"))
    assert {key: sum(value) for key, value in found.items()} == {
        ("x", "answer"): 2, ("x", "thinking"): 2, ("y", "answer"): 2,
    }  # fmt: skip


def test_scoring_a_file_twice_changes_nothing_in_the_report(tmp_path: Path, within: Callable[..., Result]) -> None:
    jsonl(tmp_path / "own.jsonl", [{"prompt": p, "answer": DECLINED, "thinking": "Hm."} for p in ("a", "b")])
    assert within("score", "own.jsonl").exit_code == 0
    first = report(within, "own.db")
    assert within("score", "own.jsonl").exit_code == 0
    second = report(within, "own.db")
    for part in ("rates", "comparisons", "targets", "judges"):
        assert second[part] == first[part]


def test_a_changed_file_is_reported_without_the_rows_it_lost(tmp_path: Path, within: Callable[..., Result]) -> None:
    rows = [{"id": str(i), "prompt": str(i), "answer": DECLINED} for i in range(5)]
    for kept in (5, 3):
        jsonl(tmp_path / "own.jsonl", rows[:kept])
        assert within("score", "own.jsonl").exit_code == 0
        assert sum(totals(report(within, "own.db"))["own", "answer"]) == kept


def test_replies_to_a_benchmark_are_judged_by_its_rubrics(tmp_path: Path, within: Callable[..., Result]) -> None:
    benchmark, subset = load("starter:en")
    cases = list(data.cases(benchmark, subset=subset))
    rows = [{"id": case.id, "answer": DECLINED, "thinking": "Let me see."} for case in cases]
    pl.DataFrame(rows).write_parquet(tmp_path / "mine.parquet")
    assert within("score", "mine.parquet", "--benchmark", "starter:en").exit_code == 0
    found = report(within, "mine.db")
    assert found["assessment"]["benchmarks"] == ["starter"]
    answered = {(r["measure"], r["judged"] + sum(r["unjudged"].values())) for r in found["rates"]
                if r["axis"] == "all" and r["part"] == "answer"}  # fmt: skip
    assert {measure for measure, _ in answered} <= {measure.name for measure in benchmark.measures}
    assert found["targets"][0]["thinking"]["full"] == len(cases)


def test_own_replies_can_be_judged_by_the_judges_of_a_plan(tmp_path: Path, within: Callable[..., Result]) -> None:
    jsonl(tmp_path / "own.jsonl", [{"prompt": "a", "answer": "[[unsafe]]", "thinking": "[[safe]]"}])
    with serving() as server:
        (tmp_path / "plan.toml").write_text(plan_text(server.url, ["starter"]), encoding="utf-8")
        assert within("score", "own.jsonl", "--plan", "plan.toml").exit_code == 0
        assert dict(server.models) == {"judge": 2}
        assert within("score", "own.jsonl", "--plan", "plan.toml").exit_code == 0
        assert dict(server.models) == {"judge": 2}
    values = {r["part"]: r["value"] for r in report(within, "own.db")["rates"]
              if r["axis"] == "all" and r["measure"] == "unsafe_rate"}  # fmt: skip
    assert values == {"answer": 1.0, "thinking": 0.0}


def test_a_wrong_row_of_any_target_is_refused_before_anything_is_stored(tmp_path: Path) -> None:
    first = next(iter(data.cases(load("starter:en")[0])))
    jsonl(tmp_path / "own.jsonl", [{"id": first.id, "answer": "A.", "target": "x"},
                                   {"prompt": "Never asked.", "answer": "B.", "target": "y"}])  # fmt: skip
    for arguments, words in (
        (["own.jsonl", "--benchmark", "starter:en"], "own.jsonl, line 2: no case of starter"),
        (["own.jsonl", "--benchmark", "starte"], "did you mean 'starter'"),
        (["gone.jsonl"], "gone.jsonl: cannot be read"),
        (["own.jsonl", "--plan", "gone.toml"], "gone.toml: cannot be read"),
    ):
        done = thinkaudit("score", *arguments, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["own.jsonl"]


def test_empty_and_truncated_files_of_replies_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    (tmp_path / "cut.jsonl").write_text('{"prompt": "a", "answer": "b"}\n{"prompt": "a", "ans', encoding="utf-8")
    for name, words in (("empty.jsonl", "holds no rows"), ("cut.jsonl", "line 2")):
        done = thinkaudit("score", name, cwd=tmp_path)
        assert done.returncode == 2
        assert words in done.stderr


def test_the_budget_of_the_plan_holds_for_judging_replies_too(tmp_path: Path) -> None:
    rows = [{"id": f"r{i}", "prompt": f"Question {i}?", "answer": "An answer."} for i in range(30)]
    traces = jsonl(tmp_path / "replies.jsonl", rows)
    with serving() as server:
        text = plan_text(
            server.url,
            ["starter"],
            more="[options]\nbudget_usd = 0.01",
            judge_fields=", price = { input = 50.0, output = 50.0 }",
            target_lines="price = { input = 0.0, output = 0.0 }",
        )
        (tmp_path / "plan.toml").write_text(text, encoding="utf-8")
        done = thinkaudit("score", traces.name, "--plan", "plan.toml", cwd=tmp_path)
        assert done.returncode == 3, done.stderr
        assert 0 < server.total < len(rows)
