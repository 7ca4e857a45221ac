"""A small JSON-RPC client over http and https, for commands. Answers are bounded in size and in time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec

from ckb_node.runtime.log_text import shown

CONNECT_S = 20.0
"""For connecting, and for each read."""
TOTAL_S = 180.0
"""For the whole answer, however it drips."""
CHUNK_BYTES = 64 << 10
NULL = b"null"


class RpcCallError(Exception):
    """The node cannot be reached, answers an error, or answers nothing that can be read."""


class _Fault(msgspec.Struct):
    code: int = 0
    message: str = ""


class _Answer(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(NULL)
    error: _Fault | None = None


@dataclass(frozen=True, slots=True)
class RpcClient:
    """A node's address; one connection per call."""

    url: str
    max_bytes: int
    total_s: float = TOTAL_S

    def call(self, method: str, *params: Any) -> bytes:
        """The member `result`, still JSON; NULL if there is none. RpcCallError."""
        request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        try:
            return _result(self._post(split_url(self.url), request, time.monotonic))
        except (OSError, HTTPException, ValueError) as error:
            raise RpcCallError(f"{self.url}: {shown(_reason(error), 300)}") from error

    def _post(self, url: SplitResult, request: bytes, now: Callable[[], float]) -> bytes:
        kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
        port = url.port or (443 if url.scheme == "https" else 80)
        connection = kind(url.hostname or "", port, timeout=min(CONNECT_S, self.total_s))
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        deadline = now() + self.total_s
        try:
            connection.request("POST", path, request, {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                raise ValueError(f"HTTP status {response.status}")
            return self._read(response, lambda: now() > deadline)
        finally:
            connection.close()

    def _read(self, response: HTTPResponse, is_late: Callable[[], bool]) -> bytes:
        parts: list[bytes] = []
        size = 0
        while chunk := response.read1(CHUNK_BYTES):
            parts.append(chunk)
            size += len(chunk)
            if size > self.max_bytes:
                raise ValueError(f"the answer is larger than {self.max_bytes} bytes")
            if is_late():
                raise ValueError("the answer takes too long")
        return b"".join(parts)


def split_url(url: str) -> SplitResult:
    """The parts of a node's address; ValueError with what is expected."""
    expected = "expected http://host:port/ or https://host/"
    if not url.isprintable() or " " in url:
        raise ValueError(expected)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(expected)
    _ = parts.port  # raises ValueError for a bad port
    return parts


def _reason(error: Exception) -> str:
    """Without the number of the resolver's or the system's error."""
    if isinstance(error, UnicodeError):
        return "the host is no host name"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _result(body: bytes) -> bytes:
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no JSON-RPC answer: {error}") from error
    if answer.error is not None:
        raise ValueError(f"the node answered error {answer.error.code}: {answer.error.message[:200]}")
    return bytes(answer.result)
