"""How fast one model is asked: an even pace, and a gate that closes and narrows when the server asks for rest."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LONGEST_SLEEP_S = 0.25  # between two looks at the pace, which the end of another call may have moved


class Pace:
    """Spreads an amount a minute evenly. `settle` books what a call really took when the estimate was off."""

    def __init__(self, per_minute: float | None) -> None:
        self._seconds_each = 60 / per_minute if per_minute else 0.0
        self._free_at = 0.0
        self._turn = asyncio.Lock()

    async def take(self, amount: float) -> None:
        """Wait for our turn and book `amount`. Those who wait do so in line, and only the first looks at the clock."""
        if not self._seconds_each:
            return
        came = time.monotonic()
        async with self._turn:
            while (wait := self._free_at - time.monotonic()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(min(wait, LONGEST_SLEEP_S))
            self._free_at = max(came, self._free_at) + amount * self._seconds_each

    def settle(self, difference: float) -> None:
        """Book what came on top of (or is given back from) an earlier `take`."""
        self._free_at += difference * self._seconds_each


class Gate:
    """How many calls may be under way at once: halved when told to slow down, one more after each round of success."""

    def __init__(self, ceiling: int) -> None:
        self._ceiling = self._allowed = float(ceiling)
        self._inside = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._slowed_at = 0.0
        self.closed_until = 0.0

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Hold one place, once the gate is open and has one."""
        if self._queue or self._inside >= int(self._allowed):
            place = asyncio.get_running_loop().create_future()
            self._queue.append(place)
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():
                    self._leave()
                raise
        else:
            self._inside += 1
        try:
            await self.until_open()
            yield
        finally:
            self._leave()

    async def until_open(self) -> None:
        """Wait as long as the gate is closed, which may be pushed back while we sleep."""
        while (wait := self.closed_until - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(wait)

    def slow_down(self, seconds: float) -> None:
        """Close for some seconds and halve the places, once for all calls that were sent before the last halving."""
        now = time.monotonic()
        self.closed_until = max(self.closed_until, now + seconds)
        if now >= self._slowed_at:
            self._allowed = max(1.0, self._allowed / 2)
            self._slowed_at = self.closed_until + 1.0

    def speed_up(self) -> None:
        """A call went well: after as many of them as there are places, there is one place more."""
        if self._allowed < self._ceiling:
            self._allowed = min(self._ceiling, self._allowed + 1 / self._allowed)
            self._admit()

    def _leave(self) -> None:
        self._inside -= 1
        self._admit()

    def _admit(self) -> None:
        while self._queue and self._inside < int(self._allowed):
            place = self._queue.popleft()
            if not place.done():
                self._inside += 1
                place.set_result(None)
