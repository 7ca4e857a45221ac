"""Load of JSON-RPC requests by `wrk`; where it is not installed by this process, which is slower and says so."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.benches.rpc_load import CONNECTIONS

SECONDS = 3.0
SCRIPT = Path(__file__).with_name("load.lua")
_HEAD_END, _LENGTH = b"\r\n\r\n", b"content-length: "


class Load(NamedTuple):
    """What came of a load."""

    answers: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int = 0

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


def load(port: int, bodies: Sequence[bytes], seconds: float = SECONDS) -> Load:
    """Requests over CONNECTIONS keep-alive connections that each wait for their answers. RuntimeError for failures."""
    found = _by_wrk(port, bodies, seconds) if is_wrk_there() else asyncio.run(_by_this_process(port, bodies, seconds))
    if found.failed or not found.answers:
        raise RuntimeError(f"{found.failed} requests failed, {found.answers} were answered")
    return found


def is_wrk_there() -> bool:
    """Whether the figures are those of `wrk`."""
    return shutil.which("wrk") is not None


def _by_wrk(port: int, bodies: Sequence[bytes], seconds: float) -> Load:
    with tempfile.NamedTemporaryFile(suffix=".bodies") as file:
        file.write(b"".join(body + b"\n" for body in bodies))
        file.flush()
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "-s"]
        command += [str(SCRIPT), f"http://127.0.0.1:{port}/", "--", file.name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True)
    return Load(**json.loads(done.stdout.strip().splitlines()[-1]))


class _Connection(asyncio.Protocol):
    """Asks, waits for the answer, asks again."""

    def __init__(self, requests: Sequence[bytes], first: int, times: list[float]) -> None:
        self._requests, self._at, self._times = requests, first, times
        self._data, self._asked_at = b"", 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._ask(transport)

    def _ask(self, transport: asyncio.Transport) -> None:
        self._at = (self._at + 1) % len(self._requests)
        self._asked_at = time.perf_counter()
        transport.write(self._requests[self._at])

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(_HEAD_END)
        length = int(head.lower().split(_LENGTH, 1)[1].split(b"\r\n", 1)[0]) if end else 0
        if end and len(body) >= length and self.transport is not None:
            self._times.append(time.perf_counter() - self._asked_at)
            self._data = b""
            self._ask(self.transport)


async def _by_this_process(port: int, bodies: Sequence[bytes], seconds: float) -> Load:
    print("wrk is not installed: the load comes from Python, which is slower than a node", file=sys.stderr)
    head = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    requests = [head % len(body) + body for body in bodies]
    times: list[float] = []
    loop, started = asyncio.get_running_loop(), time.perf_counter()
    connections = [_Connection(requests, number, times) for number in range(CONNECTIONS)]
    for each in connections:
        await loop.create_connection(lambda each=each: each, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.sleep(seconds)
    taken = time.perf_counter() - started
    for each in connections:
        if each.transport is not None:
            each.transport.abort()
    ordered = sorted(times) or [0.0]
    p50, p99 = (ordered[int(share * (len(ordered) - 1))] * 1000 for share in (0.5, 0.99))
    return Load(len(times), taken, p50, p99)
