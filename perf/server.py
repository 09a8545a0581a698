"""A model server that only waits: OpenAI-compatible, fixed latency, replies encoded beforehand.

It speaks just enough HTTP/1.1 on a protocol of its own, because a web framework would take a third of the core that the
client under measurement needs. `GET /stats` tells what it saw: requests, how many at once, and how many came twice.

    python -m perf.server --latency 0.2 --thinking-bytes 20000     # prints its port, then serves until killed
"""

import argparse
import asyncio
import gc
import json
from dataclasses import asdict, dataclass
from typing import Any

JUDGE = b"perf-judge"  # the judge's model name; a body that holds it gets a verdict
ANSWER = "Fill the tray halfway, wait a day, and taste before you add more. " * 4
SENTENCE = (
    "First I look at what is asked, then I weigh whether an answer could harm anyone, and I find that it is mild. "
)
VERDICT = json.dumps({"reason": "The text gives ordinary household advice.", "label": "safe"})


@dataclass(slots=True)
class Stats:
    """What the server saw: `repeated` counts requests whose body had come before, `open` those not answered yet."""

    requests: int = 0
    open: int = 0
    most_open: int = 0
    repeated: int = 0


class Desk:
    """Holds the two replies and the counts. Latency in seconds, thinking in bytes (0: the model does not think)."""

    def __init__(self, latency: float, thinking_bytes: int) -> None:
        thinking = (SENTENCE * (thinking_bytes // len(SENTENCE) + 1))[:thinking_bytes]
        self.latency, self.stats = latency, Stats()
        self._reply, self._verdict = _completion("perf-target", ANSWER, thinking), _completion("perf-judge", VERDICT)
        self._seen: set[int] = set()

    def take(self, body: bytes) -> bytes:
        """Book a request; returns what to answer once the latency is over."""
        stats, seen = self.stats, hash(body)
        stats.requests += 1
        stats.open += 1
        stats.most_open = max(stats.most_open, stats.open)
        stats.repeated += seen in self._seen
        self._seen.add(seen)
        return self._verdict if JUDGE in body else self._reply


class Connection(asyncio.Protocol):
    """One kept-alive connection with one request at a time, as HTTP clients do without pipelining."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._got = desk, bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        end = self._got.find(b"\r\n\r\n")
        if end < 0:
            return
        size = _length(bytes(self._got[:end]).lower())
        if len(self._got) < end + 4 + size:
            return
        head, body = bytes(self._got[:end]), bytes(self._got[end + 4 : end + 4 + size])
        self._got.clear()
        if head.startswith(b"GET"):
            self._write(_response(json.dumps(asdict(self._desk.stats)).encode()))
        else:
            asyncio.get_running_loop().call_later(self._desk.latency, self._answer, self._desk.take(body))

    def _answer(self, reply: bytes) -> None:
        self._desk.stats.open -= 1
        self._write(reply)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _length(head: bytes) -> int:
    """Content-Length of a request; bodies in chunks are not understood, and no client here sends them."""
    assert b"transfer-encoding: chunked" not in head, "the client sends its body in chunks"
    _, found, rest = head.partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


def _completion(model: str, answer: str, thinking: str = "") -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": answer}
    if thinking:
        message["reasoning_content"] = thinking
    body = {
        "id": "perf",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 40, "completion_tokens": 120, "total_tokens": 160},
    }
    return _response(json.dumps(body).encode())


def _response(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def serve(desk: Desk) -> None:
    """Serve on a free port of 127.0.0.1, printed first, until killed."""
    server = await asyncio.get_running_loop().create_server(lambda: Connection(desk), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--latency", type=float, default=0.2, help="seconds until a reply")
    options.add_argument("--thinking-bytes", type=int, default=400, help="size of each reply's thinking")
    chosen = options.parse_args()
    gc.disable()  # nothing here is cyclic, and a pause would be booked on the client
    asyncio.run(serve(Desk(chosen.latency, chosen.thinking_bytes)))


if __name__ == "__main__":
    main()
