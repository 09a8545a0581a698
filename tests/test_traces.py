"""Existing replies become cases that bring their reply along; what is no trace is named with its line."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from thinkaudit import data
from thinkaudit.benchmarks import load
from thinkaudit.errors import FixIt
from thinkaudit.traces import as_benchmark, as_own_benchmark, read, reply_of
from thinkaudit.types import Row


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_thinking_and_answer_are_taken_apart_or_split_from_raw_text() -> None:
    apart = reply_of({"answer": "Four.", "thinking": "Two and two."})
    assert (apart.answer, apart.thinking.text, apart.thinking.kind) == ("Four.", "Two and two.", "full")
    split = reply_of({"text": "<think>Two and two.</think>\n\nFour."})
    assert (split.answer.strip(), split.thinking.text.strip(), split.thinking.kind) == ("Four.", "Two and two.", "full")
    assert reply_of({"answer": "Four.", "thinking": " "}).thinking.kind == "none"
    assert reply_of({"answer": "Four.", "thinking": None}).thinking.kind == "none"
    assert reply_of({"text": "<think>on and on"}).thinking.closed is False


def test_rows_are_sorted_by_the_target_that_they_name(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "answer": "1", "target": "x"}, {"prompt": "b", "answer": "2"}]
    found = read(jsonl(tmp_path / "t.jsonl", rows), unnamed="t")
    assert {name: len(rows) for name, rows in found.items()} == {"x": 1, "t": 1}


def test_parquet_csv_and_jsonl_give_the_same_cases(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{i}", "answer": f"a{i}", "thinking": f"t{i}", "topic": "red"} for i in range(3)]
    pl.DataFrame(rows).write_parquet(tmp_path / "t.parquet")
    pl.DataFrame(rows).write_csv(tmp_path / "t.csv")
    jsonl(tmp_path / "t.jsonl", rows)
    made = []
    for suffix in ("parquet", "csv", "jsonl"):
        path = tmp_path / f"t.{suffix}"
        benchmark = as_own_benchmark(path, read(path, unnamed="t")["t"])
        made.append([(c.id, c.turns, c.tags, c.reply) for c in data.cases(benchmark)])
    assert made[0] == made[1] == made[2]
    assert len(made[0]) == 3


@pytest.mark.parametrize(
    ("rows", "where"),
    [
        ([{"prompt": "a"}], "line 1"),
        ([{"prompt": "a", "answer": "b"}, {"prompt": "c", "answer": 7}], "line 2"),
        ([{"answer": "b"}], "line 1"),
        ([{"prompt": "a", "answer": "b", "rubric": "hram"}], "line 1"),
        ([], "t.jsonl"),
    ],
)
def test_what_is_no_trace_is_named_with_its_line(tmp_path: Path, rows: list[dict[str, Any]], where: str) -> None:
    path = jsonl(tmp_path / "t.jsonl", rows)
    with pytest.raises(FixIt) as caught:
        as_own_benchmark(path, read(path, unnamed="t")["t"])
    assert caught.value.where.endswith(where)
    assert caught.value.fix


def test_a_file_that_is_no_parquet_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1 but not really")
    for name in ("t.parquet", "gone.parquet"):
        with pytest.raises(FixIt, match="cannot be read as Parquet"):
            read(tmp_path / name, unnamed="t")


def test_a_reply_finds_its_case_by_id_or_by_the_exact_prompt() -> None:
    benchmark, subset = load("starter:en")
    first, second, *_ = data.cases(benchmark, subset=subset)
    by_id: tuple[str, Row] = ("f, line 1", {"id": first.id, "answer": "A."})
    by_prompt: tuple[str, Row] = ("f, line 2", {"prompt": second.turns[0].text, "answer": "B."})
    rows = [by_id] + ([by_prompt] if len(second.turns) == 1 else [])
    made = list(data.cases(as_benchmark(rows, benchmark, subset)))
    assert [case.id for case in made] == [first.id, second.id][: len(rows)]
    assert made[0].rubric == first.rubric
    assert made[0].turns == first.turns


def test_an_id_with_another_prompt_than_its_case_is_refused() -> None:
    benchmark, subset = load("starter:en")
    first = next(iter(data.cases(benchmark, subset=subset)))
    made = as_benchmark([("f, line 1", {"id": first.id, "prompt": "Never asked.", "answer": "A."})], benchmark, subset)
    with pytest.raises(FixIt, match="not that of the case") as caught:
        list(data.cases(made))
    assert caught.value.where == "f, line 1"


def test_tags_in_an_answer_are_thinking_and_a_field_of_its_own_wins() -> None:
    tagged = reply_of({"answer": "<think>They mean a pest.</think>Use a trap."})
    assert (tagged.thinking.kind, tagged.thinking.text, tagged.answer) == ("full", "They mean a pest.", "Use a trap.")
    both = reply_of({"answer": "<think>x</think>Use a trap.", "reasoning_content": "They mean a pest."})
    assert (both.thinking.text, both.answer) == ("They mean a pest.", "Use a trap.")


def test_a_reply_to_no_case_is_refused_with_its_line() -> None:
    benchmark, subset = load("starter:en")
    made = as_benchmark([("f, line 1", {"prompt": "Never asked.", "answer": "A."})], benchmark, subset)
    with pytest.raises(FixIt, match="no case of starter") as caught:
        list(data.cases(made))
    assert caught.value.where == "f, line 1"


def test_a_prompt_that_comes_again_is_a_case_of_its_own() -> None:
    benchmark, _ = load("starter:en")
    first = next(iter(data.cases(benchmark)))
    rows: list[tuple[str, Row]] = [(f"f, line {i}", {"id": first.id, "answer": f"A{i}."}) for i in range(3)]
    made = list(data.cases(as_benchmark(rows, benchmark, None)))
    assert [case.id for case in made] == [first.id, f"{first.id}#2", f"{first.id}#3"]


def test_replies_in_a_file_named_like_a_builtin_do_not_mix_with_it(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "starter.jsonl", [{"prompt": "a", "answer": "b"}])
    assert as_own_benchmark(path, read(path, unnamed="t")["t"]).name == "starter-replies"
