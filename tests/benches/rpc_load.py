"""A load of equal JSON-RPC requests over keep-alive connections, from one process."""

from __future__ import annotations

import asyncio
import json
import time

CONNECTIONS = 16
SECONDS = 3.0
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class _Client(asyncio.Protocol):
    """One connection that always has `pipelined` requests in flight. All answers must have the first one's length."""

    def __init__(self, request: bytes, pipelined: int, failed: asyncio.Future[None]) -> None:
        self._request, self._pipelined, self._failed = request, pipelined, failed
        self._pending = b""
        self._answer_size = 0
        self.answers = 0
        self.is_stopping = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request * self._pipelined)

    def data_received(self, data: bytes) -> None:
        data = self._pending + data
        if not self._answer_size:
            self._answer_size = _answer_size(data)
        count, rest = divmod(len(data), self._answer_size) if self._answer_size else (0, len(data))
        self._pending = data[len(data) - rest :] if rest else b""
        if count:
            if b'"result"' not in data and not self._failed.done():
                self._failed.set_exception(RuntimeError(data.decode(errors="replace")[:500]))
            self.answers += count
            if not self.is_stopping and self._transport is not None:
                self._transport.write(self._request * count)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.is_stopping and not self._failed.done():
            self._failed.set_exception(exc or ConnectionError("the node closed a connection"))

    def close(self) -> None:
        self.is_stopping = True
        if self._transport is not None:
            self._transport.abort()


def _answer_size(data: bytes) -> int:
    """Bytes of the first whole answer, 0 when it is not whole yet."""
    head, end, body = data.partition(_HEAD_END)
    if not end:
        return 0
    length = int(head.lower().split(_LENGTH, 1)[1].split(b"\r\n", 1)[0])
    return len(head) + len(end) + length if len(body) >= length else 0


async def requests_per_second(port: int, method: str, pipelined: int) -> float:
    """Answers per second over CONNECTIONS connections. Raises RuntimeError when an answer is no result."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": []}).encode()
    head = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    request = head % len(body) + body
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[None] = loop.create_future()
    clients = []
    for _ in range(CONNECTIONS):
        _, client = await loop.create_connection(lambda: _Client(request, pipelined, failed), "127.0.0.1", port)
        clients.append(client)
    await asyncio.wait([failed], timeout=0.5)  # the first answers are slower
    before, started = sum(client.answers for client in clients), time.perf_counter()
    await asyncio.wait([failed], timeout=SECONDS)
    answers, seconds = sum(client.answers for client in clients) - before, time.perf_counter() - started
    for client in clients:
        client.close()
    if failed.done():
        failed.result()
    failed.cancel()
    return answers / seconds
