"""Simulated miners in a process of their own, for tests/benches/mining_stratum.py: they join, hand in shares of random
nonces, note when jobs come, and come back all at once. Figures are written as JSON to standard output."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import secrets
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

AGENTS: Final = ("a miner", "GodMiner/2.0.1", "intminer/1.0", "NiceHash/1.0", "")
"""The last speaks `ckb_submitLogin`."""
NONCE_BYTES: Final = {"a miner": 12, "GodMiner/2.0.1": 8, "intminer/1.0": 16, "NiceHash/1.0": 11}
JOIN_AT_ONCE: Final = 200


@dataclass
class Notes:
    """What all miners saw. Times are of the monotonic clock, which processes share."""

    answers_s: list[float] = field(default_factory=list)
    sent: int = 0
    right: int = 0
    refused: int = 0
    lost: int = 0
    jobs_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """When the first job on each parent came, of each miner."""


class Miner(asyncio.Protocol):
    """One connection."""

    def __init__(self, notes: Notes, number: int) -> None:
        self._notes, self._number = notes, number
        self.agent = AGENTS[number % len(AGENTS)]
        self.has_job = asyncio.Event()
        self._rest = b""
        self._job = self._parent = ""
        self._asked: dict[int, float] = {}
        self._next_id = 10
        self._wire: asyncio.Transport | None = None
        self._late: list[tuple[float, bytes]] | None = None
        self.is_closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._wire = transport
        user = f"worker{self._number % 100}"
        if not self.agent:
            self._send(1, "ckb_submitLogin", {"login": user, "agent": "NBMiner"})
        else:
            self._send(1, "mining.subscribe", [self.agent])
            self._send(2, "mining.authorize", [user, "x"])

    def _send(self, message_id: int, method: str, params: Any) -> None:
        assert self._wire is not None
        self._wire.write(msgspec.json.encode({"id": message_id, "method": method, "params": params}) + b"\n")

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if self._late is None:
            self._take(now, data)
        else:
            self._late.append((now, data))

    def watch(self) -> None:
        """From now on only note what comes and when: the others of this process are not to wait for its parsing."""
        self._late = []

    def look_back(self) -> None:
        """Parse what was noted."""
        for came, data in self._late or ():
            self._take(came, data)

    def _take(self, now: float, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._read(msgspec.json.decode(line), now)

    def _read(self, message: dict[str, Any], now: float) -> None:
        if message.get("method") == "mining.notify":
            self._job = message["params"][0]
            self._noted(str(message["params"][2]), now)
        elif not self.agent and isinstance(message.get("result"), dict):
            self._job = message["result"]["pow_hash"]
            self.has_job.set()
        elif (begun := self._asked.pop(message.get("id") or 0, None)) is not None:
            self._notes.answers_s.append(now - begun)
            if message.get("result") is True:
                self._notes.right += 1
            else:
                self._notes.refused += 1

    def _noted(self, height: str, now: float) -> None:
        self.has_job.set()
        if height != self._parent:
            self._parent = height
            self._notes.jobs_s[height].append(now)

    def submit(self) -> None:
        """A share of a random nonce."""
        self._next_id += 1
        self._asked[self._next_id] = time.monotonic()
        self._notes.sent += 1
        if not self.agent:
            nonce = {"pow_hash": self._job, "nonce": hex(secrets.randbits(128))}
            self._send(self._next_id, "ckb_submitWork", nonce)
            return
        digits = secrets.token_hex(NONCE_BYTES[self.agent])
        rest = ["00" * 4, "00" * 4, digits] if self.agent.startswith("intminer") else [digits]
        self._send(self._next_id, "mining.submit", [f"worker{self._number % 100}", self._job, *rest])

    def connection_lost(self, exc: BaseException | None) -> None:
        if not self.is_closing:
            self._notes.lost += 1

    def close(self) -> None:
        self.is_closing = True
        if self._wire is not None:
            self._wire.abort()

    @property
    def unanswered(self) -> int:
        return len(self._asked)


async def join_all(notes: Notes, port: int, count: int) -> list[Miner]:
    """All of them have a job."""
    loop = asyncio.get_running_loop()
    joining = asyncio.Semaphore(JOIN_AT_ONCE)

    async def join(number: int) -> Miner:
        async with joining:
            _, made = await loop.create_connection(lambda: Miner(notes, number), "127.0.0.1", port)
            await made.has_job.wait()
        return made

    return list(await asyncio.gather(*(join(number) for number in range(count))))


async def hand_in(miners: list[Miner], rate: float, seconds: float) -> None:
    """Shares at random moments, `rate` a second in all."""
    end, due = time.monotonic() + seconds, time.monotonic()
    while due < end:
        due += random.expovariate(rate)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        random.choice(miners).submit()
    deadline = time.monotonic() + 10
    while any(each.unanswered for each in miners) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def watch(miners: list[Miner]) -> None:
    """Note when jobs come, until a line comes by standard input."""
    for each in miners:
        each.watch()
    gc.disable()
    await asyncio.to_thread(sys.stdin.readline)
    for each in miners:
        each.look_back()


async def run(port: int, count: int, rate: float, seconds: float, storms: int) -> dict[str, Any]:
    """Join, hand in, come back."""
    notes = Notes()
    begun = time.monotonic()
    miners = await join_all(notes, port, count)
    joined_s = time.monotonic() - begun
    print(json.dumps("joined"), flush=True)
    if rate:
        await hand_in(miners, rate, seconds)
    else:
        await watch(miners)
    storms_s = []
    for _ in range(storms):
        for each in miners:
            each.close()
        begun = time.monotonic()
        miners = await join_all(notes, port, count)
        storms_s.append(time.monotonic() - begun)
    unanswered = sum(each.unanswered for each in miners)
    for each in miners:
        each.close()
    return {
        "answers_ms": [round(1000 * each, 3) for each in notes.answers_s],
        "sent": notes.sent,
        "right": notes.right,
        "refused": notes.refused,
        "unanswered": unanswered,
        "lost": notes.lost,
        "joined_s": joined_s,
        "storms_s": storms_s,
        "jobs_s": notes.jobs_s,
    }


if __name__ == "__main__":
    arguments = sys.argv[1:]
    figures = asyncio.run(
        run(int(arguments[0]), int(arguments[1]), float(arguments[2]), float(arguments[3]), int(arguments[4]))
    )
    print(json.dumps(figures), flush=True)
