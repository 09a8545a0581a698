"""Every row of the protocol sheet's table of carriers, every malformation, and whatever else JSON can hold.

Each file in `wire/` is one body (or the chunks of one stream) with what it says and the reply it must become.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkaudit.errors import TryAgain
from thinkaudit.thinking import answer_status
from thinkaudit.types import KINDS, Reply
from thinkaudit.wire import fold, read_body, retells

FIXTURES = {path.stem: json.loads(path.read_text()) for path in sorted((Path(__file__).parent / "wire").glob("*.json"))}
REPLIES = [pytest.param(f, id=name) for name, f in FIXTURES.items() if "reply" in f]
BROKEN = [pytest.param(f, id=name) for name, f in FIXTURES.items() if "error" in f]


def received(fixture: dict[str, Any]) -> Reply:
    body = fold(fixture["chunks"]) if "chunks" in fixture else fixture["body"]
    return read_body(body, model=fixture.get("asked", ""))


def flat(reply: Reply) -> dict[str, Any]:
    thinking, usage = reply.thinking, reply.usage
    return {
        "answer": reply.answer, "kind": thinking.kind, "text": thinking.text, "tokens": thinking.tokens,
        "carrier": thinking.carrier, "closed": thinking.closed, "finish": reply.finish, "input": usage.input,
        "output": usage.output, "note": reply.note, "status": answer_status(reply),
    }  # fmt: skip


@pytest.mark.parametrize("fixture", REPLIES)
def test_each_vendors_body_becomes_the_reply_it_describes(fixture: dict[str, Any]) -> None:
    assert flat(received(fixture)) == fixture["reply"], fixture["says"]


@pytest.mark.parametrize("fixture", BROKEN)
def test_what_is_no_reply_is_an_error_that_quotes_nothing(fixture: dict[str, Any]) -> None:
    with pytest.raises(TryAgain) as caught:
        received(fixture)
    assert (caught.value.trouble, "secret" in str(caught.value)) == (fixture["error"], False), fixture["says"]


def test_there_is_a_fixture_for_every_kind_of_thinking_and_every_status() -> None:
    replies = [fixture["reply"] for fixture in FIXTURES.values() if "reply" in fixture]
    assert {reply["kind"] for reply in replies} == set(KINDS)
    assert {reply["status"] for reply in replies} == {"ok", "no_answer", "truncated", "provider_blocked"}


def said(content: str, **message: object) -> dict[str, Any]:
    return {"choices": [{"message": {"content": content, **message}, "finish_reason": "stop"}]}


def test_a_continued_text_is_handed_on_as_it_was_written() -> None:
    assert read_body(said(" plug.</think>Type G."), raw=True) == Reply(" plug.</think>Type G.")


def test_a_continued_text_that_a_parser_sorted_into_a_field_is_one_text_again() -> None:
    assert read_body(said("", reasoning="Type G fits."), raw=True) == Reply("Type G fits.")


def test_the_name_that_was_asked_for_counts_where_the_body_names_nobody() -> None:
    body = said("Type G.", reasoning_content="Which plug?")
    kinds = [read_body(body, model=model).thinking.kind for model in ("deepseek-r1", "gemini-2.5-pro", "")]
    assert kinds == ["full", "summary", "full"]


@pytest.mark.parametrize(
    ("model", "retold"),
    [
        ("claude-3-7-sonnet-20250219", False), ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", False),
        ("claude-3-opus-20240229", False), ("claude-opus-4-20250514", True), ("anthropic/claude-sonnet-4.5", True),
        ("claude-haiku-9", True), ("claude-instant", True), ("google/gemini-2.5-flash", True), ("o3-mini", True),
        ("openai/o1", True), ("gpt-5.1-mini", True), ("gpt-oss-120b", False), ("gpt-4o", False), ("", False),
        ("deepseek-r1", False), ("AIDC-AI/Marco-o1", False), ("someone/Qwen3-8B-Claude-4.5-Opus-Distill", False),
    ],
)  # fmt: skip
def test_only_vendors_known_to_retell_turn_thinking_into_a_summary(model: str, *, retold: bool) -> None:
    assert retells(model) is retold


def test_a_long_stream_is_folded_without_losing_a_fragment() -> None:
    thoughts = [{"choices": [{"index": 0, "delta": {"reasoning": f"{i} "}}]} for i in range(20_000)]
    details = [
        {"choices": [{"index": 0, "delta": {"reasoning_details": [{"type": "reasoning.text", "text": f"{i} "}]}}]}
        for i in range(20_000)
    ]
    answer = {"choices": [{"index": 0, "delta": {"content": "Done."}, "finish_reason": "stop"}]}
    wanted = "".join(f"{i} " for i in range(20_000)).strip()
    for chunks in (thoughts, details):
        reply = read_body(fold([*chunks, answer]))
        assert (reply.thinking.text, reply.answer) == (wanted, "Done.")


def test_of_several_choices_in_a_stream_only_the_first_is_read() -> None:
    chunk = {"choices": [{"index": 1, "delta": {"content": "two"}}, {"index": 0, "delta": {"content": "one"}}]}
    assert read_body(fold([chunk])).answer == "one"


KEYS = sorted({key for fixture in FIXTURES.values() for key in re.findall(r'"(\w+)":', json.dumps(fixture))})
WORDS = st.text(max_size=5) | st.sampled_from(["reasoning.text", "message", "<think>a</think>b", "length", "\ud83d"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | WORDS
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
)


def read_or_raise(body: Any) -> None:
    """A reply that can be stored and whose parts agree, or TryAgain; any other exception fails the test."""
    try:
        reply = read_body(body)
    except TryAgain:
        return
    assert json.loads(json.dumps(flat(reply))) == flat(reply)
    f"{reply.answer}{reply.thinking.text}{reply.note}".encode()
    assert bool(reply.thinking.text) == (reply.thinking.kind in ("full", "summary"))


def damaged(node: Any, steps: list[int], by: Any) -> Any:
    """A copy of a JSON value in which one value, found by going down `steps`, is another."""
    if not steps or not isinstance(node, dict | list) or not node:
        return by
    if isinstance(node, dict):
        key = sorted(node)[steps[0] % len(node)]
        return {**node, key: damaged(node[key], steps[1:], by)}
    i = steps[0] % len(node)
    return [*node[:i], damaged(node[i], steps[1:], by), *node[i + 1 :]]


@given(JSON)
def test_any_json_is_a_reply_that_can_be_stored_or_another_try(body: Any) -> None:
    read_or_raise(body)


@given(st.sampled_from(sorted(FIXTURES)), st.lists(st.integers(0, 9), min_size=1, max_size=7), JSON)
def test_a_body_with_any_one_value_replaced_is_a_reply_or_another_try(name: str, steps: list[int], by: Any) -> None:
    fixture = FIXTURES[name]
    if "body" in fixture:
        read_or_raise(damaged(fixture["body"], steps, by))
        return
    try:
        body = fold(damaged(fixture["chunks"], steps, by) if len(steps) > 1 else [*fixture["chunks"], by])
    except TryAgain:
        return
    read_or_raise(body)


@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 7))
def test_how_a_stream_was_cut_into_chunks_does_not_matter(thought: str, answer: str, size: int) -> None:
    pieces = [("reasoning", c) for c in cut(thought, size)] + [("content", c) for c in cut(answer, size)]
    chunks = [{"choices": [{"index": 0, "delta": {key: text}}]} for key, text in pieces]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    assert read_body(fold(chunks)) == read_body(said(answer, reasoning=thought))


def cut(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)] if size else [text]
