"""Where each vendor puts what a model thought and said: one small reader for a shape of body, one for a type of block.

Readers only collect (`Found`); what it means is decided in `wire.py`. Names of fields are as the vendors document them,
or as inspect_ai and vLLM read them. The order of carriers is the order of reading: the first that holds text is kept.
A body or a part of one that has the wrong type raises TryAgain("malformed"), which never quotes it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .errors import TryAgain

Body = Mapping[str, Any]

_FORMATS = {"anthropic": "claude", "google": "gemini", "openai": "gpt-5", "azure": "gpt-5"}  # of `reasoning_details`


class Words(NamedTuple):
    """A piece of thinking; `retold` when the field that held it says so."""

    carrier: str
    text: str
    retold: bool


@dataclass(slots=True)
class Found:
    """What a reader collected.

    gap     thinking came after the last piece of answer
    opaque  the carrier of thinking that came unreadable
    maker   whose model it must be, where the body does not name it
    """

    words: list[Words] = field(default_factory=list)
    answer: list[str] = field(default_factory=list)
    gap: bool = False
    opaque: str = ""
    maker: str = ""
    model: str = ""
    asked: str = ""
    why: object = None
    usage: Body = field(default_factory=dict)

    def think(self, carrier: str, text: str, *, retold: bool = False) -> None:
        """Keep a piece of thinking, unless another carrier has already brought some."""
        if text.strip() and (not self.words or self.words[0].carrier == carrier):
            self.words.append(Words(carrier, text, retold))
            self.gap = bool(self.answer)

    def say(self, text: str) -> None:
        """Add to the answer; what comes after thinking is a paragraph of its own."""
        if text:
            self.answer += ["\n\n", text] if self.gap else [text]
            self.gap = False

    def hide(self, carrier: str, data: object) -> None:
        """Note that a carrier held thinking that cannot be read."""
        if data:
            self.opaque = carrier


# --- blocks: the entries of content lists and of `reasoning_details` ---------------------------------------------


def _block_thinking(block: Body, found: Found) -> None:
    """Anthropic's text, or Mistral's list of text chunks."""
    inner = block.get("thinking")
    chunks = [text_of(mapping(chunk).get("text")) for chunk in inner] if isinstance(inner, list) else [text_of(inner)]
    found.think("thinking", "".join(chunks))
    if not any(chunk.strip() for chunk in chunks):
        found.hide("thinking", block.get("signature"))


def _block_detail(block: Body, found: Found) -> None:
    vendor = text_of(block.get("format")).partition("-")[0]
    found.maker = found.maker or _FORMATS.get(vendor, "")
    found.think("reasoning_details", text_of(block.get("text")))
    if not block.get("text"):
        found.hide("reasoning_details", block.get("signature"))


def _block_reasoning(block: Body, found: Found) -> None:
    """OpenAI Responses: `content` is raw text (open-weight backends only), `summary` a retelling."""
    raw = [text_of(mapping(part).get("text")) for part in list_of(block.get("content"))]
    raw += [text_of(block.get(key)) for key in ("reasoning", "text")]
    if any(part.strip() for part in raw):
        found.think("reasoning", "\n\n".join(part for part in raw if part))
        return
    for part in list_of(block.get("summary")):
        found.think("reasoning", text_of(mapping(part).get("text")), retold=True)
    found.hide("reasoning", block.get("encrypted_content"))


_BLOCKS: dict[str, Callable[[Body, Found], None]] = {
    "text": lambda block, found: found.say(text_of(block.get("text"))),
    "output_text": lambda block, found: found.say(text_of(block.get("text"))),
    "refusal": lambda block, found: found.say(text_of(block.get("refusal"))),
    "thinking": _block_thinking,
    "redacted_thinking": lambda block, found: found.hide("thinking", block.get("data")),
    "reasoning": _block_reasoning,
    "reasoning.text": _block_detail,
    "reasoning.summary": lambda block, found: found.think(
        "reasoning_details", text_of(block.get("summary")), retold=True
    ),
    "reasoning.encrypted": lambda block, found: found.hide("reasoning_details", block.get("data")),
}


def _blocks(content: object, found: Found) -> None:
    """A text, or a list of typed blocks. Blocks of other types (tools, images) hold no words of the model."""
    if content is None or isinstance(content, str):
        found.say(content or "")
        return
    for block in list_of(content):
        if isinstance(block, str):
            found.say(block)
            continue
        read = _BLOCKS.get(text_of(mapping(block).get("type") or "text"))
        if read is not None:
            read(block, found)


# --- shapes ----------------------------------------------------------------------------------------------------


def _chat(body: Body) -> Found:
    """Chat Completions and all that speak it; legacy Completions have `text`."""
    choices = list_of(body["choices"])
    if not choices:
        raise malformed("the body has no choices")
    choice = mapping(choices[0])
    if choice.get("error"):
        raise error_in(choice)
    if "message" not in choice and isinstance(choice.get("text"), str):
        found = Found(answer=[choice["text"]])
    else:
        found = _message(mapping(choice.get("message")))
    found.why = choice.get("finish_reason")
    found.usage = lenient(body.get("usage"))
    return found


def _message(message: Body) -> Found:
    found = Found()
    for key in ("reasoning_details", "thinking_blocks"):  # OpenRouter, LiteLLM
        blocks = map(mapping, list_of(message.get(key)))
        _blocks([block for block in blocks if block.get("type") not in (None, "text")], found)
    for key in ("reasoning_content", "reasoning", "thinking"):
        found.think(key, text_of(message.get(key)))
    found.hide("encrypted_content", message.get("encrypted_content"))  # xAI
    _blocks(message.get("content"), found)
    found.say(text_of(message.get("refusal")))
    return found


def _native(body: Body) -> Found:
    """Ollama's /api/chat; Cohere's /v2/chat has the same outline."""
    found = _message(mapping(body["message"]))
    found.why = body.get("done_reason") or body.get("finish_reason")
    usage = lenient(body.get("usage"))
    found.usage = lenient(usage.get("tokens")) or usage or body
    return found


def _generate(body: Body) -> Found:
    """Ollama's /api/generate."""
    found = Found(answer=[text_of(body["response"])], why=body.get("done_reason"), usage=body)
    found.think("thinking", text_of(body.get("thinking")))
    return found


def _responses(body: Body) -> Found:
    """OpenAI Responses."""
    found = Found(usage=lenient(body.get("usage")))
    for item in list_of(body["output"]):
        if mapping(item).get("type") == "reasoning":
            _block_reasoning(item, found)
        elif item.get("type") == "message":
            _blocks(item.get("content"), found)
    found.why = optional(body.get("incomplete_details")).get("reason") or body.get("status")
    return found


def _anthropic(body: Body) -> Found:
    """Anthropic Messages; others who speak it have a model name of their own."""
    found = Found(why=body.get("stop_reason"), usage=lenient(body.get("usage")))
    found.maker = "" if body.get("model") else "claude"
    if body["content"] is None:
        raise malformed("the content is missing")
    _blocks(body["content"], found)
    return found


def _gemini(body: Body) -> Found:
    """Gemini generateContent, in either case style. Its thoughts are always retold."""
    found = Found(usage=lenient(_either(body, "usageMetadata", "usage_metadata")))
    candidates = list_of(body.get("candidates"))
    if not candidates:
        feedback = optional(_either(body, "promptFeedback", "prompt_feedback"))
        if not _either(feedback, "blockReason", "block_reason"):
            raise malformed("the body has no candidates")
        found.why = "content_filter"
        return found
    candidate = mapping(candidates[0])
    found.why = _either(candidate, "finishReason", "finish_reason")
    for part in list_of(optional(candidate.get("content")).get("parts")):
        text = text_of(mapping(part).get("text"))
        if part.get("thought") is True:
            found.think("thought", text, retold=True)
        else:
            found.say(text)
        found.hide("thought", _either(part, "thoughtSignature", "thought_signature"))
    return found


def _converse(body: Body) -> Found:
    """Bedrock Converse. Only Claude signs its thinking, and only newer ones are still served."""
    found = Found(why=body.get("stopReason"), usage=lenient(body.get("usage")))
    for block in list_of(mapping(body["output"]["message"]).get("content")):
        found.say(text_of(mapping(block).get("text")))
        reasoning = optional(block.get("reasoningContent"))
        readable = optional(reasoning.get("reasoningText"))
        found.think("reasoningContent", text_of(readable.get("text")))
        found.maker = "claude" if readable.get("signature") else found.maker
        hidden = reasoning.get("redactedContent") or (not readable.get("text") and readable.get("signature"))
        found.hide("reasoningContent", hidden)
    return found


# whether a body has the shape, and its reader; the first that fits reads
SHAPES: Sequence[tuple[Callable[[Body], bool], Callable[[Body], Found]]] = (
    (lambda body: "choices" in body, _chat),
    (lambda body: "candidates" in body or "promptFeedback" in body or "prompt_feedback" in body, _gemini),
    (lambda body: isinstance(body.get("output"), Mapping) and "message" in body["output"], _converse),
    (lambda body: "output" in body, _responses),
    (lambda body: "content" in body, _anthropic),
    (lambda body: "message" in body, _native),
    (lambda body: "response" in body, _generate),
)


# --- what has a type, and what is no reply ----------------------------------------------------------------------


def mapping(value: object) -> Body:
    """An object that must be there."""
    if not isinstance(value, Mapping):
        raise malformed("an object is missing")
    return value


def optional(value: object) -> Body:
    """An object that may be missing, but not something else."""
    return {} if value is None else mapping(value)


def lenient(value: object) -> Body:
    """For what a reply can do without: its price."""
    return value if isinstance(value, Mapping) else {}


def list_of(value: object) -> list[Any]:
    """A list that may be missing, but not something else."""
    if value is not None and not isinstance(value, list):
        raise malformed("a list is missing")
    return value or []


def text_of(value: object) -> str:
    """A text that may be missing, but not something else."""
    if value is not None and not isinstance(value, str):
        raise malformed("a text is missing")
    return value or ""


def _either(body: Body, camel: str, snake: str) -> Any:
    return body[camel] if camel in body else body.get(snake)


def malformed(detail: str) -> TryAgain:
    """A body that is no reply. The detail is ours, never the server's."""
    return TryAgain("malformed", detail)


def error_in(body: Body) -> TryAgain:
    """An error that came with status 200. Its message may echo the prompt; its code cannot."""
    error = body.get("error")
    code = error.get("code") or error.get("type") if isinstance(error, Mapping) else ""
    if code in (429, "429", "rate_limit_exceeded"):
        return TryAgain("rate_limited", "429 in a reply with status 200")
    shown = f" ({code})" if isinstance(code, int | str) and re.fullmatch(r"[\w.-]{1,40}", str(code)) else ""
    return malformed(f"the server reports an error in a reply with status 200{shown}")
