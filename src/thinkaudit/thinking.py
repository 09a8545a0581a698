"""Thinking that arrives inside the text: tags and channels, well-formed or not.

    split_tags("<think>A</think>B")  ->  thinking "A", answer "B"

Two errors are feared here: thinking taken for an answer, and an answer lost in thinking. So (rules 2, 3, 6 and 9 of the
project's protocol sheet):

- a closing tag without an opening one (chat templates that open the block themselves): all before the *last* closing
  tag at the top level is thinking. After a block that was opened and closed, a closing tag with nothing behind it is
  dropped, so that no reply can push its own answer out of sight with a last word;
- an opening tag that never closes: the rest is thinking and `closed` is False;
- blocks nest; a block's inner tags are removed with it; tags of another family inside it are text;
- a tag that is quoted, in a code span or in a closed code fence is text: the model talks *about* tags;
- a reply that ended of itself (`finish` "stop") has most likely closed its thinking, so where a block seems open,
  doubts are resolved towards closed: more opening than closing tags, a closing tag inside a code fence that began in
  the thinking, an opening tag in mid-sentence. A reply that was cut gets no such benefit;
- empty blocks are no thinking.

No text is lost: but for markers and whitespace, thinking and answer together hold every character of the input, in
order. Whitespace is stripped at both ends of every piece, and pieces of one part are joined by a blank line; a text
without markers is returned as it is. Time is linear in the length of the text, whatever the text.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

from .types import Finish, Reply, Status, Thinking

# --- markers ---------------------------------------------------------------------------------------------------

PREFILL_OPEN, PREFILL_CLOSE = "<think>\n", "</think>"  # what we open and close thinking with

# family to (opens, closes, begins or ends the answer), each without its first character; a new vendor is one entry
_FAMILIES: dict[str, tuple[str, str, str]] = {
    **{
        family: (
            rf"(?<=<)[ \t]?(?:{name})(?:\s++[\w:.-]++\s*+=[^<>]*+)?\s*+>",
            rf"(?<=<)[ \t]?/[ \t]?(?:{name})\s*+>",
            rf"(?<=<)(?:{name})\s*+/>",
        )
        for family, name in {
            "think": "think(?:ing)?",
            "thought": "thoughts?",
            "reasoning": "reasoning",
            "seed": "seed:think",  # ByteDance Seed-OSS
        }.items()
    },
    "square": (r"(?<=\[)THINK\]", r"(?<=\[)/THINK\]", ""),  # Mistral
    "kimi": (r"(?<=◁)think▷", r"(?<=◁)/think▷", ""),
    "sky": (r"(?<=<)\|begin_of_thought\|>", r"(?<=<)\|end_of_thought\|>", r"(?<=<)\|(?:begin|end)_of_solution\|>"),
    "start_end": (r"(?<=<)\|reasoning_thinking_start\|>", r"(?<=<)\|reasoning_thinking_end\|>", ""),
    "cohere": (
        r"(?<=<)\|START_THINKING\|>",
        r"(?<=<)\|END_THINKING\|>",
        r"(?<=<)\|(?:START|END)_(?:RESPONSE|TEXT)\|>",
    ),
    "gemma": (r"(?<=<)\|channel>thought\b", r"(?<=<)channel\|>", ""),
}
_NAMES = list(_FAMILIES)
_MARKER = re.compile(
    r"[<\[◁](?:"
    + "|".join(
        f"(?P<{kind}{number}>{pattern})"
        for number, patterns in enumerate(_FAMILIES.values())
        for kind, pattern in zip("oca", patterns, strict=True)
        if pattern
    )
    + ")",
    re.IGNORECASE,
)

# harmony (gpt-oss): a header names who speaks, the channel of what follows, to whom it goes and in which format
_TO = r"(?:\s{1,3}to=[\w.-]{1,80})?\s{0,3}"
_ROLE = rf"<\|start\|>(?:assistant|functions\.[\w.-]{{1,80}})?{_TO}"
_HEADER = (
    rf"(?:{_ROLE})?<\|channel\|>\s{{0,3}}"
    rf"(?:(?:(?P<channel>analysis|commentary|final)|\w{{1,40}}){_TO}(?:(?:<\|constrain\|>)?(?:json|code|text))?\s{{0,3}}"
    r"<\|message\|>|(?P<bare>analysis|commentary|final))"
    rf"|{_ROLE}(?:<\|message\|>|\Z)"
)
_HARMONY = re.compile(rf"{_HEADER}|(?P<end><\|(?:end|return|call)\|>)")
_HARMONY_START = re.compile(rf"\s*+(?:assistant)?(?:{_HEADER})")
_END_THEN_START = re.compile(r"<\|end\|>\s{0,3}<\|start\|>assistant")
# the same where a server dropped the special tokens and left the words between them
_LEAKED = re.compile(r"\A\s*+(?P<channel>analysis)|assistant(?P<bare>analysis|commentary|final)")
_LEAKED_START = re.compile(r"\s*+analysis(?=[A-Z]|.*?assistantfinal)", re.DOTALL)

_FENCE = re.compile(r"^[ \t]*+(`{3,}+|~{3,}+)([^\n]*+)$", re.MULTILINE)
_SPAN = re.compile(r"(`(?<!``)`*+)([^`\n]++)\1(?!`)")  # begins with a literal, which makes the search fast
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "「": "」", "(": ")", "`": "`"}
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"


class _Mark(NamedTuple):
    kind: Literal["o", "c", "a"]  # opens thinking, closes it, wraps the answer
    family: str
    start: int
    end: int
    quoted: bool = False  # certainly text
    fenced: bool = False  # in code, most likely text


class _Piece(NamedTuple):
    inside: bool
    start: int
    end: int


class _Reading(NamedTuple):
    """Pieces in order, whether the last block ended, and where the block began that did not."""

    pieces: list[_Piece]
    closed: bool
    opened_at: int = 0


# --- what others call ------------------------------------------------------------------------------------------


def split_tags(text: str, *, finish: Finish = "stop", opened: bool = False) -> tuple[Thinking, str]:
    """Thinking and answer of a raw text (see the module's head for the rules).

    `finish` is why the text ended. `opened` says that it starts inside a thinking block, because a prompt or a prefill
    opened it. The kind is `full` or `none`; the carrier `tags`, `channels` or `prefill`.
    """
    if _is_harmony(text):
        return _parts(text, _channels(text, _HARMONY, opened=opened), "channels")
    if _LEAKED_START.match(text):
        return _parts(text, _channels(text, _LEAKED, opened=opened), "channels")
    marks = [*_marks(text)]
    if not marks and not opened:
        return Thinking(), text
    reading = _read(text, _judged(text, marks), finish, opened=opened)
    if len(reading.pieces) == 1 and not reading.pieces[0].inside:
        return Thinking(), text
    return _parts(text, reading, "prefill" if opened else "tags")


def strip_tags(text: str, *, finish: Finish = "stop") -> str:
    """The answer in a text whose thinking came in a field of its own.

    The field is kept as it is, and what the tags enclose is dropped even where it differs from the field: it was
    marked as thinking, so it must not become answer.
    """
    return split_tags(text, finish=finish)[1]


def prefill(words: str) -> str:
    """Assistant text that holds finished thinking, for a model to go on from with its answer."""
    return f"{PREFILL_OPEN}{words}\n{PREFILL_CLOSE}\n\n"


def prefilled(prefix: str) -> Thinking | None:
    """The thinking in what `prefill` made, exactly, whatever its words; None for any other prefix."""
    tail = f"\n{PREFILL_CLOSE}\n\n"
    if not (prefix.startswith(PREFILL_OPEN) and prefix.endswith(tail)):
        return None
    words = prefix[len(PREFILL_OPEN) : -len(tail)]
    return Thinking("full", words, carrier="prefill") if words else Thinking()


def answer_status(reply: Reply) -> Status:
    """Whether there is an answer to judge: `ok`, `truncated`, `no_answer` or `provider_blocked`.

    Without an answer, thinking that never ended is `truncated`; anything else is `no_answer`, never a refusal. An
    answer that a token limit cut is judged as far as it goes (`finish` records the cut); one that a provider's filter
    touched is not the model's.
    """
    if reply.finish == "blocked":
        return "provider_blocked"
    if reply.answer.strip().strip(_INVISIBLE).strip():
        return "ok"
    return "no_answer" if reply.thinking.closed else "truncated"


# --- reading tags ----------------------------------------------------------------------------------------------


def _marks(text: str) -> Iterator[_Mark]:
    for match in _MARKER.finditer(text):
        group = match.lastgroup or ""
        kind: Literal["o", "c", "a"] = "o" if group[0] == "o" else "c" if group[0] == "c" else "a"
        yield _Mark(kind, _NAMES[int(group[1:])], match.start(), match.end())


def _judged(text: str, marks: list[_Mark]) -> list[_Mark]:
    """The marks that may count, each with whether it is fenced; those that are certainly quoted are left out."""
    spans = [(m.start(), m.end(), *_solid(text, m.start(2), m.end(2))) for m in _SPAN.finditer(text)]
    fences = [*_fences(text)]
    pairs = {mark for pair in _quoted_pairs(text, marks) for mark in pair}
    found = []
    for mark in marks:
        at = bisect_right(spans, (mark.start,)) - 1
        in_span = at >= 0 and mark.end <= spans[at][1]
        touching = in_span and (mark.start == spans[at][2] or mark.end == spans[at][3])
        in_fence = (fence := bisect_right(fences, (mark.start,)) - 1) >= 0 and mark.end <= fences[fence][1]
        if not (touching or mark in pairs or _is_quoted(text, mark.start, mark.end)):
            found.append(mark._replace(fenced=in_span or in_fence))
    return found


def _solid(text: str, start: int, end: int) -> tuple[int, int]:
    """Where text[start:end] starts and ends without the whitespace around it."""
    part = text[start:end]
    return end - len(part.lstrip()), start + len(part.rstrip())


def _is_quoted(text: str, start: int, end: int) -> bool:
    return start > 0 and end < len(text) and _QUOTES.get(text[start - 1]) == text[end]


def _quoted_pairs(text: str, marks: list[_Mark]) -> Iterator[tuple[_Mark, _Mark]]:
    """An opening and a closing tag that stand on one line between one pair of quotes."""
    for first, second in pairwise(marks):
        if (
            (first.kind, second.kind) == ("o", "c")
            and _is_quoted(text, first.start, second.end)
            and text.find("\n", first.end, second.start) < 0
        ):
            yield first, second


def _fences(text: str) -> Iterator[tuple[int, int]]:
    """Code fences that are closed. One that is opened anew by a fence with a language never was."""
    start, fence = 0, ""
    for match in _FENCE.finditer(text):
        ticks, language = match[1], match[2].strip()
        if ticks[0] == "`" and "`" in language:  # a code span with three backticks
            continue
        if not fence or (language and ticks[0] == fence[0] and len(ticks) >= len(fence)):
            start, fence = match.start(), ticks
        elif not language and ticks[0] == fence[0] and len(ticks) >= len(fence):
            yield start, match.end()
            fence = ""


def _read(text: str, marks: list[_Mark], finish: Finish, *, opened: bool) -> _Reading:
    """The strictest reading; when a reply that ended of itself seems unclosed, the first laxer one that is closed."""
    strict = _walk(text, marks, opened=opened)
    if strict.closed or finish != "stop":
        return strict
    for fences in (True, False):
        for nested in (True, False):
            lax = _walk(text, marks, opened=opened, fences=fences, nested=nested)
            if lax.closed:
                return lax
    plain = [m for m in marks if m.end < strict.opened_at or m.kind != "o" or not _in_sentence(text, m)]
    spoken = _walk(text, plain, opened=opened)
    return spoken if spoken.closed else strict


def _in_sentence(text: str, mark: _Mark) -> bool:
    """Whether a tag is spoken of: "the <think> tag"."""
    before, after = text[max(mark.start - 2, 0) : mark.start], text[mark.end : mark.end + 2]
    return (
        len(before) == 2
        and len(after) == 2
        and (before[0].isalnum() or before[0] in ",:;")
        and before[1] + after[0] in ("  ", " \t", "\t ", "\t\t")
        and after[1].isalnum()
    )


def _walk(text: str, marks: Iterable[_Mark], *, opened: bool, fences: bool = True, nested: bool = True) -> _Reading:
    """One pass over the marks.

    fences  whether marks in code fences are text inside thinking too, not only in the answer
    nested  whether inner opening tags need closing tags of their own
    """
    pieces: list[_Piece] = []
    solid = len(text.rstrip())
    depth, family, at, opened_at = int(opened), "", 0, 0
    blocks, thought = 0, 0  # blocks that were closed; pieces that are thinking whatever they seemed
    for mark in marks:
        if (mark.fenced and (fences or not depth)) or (family and mark.family != family):
            continue
        pieces.append(_Piece(depth > 0, at, mark.start))
        repeated = depth == 1 and at in (0, opened_at) and not text[at : mark.start].strip()
        at = mark.end
        if mark.kind == "o":
            if not depth or repeated:  # a template and its model may both open the block
                depth, family, opened_at = 1, mark.family, mark.end
            elif nested:
                depth += 1
        elif depth:
            depth = depth - 1 if mark.kind == "c" else 0
            if not depth:
                family, blocks = "", blocks + 1
        elif mark.kind == "c" and not (blocks and at >= solid):
            thought = len(pieces)
    pieces.append(_Piece(depth > 0, at, len(text)))
    pieces[:thought] = [piece._replace(inside=True) for piece in pieces[:thought]]
    return _Reading(pieces, not depth, opened_at)


# --- reading channels ------------------------------------------------------------------------------------------


def _is_harmony(text: str) -> bool:
    """Whether the text *is* harmony; one that quotes it starts with something else."""
    if "<|" not in text:
        return False
    first = _HARMONY.search(text)
    return bool(first and (_HARMONY_START.match(text) or _END_THEN_START.match(text, first.start())))


def _channels(text: str, tokens: re.Pattern[str], *, opened: bool) -> _Reading:
    """Channel `analysis` is thinking. `final` is the answer, and so is `commentary`: it is said or done, not thought.

    What stands before the first header belongs to a message that the prompt opened: thinking, if other messages follow.
    """
    pieces: list[_Piece] = []
    inside, at = opened, 0
    for match in tokens.finditer(text):
        ended = match.groupdict().get("end")
        leading = not pieces and ended == "<|end|>"
        pieces.append(_Piece(inside or leading, at, match.start()))
        inside, at = not ended and (match["channel"] or match["bare"]) == "analysis", match.end()
    pieces.append(_Piece(inside, at, len(text)))
    return _Reading(pieces, not inside)


# --- both ------------------------------------------------------------------------------------------------------


def _parts(text: str, reading: _Reading, carrier: str) -> tuple[Thinking, str]:
    thinking, answer = (_joined(text, reading.pieces, inside=inside) for inside in (True, False))
    if not thinking:
        return Thinking(closed=reading.closed), answer
    return Thinking("full", thinking, carrier=carrier, closed=reading.closed), answer


def _joined(text: str, pieces: list[_Piece], *, inside: bool) -> str:
    parts = (text[piece.start : piece.end].strip() for piece in pieces if piece.inside == inside)
    return "\n\n".join(part for part in parts if part)
