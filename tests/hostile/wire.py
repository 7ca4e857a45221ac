"""What attackers do with sockets. All of it goes on until the attacker's process is ended."""

from __future__ import annotations

import contextlib
import itertools
import json
import selectors
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

_hosts = itertools.count(2)


def post(body: bytes, *headers: bytes) -> bytes:
    """A whole request."""
    lines = [b"POST / HTTP/1.1", b"Host: localhost", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def call(method: str, *params: Any) -> bytes:
    """A JSON-RPC call."""
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


def batch(count: int, method: str, *params: Any) -> bytes:
    """Equal calls in one request."""
    return b"[" + b",".join([call(method, *params)] * count) + b"]"


def connect(port: int, *, from_many: bool = False, receive_bytes: int | None = None) -> socket.socket | None:
    """A connection, from an address of its own if asked; None when there is none to be had."""
    client = socket.socket()
    client.settimeout(5)
    if receive_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    try:
        if from_many:
            number = next(_hosts)
            client.bind((f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 0))
        client.connect(("127.0.0.1", port))
    except OSError:
        client.close()
        return None
    client.setblocking(False)
    return client


def reset(client: socket.socket) -> None:
    """Close at once, with RST."""
    with contextlib.suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def streams(
    port: int,
    count: int,
    pieces: Iterable[bytes],
    *,
    pause_s: float = 0.0,
    reads: bool = False,
    from_many: bool = False,
    receive_bytes: int | None = None,
) -> None:
    """Keep `count` connections, each sending the pieces again and again; a lost one is made anew. Never returns."""
    texts = list(pieces)
    selector = selectors.DefaultSelector()
    while True:
        while len(selector.get_map()) < count:
            client = connect(port, from_many=from_many, receive_bytes=receive_bytes)
            if client is None:
                time.sleep(0.05)
                break
            events = selectors.EVENT_WRITE | (selectors.EVENT_READ if reads else 0)
            selector.register(client, events, _Stream(texts))
        for key, mask in selector.select(0.1):
            stream: _Stream = key.data
            client = key.fileobj  # type: ignore[assignment]
            assert client is not None
            try:
                if mask & selectors.EVENT_READ and not client.recv(1 << 20):
                    raise ConnectionResetError
                if mask & selectors.EVENT_WRITE:
                    stream.advance(client.send(stream.rest[: 1 << 18]))
            except BlockingIOError:
                continue
            except OSError:
                selector.unregister(client)
                client.close()
        if pause_s:
            time.sleep(pause_s)


class _Stream:
    """Where a connection is in its endless text."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self._pieces: Iterator[bytes] = itertools.cycle(texts)
        self.rest = memoryview(next(self._pieces))

    def advance(self, size: int) -> None:
        self.rest = self.rest[size:]
        if not self.rest:
            self.rest = memoryview(next(self._pieces))


def held(port: int, count: int, text: bytes, *, from_many: bool = False, receive_bytes: int | None = None) -> None:
    """Keep `count` connections that say one thing and then nothing; a lost one is made anew. Never returns."""
    clients: list[socket.socket] = []
    while True:
        for client in list(clients):
            with contextlib.suppress(BlockingIOError):
                try:
                    gone = not client.recv(1, socket.MSG_PEEK)
                except BlockingIOError:
                    continue
                except OSError:
                    gone = True
                if gone:
                    clients.remove(client)
                    client.close()
        while len(clients) < count:
            made = connect(port, from_many=from_many, receive_bytes=receive_bytes)
            if made is None:
                break
            with contextlib.suppress(OSError):
                made.settimeout(2)
                made.sendall(text)
            made.setblocking(False)
            clients.append(made)
        time.sleep(0.2)


def visits(port: int, text: bytes, *, resets: bool, reads: bool = False, from_many: bool = False) -> None:
    """Connect, say something, leave; without end."""
    while True:
        client = connect(port, from_many=from_many)
        if client is None:
            time.sleep(0.01)
            continue
        with contextlib.suppress(OSError):
            client.settimeout(2)
            client.sendall(text)
            if reads:
                client.recv(1 << 16)
        if resets:
            reset(client)
        else:
            client.close()
