import csv
import hashlib
import json
import re
import unicodedata
from collections import Counter
from importlib.resources import files
from itertools import pairwise
from typing import Any

import pytest

from tests.fakes import shared
from thinkaudit.benchmarks import starter
from thinkaudit.benchmarks.starter import BENCHMARK
from thinkaudit.stats import wilson
from thinkaudit.types import PARTS, Turn

FILE = files("thinkaudit.benchmarks") / str(BENCHMARK.packaged)
ROWS: list[dict[str, Any]] = [json.loads(line) for line in FILE.read_text(encoding="utf-8").split("\n") if line]
CASES = [starter.case(index, row) for index, row in enumerate(ROWS)]
INJECTIONS = [row for row in ROWS if row["family"] == "injection"]
FAMILIES = {"lookalike": 20, "unsafe": 16, "framed": 12, "injection": 12}
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def text(row: dict[str, Any]) -> str:
    return "\n".join(turn["text"] for turn in row.get("turns", [])) or str(row["prompt"])


def halves(row: dict[str, Any]) -> tuple[str, str]:
    """What the operator or user asked for, and the part that carries the planted instruction."""
    if "turns" in row:
        return "\n".join(turn["text"] for turn in row["turns"][:-1]), row["turns"][-1]["text"]
    task, _, material = row["prompt"].partition("\n\n---\n")
    return task, material


def bare(words: str) -> str:
    """Letters and digits alone, in one case: what is left when a marker is respaced or repunctuated."""
    return "".join(c for c in unicodedata.normalize("NFKC", words).casefold() if c.isalnum())


def shingles(words: str, size: int = 8) -> set[tuple[str, ...]]:
    found = re.findall(r"\w+", words.casefold())
    return {tuple(found[at : at + size]) for at in range(len(found) - size + 1)}


def test_each_family_has_its_number_of_cases_in_each_language() -> None:
    counts = Counter((row["family"], row["language"]) for row in ROWS)
    assert counts == {(family, language): n for family, n in FAMILIES.items() for language in ("en", "zh")}


def test_ids_run_from_1_to_60_with_a_chinese_twin_after_each() -> None:
    assert [case.id for case in CASES] == [f"starter-{n:03}-{lang}" for n in range(1, 61) for lang in ("en", "zh")]


def test_twins_differ_in_nothing_but_their_words_and_markers() -> None:
    def kept(row: dict[str, Any]) -> dict[str, Any]:
        shape = [turn["role"] for turn in row.get("turns", [])]
        same: dict[str, Any] = {key: row[key] for key in ("family", "topic", "expected", "framing") if key in row}
        return {**same, "shape": shape, "plain": row.get("plain", "")[:-3], "markers": len(row.get("markers", []))}

    for english, chinese in zip(ROWS[::2], ROWS[1::2], strict=True):
        assert kept(english) == kept(chinese), english["id"]


def test_every_row_is_written_in_the_language_it_names() -> None:
    for row in ROWS:
        assert bool(CHINESE.search(text(row))) == (row["language"] == "zh"), row["id"]


def test_a_changed_row_is_noticed_so_that_the_revision_is_raised() -> None:
    digest = hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert (BENCHMARK.revision, digest) == (1, "76f934ad053712c4bb4425d61d88df968159773e5f70724f521e934bb3d148ef")


def test_what_is_expected_follows_from_the_family() -> None:
    expected = {"lookalike": "help", "unsafe": "decline", "framed": "decline", "injection": "ignore"}
    assert all(row["expected"] == expected[row["family"]] for row in ROWS)


def test_every_framed_request_names_its_own_plain_sibling_on_the_same_topic() -> None:
    by_id = {row["id"]: row for row in ROWS}
    framed = [row for row in ROWS if row["family"] == "framed"]
    for row in framed:
        sibling = by_id[row["plain"]]
        same = (row["topic"], row["language"], "unsafe")
        assert (sibling["topic"], sibling["language"], sibling["family"]) == same, row["id"]
    assert len({row["plain"] for row in framed}) == len(framed)
    assert Counter(row["framing"] for row in framed) == dict.fromkeys(
        ("fiction", "hypothetical", "authority", "role_play", "research", "pressure"), 4
    )


def test_half_the_injections_are_direct_and_half_hide_in_material() -> None:
    assert Counter(row["topic"] for row in INJECTIONS) == {"direct": 12, "indirect": 12}
    for row in INJECTIONS:
        assert ("turns" in row) == (row["topic"] == "direct"), row["id"]
        assert row["topic"] == "indirect" or row["turns"][0]["role"] == "system", row["id"]


def test_every_marker_is_planted_in_the_material_and_never_in_the_task() -> None:
    for row in INJECTIONS:
        task, material = halves(row)
        assert row["markers"], row["id"]
        assert task, row["id"]
        for marker in row["markers"]:
            assert marker in material, row["id"]
            assert bare(marker) not in bare(task), row["id"]


def test_a_marker_is_too_long_to_turn_up_by_chance() -> None:
    for row in INJECTIONS:
        for marker in row["markers"]:
            assert len(bare(marker)) >= (3 if CHINESE.search(marker) else 10), row["id"]


def test_no_prompt_stands_twice_however_it_is_punctuated() -> None:
    assert len({bare(text(row)) for row in ROWS}) == len(ROWS)


def test_every_prompt_is_shorter_than_1200_characters() -> None:
    assert max(len(text(row)) for row in ROWS) < 1200


def test_no_prompt_repeats_eight_words_of_xstest() -> None:
    with shared("xstest/xstest_prompts.csv").open(encoding="utf-8", newline="") as lines:
        theirs = [row["prompt"] for row in csv.DictReader(lines)]
    known = {bare(prompt) for prompt in theirs}
    spans = set().union(*map(shingles, theirs))
    copies = [row["id"] for row in ROWS if bare(text(row)) in known or shingles(text(row)) & spans]
    assert len(known) == 450
    assert copies == []


def test_no_injection_repeats_eight_words_of_cyberseceval() -> None:
    theirs = json.loads(shared("cyberseceval/prompt_injection.json").read_text(encoding="utf-8"))
    spans = set().union(*(shingles(row["test_case_prompt"]) | shingles(row["user_input"]) for row in theirs))
    assert [row["id"] for row in ROWS if shingles(text(row)) & spans] == []


def test_a_prompt_becomes_one_user_turn_and_turns_keep_their_order() -> None:
    prompt = starter.case(0, {"id": "a", "family": "unsafe", "topic": "t", "language": "en", "prompt": "Hello"})
    turns = [{"role": "system", "text": "Be brief."}, {"role": "user", "text": "Hello"}]
    talk = starter.case(0, {"id": "b", "family": "unsafe", "topic": "t", "language": "en", "turns": turns})
    assert prompt.turns == (Turn("user", "Hello"),)
    assert talk.turns == (Turn("system", "Be brief."), Turn("user", "Hello"))


def test_every_conversation_ends_with_a_user_turn_and_never_speaks_twice_in_a_row() -> None:
    for case in CASES:
        roles = [turn.role for turn in case.turns]
        assert roles[-1] == "user", case.id
        assert all(before != after for before, after in pairwise(roles)), case.id
        assert all(turn.text.strip() == turn.text != "" for turn in case.turns), case.id


def test_harm_is_judged_in_both_parts_and_everything_else_in_the_answer_alone() -> None:
    judged = {(case.tags["family"], case.rubric.name, case.parts) for case in CASES}
    assert judged == {
        ("lookalike", "compliance", ("answer",)),
        ("unsafe", "harm", PARTS),
        ("framed", "harm", PARTS),
        ("injection", "marker", ("answer",)),
    }


def test_only_injections_carry_markers_and_each_carries_its_own() -> None:
    for row, case in zip(ROWS, CASES, strict=True):
        assert case.rubric.markers == tuple(row.get("markers", ())), case.id


def test_every_case_can_be_split_along_every_axis_and_both_subsets() -> None:
    assert all(case.tags.get(axis) for case in CASES for axis in BENCHMARK.axes)
    for tags in BENCHMARK.subsets.values():
        assert sum(tags.items() <= case.tags.items() for case in CASES) == 60


def test_every_measure_counts_labels_that_its_rubric_can_give() -> None:
    labels = {rubric.name: set(rubric.labels) for rubric in BENCHMARK.rubrics}
    assert {case.rubric.name for case in CASES} == set(labels)
    for measure in BENCHMARK.measures:
        assert measure.rubric is not None, measure.name
        assert set(measure.hits) <= labels[measure.rubric], measure.name


def test_every_rate_of_help_given_or_refused_says_which_way_is_better() -> None:
    assert {measure.name: measure.better for measure in BENCHMARK.measures} == {
        "full_compliance": "high",
        "full_refusal": "low",
        "partial_refusal": "low",
        "safe_rate": "high",
        "unsafe_rate": "low",
        "attack_success_rate": "low",
    }


@pytest.mark.parametrize(("rubric", "both", "one"), [("compliance", 15, 20), ("harm", 13, 17), ("marker", 19, 25)])
def test_the_interval_widths_in_the_docstring_are_the_true_ones(rubric: str, both: int, one: int) -> None:
    n = sum(case.rubric.name == rubric for case in CASES)
    for size, points in ((n, both), (n // 2, one)):
        low, high = wilson(size / 2, size)
        assert round(100 * (high - low) / 2) == points
    prose = " ".join(str(starter.__doc__).split())
    assert f"+-{both} for the {n}" in prose.replace(" points", "")
