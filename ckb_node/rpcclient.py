"""A small JSON-RPC client over http and https, for commands. Answers are bounded in size and in time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import SplitResult, urlsplit

import msgspec

from ckb_node.logtext import shown

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

    def call(self, method: str, *params: str) -> bytes:
        """The member `result`, still JSON; NULL if there is none. RpcCallError."""
        request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        try:
            return _result(self._post(_split(self.url), request, time.monotonic))
        except (OSError, HTTPException, ValueError) as error:
            raise RpcCallError(f"{self.url}: {shown(str(error), 300)}") from error

    def _post(self, url: SplitResult, request: bytes, now: Callable[[], float]) -> bytes:
        kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
        connection = kind(url.hostname or "", url.port, timeout=min(CONNECT_S, self.total_s))
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


def _split(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected http://host:port/ or https://host/")
    return parts


def _result(body: bytes) -> bytes:
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no JSON-RPC answer: {error}") from error
    if answer.error is not None:
        raise ValueError(f"the node answered error {answer.error.code}: {answer.error.message[:200]}")
    return bytes(answer.result)
