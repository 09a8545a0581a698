"""Thinking in the text: the rules one by one, then what must hold for any text at all."""

import json
import re
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import shared
from thinkaudit import thinking as module
from thinkaudit.thinking import answer_status, split_tags, strip_tags
from thinkaudit.types import Finish, Reply, Status, Thinking


def split(text: str, *, finish: Finish = "stop", opened: bool = False) -> tuple[str, str, bool]:
    """Thinking, answer and whether the thinking was closed."""
    thinking, answer = split_tags(text, finish=finish, opened=opened)
    return thinking.text, answer, thinking.closed


# --- the plain forms -------------------------------------------------------------------------------------------

MARKERS = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>\n\n<|begin_of_solution|>"),
    ("<|reasoning_thinking_start|>", "<|reasoning_thinking_end|>"),
    ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("analysis", "assistantfinal"),
    ("<THINK>", "</Think>"),
    ("<think >", "</think >"),
    ("< think>", "</ think>"),
    ('<think signature="c2ln" redacted="true">', "</think>"),
    ("<think>", "</thinking>"),
]


@pytest.mark.parametrize(("opens", "closes"), MARKERS)
def test_every_vendors_markers_part_thinking_from_answer(opens: str, closes: str) -> None:
    assert split(f"{opens}Which plug?\nType G.{closes}\n\nIt is type G.") == (
        "Which plug?\nType G.",
        "It is type G.",
        True,
    )


@pytest.mark.parametrize(("opens", "closes"), MARKERS)
def test_every_vendors_markers_leave_thinking_open_when_it_is_cut_off(opens: str, closes: str) -> None:
    assert split(f"{opens}Which plug?", finish="length") == ("Which plug?", "", False)


@pytest.mark.parametrize(("opens", "closes"), [pair for pair in MARKERS if pair[0] != "analysis"])
def test_every_vendors_closing_marker_works_without_its_opening_one(opens: str, closes: str) -> None:
    assert split(f"Which plug?{closes}It is type G.") == ("Which plug?", "It is type G.", True)


@pytest.mark.parametrize(("opens", "closes"), MARKERS)
def test_an_empty_block_of_any_vendor_is_no_thinking(opens: str, closes: str) -> None:
    assert split_tags(f"{opens}\n\n{closes}\nIt is type G.") == (Thinking(), "It is type G.")


def test_the_carrier_and_the_kind_say_how_thinking_came() -> None:
    carriers = [
        split_tags(text, opened=opened)[0]
        for text, opened in [("<think>A</think>B", False), ("A</think>B", True), ("analysisAassistantfinalB", False)]
    ]
    assert [(t.kind, t.carrier) for t in carriers] == [("full", "tags"), ("full", "prefill"), ("full", "channels")]


@pytest.mark.parametrize(
    "text",
    ["", " plain text \n", "a < b and [c] and <b>d</b>", "I think> so", "<thinker>x</thinker>", "analysis of it"],
)
def test_a_text_without_markers_is_returned_untouched(text: str) -> None:
    assert split_tags(text) == (Thinking(), text)


# --- malformations ---------------------------------------------------------------------------------------------

MALFORMED = [
    ("all before the last closing tag is thinking", "A</think>B</think>C", "A\n\nB", "C", True),
    ("a second closing tag after a whole block moves the boundary", "<think>A</think>B</think>C", "A\n\nB", "C", True),
    ("a last closing tag cannot take the answer away", "<think>A</think>B</think>\n", "A", "B", True),
    ("a last closing tag is the only one there is", "A</think>", "A", "", True),
    ("nothing before a closing tag is no thinking", "\n</think>\n\nB", "", "B", True),
    ("an opening tag that never closes", "<think>A", "A", "", False),
    ("text before an opening tag that never closes", "Sure.\n<think>A", "A", "Sure.", False),
    ("an opening tag and nothing else", "<think>\n", "", "", False),
    ("blocks nest", "<think>A<think>B</think>C</think>D", "A\n\nB\n\nC", "D", True),
    ("nested and nothing behind", "<think>A<think>B</think>C</think>", "A\n\nB\n\nC", "", True),
    ("nested in the second block", "<think>A</think>B<think>C<think>D</think>E</think>F", "A\n\nC\n\nD\n\nE",
     "B\n\nF", True),
    ("opened by the template and by the model", "<think>\n<think>\nA</think>B", "A", "B", True),
    ("a tag too many inside", "<think>A <think>B</think>C", "A\n\nB", "C", True),
    ("text before the block", "Sure. <think>A</think>B", "A", "Sure.\n\nB", True),
    ("several blocks", "<think>A</think>B<think>C</think>D", "A\n\nC", "B\n\nD", True),
    ("several blocks, the last one open", "<think>A</think>B\n<think>C", "A\n\nC", "B", False),
    ("another family inside is text", "<think>A <reasoning>B</reasoning></think>C", "A <reasoning>B</reasoning>", "C",
     True),
    ("families in turn", "<think>A</think>B[THINK]C[/THINK]D", "A\n\nC", "B\n\nD", True),
    ("a solution begins before the thought has ended", "<|begin_of_thought|>A<|begin_of_solution|>B<|end_of_solution|>",
     "A", "B", True),
    ("a tag that closes itself", "<think/>B", "", "B", True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "thinking", "answer", "closed"), [pytest.param(*case, id=says) for says, *case in MALFORMED]
)
def test_a_malformed_text_is_read_by_the_rule_for_it(text: str, thinking: str, answer: str, *, closed: bool) -> None:
    assert split(text) == (thinking, answer, closed)


def test_a_reply_that_was_cut_gets_no_benefit_of_the_doubt() -> None:
    text = "<think>A <think>B</think>C"
    assert split(text, finish="stop") == ("A\n\nB", "C", True)
    assert split(text, finish="length") == ("A\n\nB\n\nC", "", False)


def test_a_text_that_starts_inside_a_block_needs_no_opening_tag() -> None:
    assert split("A</think>B", opened=True) == ("A", "B", True)
    assert split("A", finish="length", opened=True) == ("A", "", False)
    assert split("<think>\nA</think>B", opened=True) == ("A", "B", True)
    assert split("A<|end|><|start|>assistant<|channel|>final<|message|>B", opened=True) == ("A", "B", True)


# --- talking about tags ----------------------------------------------------------------------------------------

SPOKEN = [
    "Models write `<think>` first and `</think>` last.",
    "The form is `<think>...</think>` and then the answer.",
    "Split at `</think>` to get the answer.",
    'The tag "<think>" opens it and "</think>" closes it.',
    "The tags (<think>) and (</think>) are special.",
    'They print "<think>some words</think>" on one line.',
    "For example:\n```\n<think>\nsome words\n</think>\nThe answer.\n```\nThat is all.",
    "For example:\n\n~~~xml\n<think>some words</think>\n~~~\nThat is all.",
    "In a list:\n1. like this\n   ```text\n   <think>\n   ```\n2. and so on",
    "Use ``x = '`<think>`'`` with care: `re.split(r'</think>', text)` is all.",
    "The <think> tag opens it.",
    "Harmony looks like `<|channel|>analysis<|message|>words<|end|><|start|>assistant<|channel|>final<|message|>`.",
]


@pytest.mark.parametrize("answer", SPOKEN)
def test_an_answer_about_tags_is_kept_whole(answer: str) -> None:
    assert split_tags(answer) == (Thinking(), answer)
    if "channel" not in answer:
        assert split(f"<think>Tags, then.</think>\n\n{answer}") == ("Tags, then.", answer, True)


@pytest.mark.parametrize("mention", ["`</think>`", '"</think>"', "`<think>`", "“<think>”"])
def test_thinking_about_tags_does_not_end_early(mention: str) -> None:
    for finish in ("stop", "length"):
        assert split(f"<think>They mean {mention} here.", finish=finish) == (f"They mean {mention} here.", "", False)
    assert split(f"<think>They mean {mention} here.</think>B") == (f"They mean {mention} here.", "B", True)
    assert split(f"They mean {mention} here.</think>B") == (f"They mean {mention} here.", "B", True)


@pytest.mark.parametrize(
    "thinking",
    ["```python\nx = 1\nNo, not code.", "```\nx = 1", "~~~\nx = 1", "It's `x and", "Quotes like ``this'' are TeX."],
)
def test_code_that_the_thinking_never_ended_does_not_swallow_the_answer(thinking: str) -> None:
    answer = "Run this:\n```python\nprint(1)\n```\nor `y`."
    for opening in ("<think>\n", ""):
        assert split(f"{opening}{thinking}\n</think>\n\n{answer}") == (thinking, answer, True)


def test_a_fence_of_the_answer_cannot_pair_with_one_of_the_thinking() -> None:
    text = "<think>\n```\nx = 1\n</think>\nRun this:\n```\nprint(1)\n```"
    assert split(text) == ("```\nx = 1", "Run this:\n```\nprint(1)\n```", True)


# --- channels --------------------------------------------------------------------------------------------------

ANALYSED = "<|channel|>analysis<|message|>A<|end|><|start|>assistant"
HARMONY = [
    ("a tool call is done, not thought",
     f"{ANALYSED}<|channel|>commentary to=functions.f <|constrain|>json<|message|>{{}}<|call|>", "A", "{}", True),
    ("a recipient in the role", f"{ANALYSED} to=functions.f<|channel|>commentary<|message|>{{}}<|call|>", "A", "{}",
     True),
    ("analysis in two messages", f"{ANALYSED}{ANALYSED}<|channel|>final<|message|>C<|return|>", "A\n\nA", "C", True),
    ("the role at the start was kept", f"<|start|>assistant{ANALYSED}<|channel|>final<|message|>B", "A", "B", True),
    ("analysis that ended, and no more", "<|channel|>analysis<|message|>A<|end|>", "A", "", True),
    ("only an answer", "<|channel|>final<|message|>B<|return|>", "", "B", True),
    ("no message token", "<|channel|>analysis A<|end|><|start|>assistant<|channel|>final B", "A", "B", True),
    ("cut in a header", ANALYSED, "A", "", True),
    ("a channel that nobody knows is said", f"{ANALYSED}<|channel|>notes<|message|>B", "A", "B", True),
    ("tags in the answer are its own business", f"{ANALYSED}<|channel|>final<|message|>Write <think>x</think>.", "A",
     "Write <think>x</think>.", True),
    ("words between dropped tokens", "analysisA isassistantcommentaryCallingassistantfinalB", "A is", "Calling\n\nB",
     True),
    ("cut, with dropped tokens", "analysisWe need", "We need", "", False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "thinking", "answer", "closed"), [pytest.param(*case, id=says) for says, *case in HARMONY]
)
def test_only_the_analysis_channel_of_harmony_is_thinking(
    text: str, thinking: str, answer: str, *, closed: bool
) -> None:
    assert split(text) == (thinking, answer, closed)


# --- a field and tags, and the status of an answer -----------------------------------------------------------------


def test_what_tags_enclose_never_becomes_answer_beside_a_field() -> None:
    assert strip_tags("<think>other words</think>It is type G.") == "It is type G."
    assert strip_tags("<think>other words", finish="length") == ""


STATUSES: list[tuple[Reply, Status]] = [
    (Reply("Type G."), "ok"),
    (Reply("Type", finish="length"), "ok"),
    (Reply("Type", Thinking("full", "A", closed=False), "length"), "ok"),
    (Reply("", Thinking("full", "A", closed=False), "length"), "truncated"),
    (Reply(" \n", Thinking("full", "A", closed=False)), "truncated"),
    (Reply("", Thinking("full", "A"), "length"), "no_answer"),
    (Reply("", finish="length"), "no_answer"),
    (Reply(" \u200b\n"), "no_answer"),
    (Reply("", finish="blocked"), "provider_blocked"),
    (Reply("Type", finish="blocked"), "provider_blocked"),
    (Reply("", Thinking("full", "A", closed=False), "blocked"), "provider_blocked"),
]


@pytest.mark.parametrize(("reply", "status"), STATUSES)
def test_silence_has_a_status_of_its_own_and_is_never_a_refusal(reply: Reply, status: Status) -> None:
    assert answer_status(reply) == status


# --- any text ------------------------------------------------------------------------------------------------------

TOKENS = [
    *{token for pair in MARKERS for token in pair if token != "analysis"},
    "`", "```\n", "\n```py\n", '"', "(", ")", "\n", " ", "analysis", "<|start|>", "<|message|>", "<|call|>", "<think/>",
]  # fmt: skip


def solid(text: str) -> Counter[str]:
    return Counter("".join(text.split()))


@st.composite
def marked_texts(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A text of numbered words with markers strewn in, and the words in order."""
    tokens = draw(st.lists(st.none() | st.sampled_from(TOKENS), max_size=25))
    words = [f"w{i}." for i in range(tokens.count(None))]
    numbered: Iterator[str] = iter(words)
    return "".join(next(numbered) if token is None else token for token in tokens), words


@given(marked=marked_texts(), finish=st.sampled_from(["stop", "length", "blocked"]), opened=st.booleans())
def test_no_word_is_ever_lost_doubled_or_out_of_order(
    marked: tuple[str, list[str]], finish: Finish, *, opened: bool
) -> None:
    text, words = marked
    thinking, answer = split_tags(text, finish=finish, opened=opened)
    in_thinking, in_answer = (re.findall(r"w\d+\.", part) for part in (thinking.text, answer))
    assert sorted([*in_thinking, *in_answer], key=words.index) == words
    assert in_thinking == sorted(in_thinking, key=words.index)
    assert in_answer == sorted(in_answer, key=words.index)


@given(text=st.text() | marked_texts().map(lambda marked: marked[0]), opened=st.booleans())
def test_only_markers_and_whitespace_are_ever_dropped(text: str, *, opened: bool) -> None:
    thinking, answer = split_tags(text, opened=opened)
    kept = solid(thinking.text) + solid(answer)
    assert not kept - solid(text)
    markup = "".join(m[0] for m in module._MARKER.finditer(text))
    markup += "".join(m[0] for tokens in (module._HARMONY, module._LEAKED) for m in tokens.finditer(text))
    assert not solid(text) - kept - solid(markup)


@given(text=st.text() | marked_texts().map(lambda marked: marked[0]), opened=st.booleans())
def test_thinking_is_full_exactly_when_there_is_some(text: str, *, opened: bool) -> None:
    thinking, answer = split_tags(text, opened=opened)
    assert (thinking.kind, bool(thinking.carrier)) == (("full", True) if thinking.text else ("none", False))
    assert thinking.text == thinking.text.strip()
    assert answer == strip_tags(text) or opened


@given(
    st.text(st.characters(exclude_characters="<>[]◁▷`~|\"'“”‘’«»「」()")),
    st.text(st.characters(exclude_characters="<[◁")),
)
def test_a_wellformed_reply_is_split_at_its_tags(thought: str, answer: str) -> None:
    thinking, rest = split_tags(f"<think>{thought}</think>{answer}")
    assert (thinking.text, rest) == (thought.strip(), answer.strip())


HOSTILE = {
    "opening tags": "<think>", "closing tags": "</think>", "both": "<think></think>", "brackets": "<", "ticks": "`",
    "spans": "` ", "fences": "```\n", "languages": "```x\n", "starts": "<|start|>", "headers": "<|channel|>analysis",
    "constraints": "<|channel|>final <|constrain|>", "attributes": "<think a=", "quotes": '"<think></think>',
    "mixed": "<think>`</think>", "sentences": "a <think> b ", "words": "assistantfinal", "squares": "[THINK]",
}  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_is_read_in_linear_time(unit: str) -> None:
    """Quadratic time would be an hour here, so this test fails by not ending."""
    text = "analysisA" * (unit == "assistantfinal") + unit * (150_000 // len(unit))
    thinking, answer = split_tags(text)
    assert len(thinking.text) + len(answer) <= 3 * len(text)


@pytest.mark.parametrize(
    "text",
    ["<think" + " " * 1_000_000, "<think>" + " " * 1_000_000 + "x", "<think " + "a" * 1_000_000, "\n" * 1_000_000,
     "`" * 500_000 + "a" * 500_000 + "<think>", "".join("`" * i + " " for i in range(1400)) + "<think>",
     "`" + "<think>" * 20_000 + "`", "".join(HOSTILE.values()) * 5_000],
    ids=["spaces", "indented", "attribute", "lines", "one run", "growing runs", "one span", "all"],
)  # fmt: skip
def test_a_hostile_megabyte_is_read_in_linear_time(text: str) -> None:
    thinking, answer = split_tags(text)
    assert len(thinking.text) + len(answer) <= 3 * len(text)


# --- real replies --------------------------------------------------------------------------------------------------


def test_real_replies_of_r1_are_split_at_their_closing_tag() -> None:
    rows = [json.loads(line) for line in shared("star1/star1.shared_two_thirds.jsonl").read_text().splitlines() if line]
    for row in rows:
        thought, _, answer = row["response"].partition("</think>")
        assert split(row["response"]) == (thought.replace("<think>", "").strip(), answer.strip(), True), row["id"]
        assert split(row["response"].replace("<think>", ""))[1] == answer.strip(), row["id"]


def test_real_traces_without_their_opening_tag_keep_thinking_out_of_the_answer() -> None:
    path = shared("benign_reasoning_traces/r1_distill_math.jsonl")
    for line in path.read_text().split("\n"):
        if line:
            raw = json.loads(line)["generated_cot"].partition("<think>")[2]
            thought, closing, answer = raw.partition("</think>")
            wanted = (thought.strip(), answer.strip(), True) if closing else ("", raw, True)
            assert split(raw) == wanted
            assert split(raw, finish="length", opened=True) == (thought.strip(), answer.strip(), bool(closing))
