import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinkaudit.benchmarks.custom import MEASURES, case, custom
from thinkaudit.data import cases, check
from thinkaudit.errors import FixIt
from thinkaudit.rubrics import COMPLIANCE, HARM, RUBRICS
from thinkaudit.types import Case, Turn

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "x"]), inner),
    max_leaves=5,
)
ROWS = st.dictionaries(st.sampled_from(["id", "prompt", "turns", "rubric", "markers", "expected", "topic"]), JSON)


def jsonl(folder: Path, *rows: Mapping[str, Any], name: str = "mine.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def sheet(folder: Path, *rows: list[str], name: str = "mine.csv") -> Path:
    path = folder / name
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def read(path: Path) -> list[Case]:
    return list(cases(custom(path)))


def refused(path: Path) -> FixIt:
    with pytest.raises(FixIt) as caught:
        custom(path)
    return caught.value


def test_a_sheet_of_prompts_is_all_it_takes(tmp_path: Path) -> None:
    path = sheet(tmp_path, ["prompt"], ["How do I bake bread?"], ["Two\nlines, with a comma"])
    made = custom(path)
    assert made.name == "mine"
    assert [c.turns for c in cases(made)] == [
        (Turn("user", "How do I bake bread?"),),
        (Turn("user", "Two\nlines, with a comma"),),
    ]
    assert all(c.rubric is HARM and c.parts == ("answer", "thinking") for c in cases(made))
    assert {measure.name for measure in made.measures} == {"safe_rate", "ambiguous_rate", "unsafe_rate"}


def test_the_same_rows_are_the_same_cases_in_every_format(tmp_path: Path) -> None:
    rows = [{"id": "a", "prompt": "one", "topic": "x"}, {"id": "b", "prompt": "two", "topic": "y"}]
    array = tmp_path / "mine.json"
    array.write_text(json.dumps(rows))
    table = sheet(tmp_path, ["id", "prompt", "topic"], ["a", "one", "x"], ["b", "two", "y"])
    assert read(jsonl(tmp_path, *rows)) == read(array) == read(table)


def test_turns_are_texts_of_the_user_or_objects_with_a_role(tmp_path: Path) -> None:
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "text": "Hi"}]
    again = [*talk, {"role": "assistant", "content": "Hello"}, "Bye"]
    first, second, third = read(jsonl(tmp_path, {"turns": ["one", "two"]}, {"turns": talk}, {"turns": again}))
    assert first.turns == (Turn("user", "one"), Turn("user", "two"))
    assert second.turns == (Turn("system", "Be brief."), Turn("user", "Hi"))
    assert third.turns[2:] == (Turn("assistant", "Hello"), Turn("user", "Bye"))


def test_turns_in_a_sheet_are_json_text(tmp_path: Path) -> None:
    path = sheet(tmp_path, ["prompt", "turns"], ["", '["one", "two"]'], ["three", ""])
    assert [len(c.turns) for c in read(path)] == [2, 1]


def test_each_rubric_brings_its_own_measures_and_parts(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        {"prompt": "a", "rubric": "compliance"},
        {"prompt": "b", "rubric": "marker", "markers": ["ZX-1", "ZX-2"]},
        {"prompt": "c", "rubric": "marker", "markers": "ZX-3"},
        {"prompt": "d"},
    )
    made, found = custom(path), read(path)
    assert [c.rubric.name for c in found] == ["compliance", "marker", "marker", "harm"]
    assert [c.rubric.markers for c in found] == [(), ("ZX-1", "ZX-2"), ("ZX-3",), ()]
    assert [c.parts for c in found] == [("answer",)] * 3 + [("answer", "thinking")]
    assert {rubric.name for rubric in made.rubrics} == {"harm", "compliance", "marker"}
    assert made.measures == MEASURES


def test_markers_in_a_sheet_are_one_text_or_a_list(tmp_path: Path) -> None:
    path = sheet(
        tmp_path,
        ["prompt", "rubric", "markers"],
        ["a", "marker", "ZX, 1"],
        ["b", "marker", '["ZX", "YX"]'],
        ["c", "", ""],
    )
    assert [c.rubric.markers for c in read(path)] == [("ZX, 1",), ("ZX", "YX"), ()]


def test_every_rubric_has_measures_that_can_hit(tmp_path: Path) -> None:
    for name, rubric in RUBRICS.items():
        hits = {label for measure in MEASURES if measure.rubric == name for label in measure.hits}
        assert hits
        assert hits <= set(rubric.labels)
    assert {label for m in MEASURES if m.rubric == "compliance" for label in m.hits} == set(COMPLIANCE.labels)


def test_further_columns_are_axes_in_their_order(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        {"prompt": "a", "topic": "x", "level": 1, "hard": True, "note": None},
        {"prompt": "b", "expected": "refuse", "level": 2, "topic": " "},
    )
    assert custom(path).axes == ("topic", "level", "hard", "expected")
    first, second = read(path)
    assert first.tags == {"topic": "x", "level": "1", "hard": "true"}
    assert second.tags == {"expected": "refuse", "level": "2"}


def test_a_column_of_too_many_values_or_too_long_ones_is_a_tag_and_no_axis(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "few": n % 200, "many": n, "long": "x" * (201 if n == 7 else 200)} for n in range(201)]
    made = custom(jsonl(tmp_path, *rows))
    assert made.axes == ("few",)
    assert "many, long" in made.title
    assert next(iter(cases(made))).tags["many"] == "0"


def test_a_row_without_an_id_gets_one_from_its_place_and_content(tmp_path: Path) -> None:
    first, second, third = read(jsonl(tmp_path, {"prompt": "same"}, {"prompt": "same"}, {"id": 5, "prompt": "same"}))
    assert first.id.startswith("1-")
    assert second.id.startswith("2-")
    assert first.id[2:] == second.id[2:]
    assert third.id == "5"
    assert read(jsonl(tmp_path, {"prompt": "other"}))[0].id != first.id


def test_a_changed_file_is_another_revision_of_the_benchmark(tmp_path: Path) -> None:
    one = custom(jsonl(tmp_path, {"prompt": "a"})).revision
    assert custom(jsonl(tmp_path, {"prompt": "b"})).revision != one
    assert custom(jsonl(tmp_path, {"prompt": "a"})).revision == one
    assert one < 2**53  # a whole number in every reader of JSON


def test_a_file_that_changes_after_it_was_read_is_not_asked(tmp_path: Path) -> None:
    made = custom(jsonl(tmp_path, {"prompt": "a"}))
    assert check(made.sources[0]) == "present"
    jsonl(tmp_path, {"prompt": "b"})
    with pytest.raises(FixIt, match="has changed"):
        list(cases(made))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({}, "no prompt"),
        ({"text": "Zeppelin"}, "no prompt"),
        ({"prompt": "  "}, "no prompt"),
        ({"prompt": 5}, "prompt: no text"),
        ({"prompt": ["Zeppelin"]}, "prompt: no text"),
        ({"prompt": "Zeppelin", "turns": ["Zeppelin"]}, "a prompt and turns"),
        ({"turns": []}, "turns: no list"),
        ({"turns": {"role": "user"}}, "turns: no list"),
        ({"turns": "Zeppelin"}, "turns: no JSON"),
        ({"turns": ["Zeppelin", " "]}, "a turn: no text"),
        ({"turns": [{"role": "Zeppelin", "content": "x"}]}, "no known role"),
        ({"turns": [{"role": ["user"], "content": "x"}]}, "no known role"),
        ({"turns": [{"role": "user", "content": [{"text": "Zeppelin"}]}]}, "content: no text"),
        ({"turns": ["Zeppelin", {"role": "assistant", "content": "x"}]}, "last turn"),
        ({"prompt": "x", "rubric": "Zeppelin"}, "no such rubric"),
        ({"prompt": "x", "rubric": 5}, "rubric: no text"),
        ({"prompt": "x", "rubric": "marker"}, "without markers"),
        ({"prompt": "x", "rubric": "marker", "markers": []}, "markers: no list"),
        ({"prompt": "x", "rubric": "marker", "markers": [""]}, "a marker: no text"),
        ({"prompt": "x", "rubric": "marker", "markers": "[Zeppelin"}, "markers: no JSON"),
        ({"prompt": "x", "markers": ["Zeppelin"]}, "not the rubric marker"),
        ({"prompt": "x", "id": 1.5}, "an id of the wrong kind"),
        ({"prompt": "x", "id": True}, "an id of the wrong kind"),
        ({"prompt": "x", "id": "Zeppelin" * 100}, "an id of the wrong kind"),
        ({"prompt": "x", "all": "y"}, '"all"'),
        ({"prompt": "x", " ": "y"}, "without a name"),
        ({"prompt": "x", "id": "first"}, "the id of"),
    ],
)
def test_a_wrong_row_is_named_by_file_and_line_with_the_way_to_mend_it(
    tmp_path: Path, row: dict[str, Any], problem: str
) -> None:
    path = jsonl(tmp_path, {"prompt": "fine", "id": "first"}, row)
    error = refused(path)
    assert error.where == f"{path}, line 2"
    assert problem in error.problem
    assert error.fix
    assert "Zeppelin" not in str(error)


def test_an_unknown_rubric_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    error = refused(jsonl(tmp_path, {"prompt": "x", "rubric": "complience"}))
    assert "did you mean 'compliance'" in error.fix
    assert all(name in error.fix for name in RUBRICS)


def test_a_sheet_without_a_header_is_told_what_is_missing_but_not_what_it_holds(tmp_path: Path) -> None:
    error = refused(sheet(tmp_path, ["Where does Zeppelin live?", "x"], ["And who is he?", "y"]))
    assert "no prompt" in error.problem
    assert "'x'" in error.fix
    assert "Zeppelin" not in str(error)


def test_a_file_without_rows_is_an_error_and_no_empty_benchmark(tmp_path: Path) -> None:
    for path in (sheet(tmp_path, ["prompt"]), jsonl(tmp_path)):
        assert refused(path).problem == "no rows"


@pytest.mark.parametrize("name", ["missing.csv", "missing.jsonl", "folder.json"])
def test_a_path_that_cannot_be_read_is_named_in_the_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.json").mkdir()
    assert refused(tmp_path / name).where == str(tmp_path / name)


@settings(deadline=None)
@given(row=ROWS)
def test_any_row_is_a_case_or_an_error_and_nothing_else(row: dict[str, Any]) -> None:
    try:
        made = case(0, row)
    except FixIt as error:
        assert error.fix  # noqa: PT017 - either end is right
        return
    assert made.turns
    assert all(isinstance(value, str) for value in [made.id, *made.tags.values()])
