"""Honest sessions in a process of their own: they ping, and note each round trip as a line of JSON.

`{"at": …, "session": …, "ms": …}` for a round trip, with `"lost": reason` in place of `ms` for the end of a session,
which begins anew then. `at` is of the monotonic clock, which all processes share.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time

from network.limits import PING, SYNC
from tests.support.nodes.talker import Over, Talker, Target, connect, ping, talking

PATIENCE_S = 1.0
"""Before a lost session is begun anew."""


class HonestSession:
    """One peer that stays."""

    def __init__(self, number: int, source: str, target: Target, interval_s: float) -> None:
        self._number, self._source, self._target, self._interval_s = number, source, target, interval_s
        self._sent_at: dict[int, float] = {}

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self._session()
            except* (Over, OSError) as group:
                error = group.exceptions[0]
                self._note(lost=str(error) or type(error).__name__)
            await asyncio.sleep(PATIENCE_S)

    async def _session(self) -> None:
        connected = await connect(self._target, self._source)
        async with talking(self._target, connected, (PING, SYNC)) as talker:
            talker.on_pong = self._on_pong
            self._note(begun=True)
            self._sent_at.clear()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._ping(talker))
                tasks.create_task(self._read(talker))

    async def _ping(self, talker: Talker) -> None:
        await asyncio.sleep(self._interval_s * (self._number % 7) / 7)
        for nonce in itertools.count(1):
            self._sent_at[nonce] = time.monotonic()
            await talker.send(PING, ping(nonce))
            await asyncio.sleep(self._interval_s)

    async def _read(self, talker: Talker) -> None:
        while True:
            await talker.read()

    def _on_pong(self, nonce: int) -> None:
        sent_at = self._sent_at.pop(nonce, None)
        if sent_at is not None:
            self._note(ms=round((time.monotonic() - sent_at) * 1000, 3))

    def _note(self, **facts: object) -> None:
        print(json.dumps({"at": time.monotonic(), "session": self._number, **facts}), flush=True)


async def run(target: Target, sources: list[str], interval_s: float) -> None:
    async with asyncio.TaskGroup() as tasks:
        for number, source in enumerate(sources):
            tasks.create_task(HonestSession(number, source, target, interval_s).run())
            await asyncio.sleep(0.02)


def main() -> None:
    """Until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", help="Target as JSON")
    parser.add_argument("sources", help="addresses, with commas")
    parser.add_argument("interval_s", type=float)
    options = parser.parse_args()
    asyncio.run(run(Target(**json.loads(options.target)), options.sources.split(","), options.interval_s))


if __name__ == "__main__":
    main()
