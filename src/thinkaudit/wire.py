"""What servers send, read into a `Reply`: what was thought and what was said, why the text ended, what it cost.

`vendors.py` knows where each vendor puts these; here it is decided what they are. Structured fields come first, then
tags in the text; where both are there, the field is kept and the tags are stripped.

Whether words are the model's own (`full`) or a vendor's retelling (`summary`) is not always said. It is a summary when
the field says so, when part of the thinking came encrypted, or when the vendor is known to retell (`retells`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from .thinking import split_tags
from .types import Finish, Kind, Reply, Thinking, Usage
from .vendors import SHAPES, Body, Found, error_in, lenient, list_of, malformed, mapping, optional, text_of

_FINISH: dict[str, Finish] = {
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length", "max_length"), "length"),
    **dict.fromkeys(("model_context_window_exceeded", "max_completion_tokens", "incomplete"), "length"),
    **dict.fromkeys(("content_filter", "content_filtered", "guardrail_intervened", "sensitive"), "blocked"),
    **dict.fromkeys(("safety", "recitation", "blocklist", "prohibited_content", "spii"), "blocked"),
    # Anthropic ends a reply with `refusal` when its classifiers intervene: the vendor's act, not the model's words
    "refusal": "blocked",
}
_BROKEN = frozenset({"error", "abort", "aborted", "failed", "cancelled", "in_progress", "queued", "network_error"})

# where a name begins with these; open models that were trained on their words carry the names further back
_CLAUDE = re.compile(r"(?<![\w-])claude-(?:[a-z]+-)?(\d{1,2})(?:[.-](\d{1,2}))?(?!\d)")
_RETELLERS = re.compile(r"(?<![\w-])(?:claude|gemini|(?:gpt-(?:[5-9]|\d\d)|o\d)(?![a-z\d]))")

_SENT = ("prompt_tokens", "promptTokenCount", "prompt_token_count", "prompt_eval_count")
_SENT_ANEW = ("input_tokens", "inputTokens")  # Anthropic and Bedrock count what a cache read or wrote apart
_CACHED = ("cache_read_input_tokens", "cache_creation_input_tokens", "cacheReadInputTokens", "cacheWriteInputTokens")
_WRITTEN = ("completion_tokens", "output_tokens", "outputTokens", "eval_count")
_CANDIDATES = ("candidatesTokenCount", "candidates_token_count")
_THOUGHTS = ("thoughtsTokenCount", "thoughts_token_count")  # Gemini: not among the candidates' tokens


# --- what others call ------------------------------------------------------------------------------------------


def read_body(body: Body, *, model: str = "", raw: bool = False) -> Reply:
    """The reply in a whole response body, of any shape in `SHAPES`.

    `model` is the name that was asked for, in case the body does not say who answered. `raw` is for a body that
    continues a text: the answer is then all that was written, with its tags and without thinking, even where
    a server's parser sorted part of it into a field. Raises TryAgain("malformed") for a body that is no reply, never
    quoting it.
    """
    if not isinstance(body, Mapping):
        raise malformed("the body is no object")
    if body.get("error") or body.get("type") == "error":
        raise error_in(body)
    for recognises, read in SHAPES:
        if recognises(body):
            found = read(body)
            break
    else:
        raise malformed("the body has no choices")
    served = body.get("model") or body.get("modelVersion") or body.get("model_version")
    found.model = served if isinstance(served, str) else ""
    found.asked = model
    return reply_of(found, raw=raw)


def fold(chunks: Iterable[Body]) -> dict[str, Any]:
    """The chunks of a stream as the body that `read_body` would have got without streaming.

    Chat Completions and legacy Completions chunks, and the lines of Ollama's own protocol. Of several choices the first
    is kept. A chunk with an error ends it: `read_body` then raises. Whether the stream broke off is for the caller.
    """
    stream = _Stream()
    for chunk in chunks:
        if not isinstance(chunk, Mapping):
            raise malformed("a chunk is no object")
        if chunk.get("error"):
            return {"error": chunk["error"]}
        stream.add(chunk)
    return stream.body()


def retells(model: str) -> bool:
    """Whether the readable thinking of a model is its vendor's retelling.

    Claude after Sonnet 3.7, Gemini, and OpenAI's own reasoning models (gpt-oss is open and shows its own words).
    """
    name = model.lower()
    if version := _CLAUDE.search(name):
        return (int(version[1]), int(version[2] or 0)) > (3, 7)
    return _RETELLERS.search(name) is not None


# --- what was collected, and what it means ------------------------------------------------------------------------


def reply_of(found: Found, *, raw: bool = False) -> Reply:
    """The reply in what a reader collected; see `read_body`."""
    finish = _finish(found.why)
    usage, tokens = _usage(found.usage)
    note = _clean(str(found.why) if finish == "blocked" else found.model)[:200]
    said = _clean("".join(found.answer))
    if raw:
        return Reply("".join(words.text for words in found.words) + said, Thinking(), finish, usage, note)
    thinking = _thinking(found, tokens)
    tagged, answer = split_tags(said, finish=finish)
    if tagged.text and not thinking.text:
        kind: Kind = "summary" if found.opaque or _is_retold(found) else "full"
        return Reply(answer, replace(tagged, kind=kind, tokens=tokens), finish, usage, note)
    return Reply(answer, replace(thinking, closed=tagged.closed), finish, usage, note)


def _thinking(found: Found, tokens: int | None) -> Thinking:
    """Own words before retold ones, either before an encrypted blob, that before a bare count of tokens."""
    own = [words for words in found.words if not words.retold]
    words = own or found.words
    if words:
        full = own and not found.opaque and not _is_retold(found)
        text = "\n\n".join(word.text.strip() for word in words)
        return Thinking("full" if full else "summary", _clean(text), tokens, words[0].carrier)
    if found.opaque:
        return Thinking("encrypted", "", tokens, found.opaque)
    return Thinking("hidden" if tokens else "none", "", tokens, "usage" if tokens else "")


def _is_retold(found: Found) -> bool:
    names = f"{found.model} {found.asked}"
    return retells(names if "claude" in names.lower() else f"{names} {found.maker}")


def _finish(why: object) -> Finish:
    if why is None:
        return "stop"
    if not isinstance(why, str):
        raise malformed("the finish reason is no text")
    word = why.lower().replace("-", "_")
    if word in _BROKEN:
        raise malformed("the server gave up on this reply")
    return _FINISH.get(word, "stop")


def _usage(usage: Body) -> tuple[Usage, int | None]:
    """Tokens in and out, thinking included in the latter, and the thinking tokens alone."""
    sent, written, thought = _count(usage, *_SENT), _count(usage, *_WRITTEN), _count(usage, *_THOUGHTS)
    if sent is None and (anew := _count(usage, *_SENT_ANEW)) is not None:
        sent = anew + sum(_count(usage, key) or 0 for key in _CACHED)
    if written is None and (candidates := _count(usage, *_CANDIDATES)) is not None:
        return Usage(sent, candidates + (thought or 0)), thought
    if written is None:
        return Usage(sent, thought), thought
    for details in (usage.get("completion_tokens_details"), usage.get("output_tokens_details"), usage):
        if thought is None:
            thought = _count(lenient(details), "reasoning_tokens", "thinking_tokens")
    if thought and _count(usage, "total_tokens") == (sent or 0) + written + thought:
        written += thought  # xAI counts thinking beside the completion
    return Usage(sent, written), thought


def _count(usage: Body, *keys: str) -> int | None:
    for key in keys:
        value = usage.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def _clean(text: str) -> str:
    """JSON may hold halves of surrogate pairs, which no file or database takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


# --- streams ---------------------------------------------------------------------------------------------------

_STREAMED = ("content", "reasoning_content", "reasoning", "thinking", "encrypted_content", "refusal")
_STREAMED_LISTS = ("reasoning_details", "thinking_blocks")
_GROWING = ("text", "summary", "data", "thinking", "signature")  # what the entries of those lists grow by


class _Stream:
    """Fragments are gathered in lists and joined once: adding strings up would take quadratic time."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._finish: object = None
        self._begun = False
        self._words: dict[str, list[str]] = {}
        self._lists: dict[str, list[dict[str, Any]]] = {}

    def add(self, chunk: Body) -> None:
        for key in ("model", "usage"):
            self._head[key] = chunk.get(key) or self._head.get(key)
        self._head["usage"] = lenient(chunk.get("x_groq")).get("usage") or self._head["usage"]
        if "eval_count" in chunk:  # Ollama
            self._head["usage"] = {key: chunk.get(key) for key in ("prompt_eval_count", "eval_count")}
        choices = [chunk] if "message" in chunk else [mapping(choice) for choice in list_of(chunk.get("choices"))]
        for choice in choices:
            if choice.get("index") in (None, 0):
                self._begun = True
                self._finish = choice.get("finish_reason") or choice.get("done_reason") or self._finish
                self._collect(choice)

    def _collect(self, choice: Body) -> None:
        if "text" in choice:
            self._words.setdefault("text", []).append(text_of(choice["text"]))
        delta = optional(choice.get("delta") or choice.get("message"))
        for key in _STREAMED:
            value = delta.get(key)
            if key == "content" and (isinstance(value, list) or key in self._lists):
                self._grow(key, [{"type": "text", "text": value}] if isinstance(value, str) else list_of(value))
            elif value is not None:
                self._words.setdefault(key, []).append(text_of(value))
        for key in _STREAMED_LISTS:
            self._grow(key, list_of(delta.get(key)))

    def _grow(self, key: str, entries: list[Any]) -> None:
        """Add entries to a list. One that continues the last (same type and index) is joined to it."""
        grown = self._lists.setdefault(key, []) if entries else []
        for entry in map(mapping, entries):
            if not grown or any(grown[-1].get(same) != entry.get(same) for same in ("type", "index")):
                grown.append({k: v for k, v in entry.items() if k not in _GROWING})
            for part in _GROWING:
                value = entry.get(part)
                if isinstance(value, list):  # Mistral's chunks
                    value = "".join(text_of(mapping(chunk).get("text")) for chunk in value)
                if value is not None:
                    grown[-1].setdefault(part, []).append(text_of(value))

    def body(self) -> dict[str, Any]:
        if not self._begun:
            return {"choices": []}
        whole: dict[str, Any] = {key: "".join(parts) for key, parts in self._words.items()}
        for key, entries in self._lists.items():
            settled = [{k: "".join(v) if k in _GROWING else v for k, v in entry.items()} for entry in entries]
            first = whole.get(key)  # content that came as text before it came as blocks
            whole[key] = [{"type": "text", "text": first}, *settled] if first else settled
        choice: dict[str, Any] = {"index": 0, "finish_reason": self._finish}
        text = whole.pop("text", None)
        choice |= {"message": whole} if text is None else {"text": text}
        return {**self._head, "choices": [choice]}
