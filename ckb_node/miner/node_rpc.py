"""JSON-RPC of the node that the miner works for, by http or https. Answers are bounded in size and in time."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import msgspec

from ckb_node.miner.work import MinerError
from ckb_node.runtime.log_text import shown
from ckb_node.runtime.rpc_client import split_url

MAX_TEMPLATE_BYTES: Final = 16 << 20
"""Of an answer, and of a template that is posted. A block has 597,000 bytes, of which JSON makes some millions."""
ANSWER_S: Final = 30.0
_CHUNK: Final = 64 << 10


class NodeUnreachable(Exception):  # noqa: N818 - the condition is its name
    """No answer, or none that can be read: it is worth trying again."""


class NodeRefused(Exception):  # noqa: N818 - the condition is its name
    """The node answered an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {shown(message, 300)}")
        self.code = code
        self.message = message


class _Fault(msgspec.Struct):
    code: int = 0
    message: str = ""


class _Answer(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Fault | None = None


class NodeRpc:
    """One node; connections are kept while the context lasts."""

    def __init__(self, url: str) -> None:
        """Raises MinerError for a bad address."""
        try:
            parts = split_url(url)
        except ValueError as error:
            raise MinerError(f"miner.rpc_url: {shown(url, 200)}: {error}") from error
        self._url: Final = url
        self.name: Final = parts.netloc.rpartition("@")[2]
        """Host and port: the address may hold a password."""
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, method: str, *params: Any) -> bytes:
        """The result, still JSON. Raises NodeUnreachable, NodeRefused."""
        request = msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        try:
            return _result(await self._post(request))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise NodeUnreachable(f"{self.name}: {_reason(error)}") from error

    async def _post(self, body: bytes) -> bytes:
        if self._session is None:
            raise RuntimeError("not entered")
        headers = {"Content-Type": "application/json"}
        async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
            if answer.status != 200:
                raise ValueError(f"HTTP status {answer.status}")
            return await read_bounded(answer.content)


async def read_bounded(stream: aiohttp.StreamReader) -> bytes:
    """All of a body. ValueError when it is too large."""
    parts: list[bytes] = []
    size = 0
    while chunk := await stream.read(_CHUNK):
        parts.append(chunk)
        size += len(chunk)
        if size > MAX_TEMPLATE_BYTES:
            raise ValueError(f"larger than {MAX_TEMPLATE_BYTES} bytes")
    return b"".join(parts)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {ANSWER_S:.0f} s"
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return shown(told or type(error).__name__, 300)


def _result(body: bytes) -> bytes:
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no JSON-RPC answer: {error}") from error
    if answer.error is not None:
        raise NodeRefused(answer.error.code, answer.error.message)
    return bytes(answer.result)
