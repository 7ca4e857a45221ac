"""A node's JSON-RPC as a source of the genesis block."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import SplitResult, urlsplit

import msgspec

from ckb_node.genesis.files import MAX_GENESIS_BYTES, GenesisSourceError
from ckb_node.rpc.blockviews import BlockTextError, decode_block_view
from consensus.spec import ChainSpec
from consensus.types.blockchain import Block

CONNECT_S = 20.0
"""For connecting, and for each read."""
TOTAL_S = 180.0
"""For the whole answer, however it drips."""
CHUNK_BYTES = 64 << 10

REQUEST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "get_block_by_number", "params": ["0x0"]}).encode()


class _Fault(msgspec.Struct):
    code: int = 0
    message: str = ""


class _Answer(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Fault | None = None


@dataclass(frozen=True, slots=True)
class RpcSource:
    """Any CKB node's RPC address, http or https."""

    url: str
    total_s: float = TOTAL_S

    def __str__(self) -> str:
        return self.url

    def load(self, _: ChainSpec) -> Block:
        """Block 0 of that node. GenesisSourceError."""
        try:
            return decode_block_view(_result(_post(_split(self.url), self.total_s, time.monotonic)))
        except (OSError, HTTPException, BlockTextError, ValueError) as error:
            raise GenesisSourceError(f"{self.url}: {error}") from error


def _split(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected http://host:port/ or https://host/")
    return parts


def _post(url: SplitResult, total_s: float, now: Callable[[], float]) -> bytes:
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=min(CONNECT_S, total_s))
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    deadline = now() + total_s
    try:
        connection.request("POST", path, REQUEST, {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise ValueError(f"HTTP status {response.status}")
        return _read(response, lambda: now() > deadline)
    finally:
        connection.close()


def _read(response: HTTPResponse, is_late: Callable[[], bool]) -> bytes:
    parts: list[bytes] = []
    size = 0
    while chunk := response.read1(CHUNK_BYTES):
        parts.append(chunk)
        size += len(chunk)
        if size > MAX_GENESIS_BYTES:
            raise ValueError(f"the answer is larger than {MAX_GENESIS_BYTES} bytes")
        if is_late():
            raise ValueError("the answer takes too long")
    return b"".join(parts)


def _result(body: bytes) -> bytes:
    """The member `result`, still JSON."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no JSON-RPC answer: {error}") from error
    if answer.error is not None:
        raise ValueError(f"the node answered error {answer.error.code}: {answer.error.message[:200]}")
    result = bytes(answer.result)
    if result == b"null":
        raise ValueError("the node has no block 0")
    return result
