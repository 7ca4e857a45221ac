"""Both ends of connections, as a test sees them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from network.gate import TurnedAway
from network.io.dial import DialOptions, TcpTransport
from network.io.listen import MAX_ARRIVALS, ListenAddress, Listeners
from network.io.stream import receive_buffer
from network.multiaddr import Multiaddr
from network.transport import Link, Receiver

PEER = "QmaZMemLXSsxKUrYNucjEbPxVX3rBKsGhWW2muWtWxUWyh"
START = bytes.fromhex("000000ad")
"""As a secio stream begins."""


ENDS: list[End] = []
"""Those of the running test."""


class End:
    """One end (network.transport.Receiver) that keeps what comes."""

    def __init__(self, link: Link, address: Multiaddr | None = None) -> None:
        self.link, self.address = link, address
        self.received = bytearray()
        self.is_ended = False
        self.lost_by: list[str] = []
        self._changed = asyncio.Event()
        ENDS.append(self)

    def receive(self, data: memoryview) -> None:
        self.received += data
        self._changed.set()

    def end_of_stream(self) -> None:
        self.is_ended = True
        self._changed.set()

    def lost(self, reason: str) -> None:
        self.lost_by.append(reason)
        self._changed.set()

    async def until_bytes(self, count: int) -> bytes:
        """So many bytes, which are taken."""
        await self._until(lambda: len(self.received) >= count)
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken

    async def until_gone(self) -> None:
        """The other end has closed or cut the connection, which is closed here then too."""
        await self._until(lambda: self.is_ended or bool(self.lost_by))
        self.link.close()
        await self._until(lambda: bool(self.lost_by))
        assert len(self.lost_by) == 1

    async def _until(self, is_so: object) -> None:
        assert callable(is_so)
        async with asyncio.timeout(20):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()


@dataclass
class Gate:
    """Takes connections (network.io.listen.Gateway)."""

    ends: asyncio.Queue[End] = field(default_factory=asyncio.Queue)
    refused: TurnedAway | None = None
    is_full: bool = False

    def turns_away(self, address: Multiaddr) -> TurnedAway | None:
        del address
        return self.refused

    def accepted(self, link: Link, address: Multiaddr, since: float | None = None) -> Receiver | None:
        assert since is not None
        if self.is_full:
            return None
        end = End(link, address)
        self.ends.put_nowait(end)
        return end

    async def next_end(self) -> End:
        async with asyncio.timeout(20):
            return await self.ends.get()


class Call:
    """A dial (network.transport.Dialling), and what came of it."""

    def __init__(self) -> None:
        self._done: asyncio.Future[End | str] = asyncio.get_running_loop().create_future()

    @property
    def is_over(self) -> bool:
        return self._done.done()

    def connected(self, link: Link) -> Receiver:
        end = End(link)
        self._done.set_result(end)
        return end

    def failed(self, reason: str) -> None:
        self._done.set_result(reason)

    async def end(self) -> End:
        result = await self._result()
        assert isinstance(result, End), result
        return result

    async def reason(self) -> str:
        result = await self._result()
        assert isinstance(result, str)
        return result

    async def _result(self) -> End | str:
        async with asyncio.timeout(20):
            return await self._done


@asynccontextmanager
async def listening(
    gate: Gate,
    *wanted: ListenAddress,
    trusted: Sequence[str] = (),
    is_shared: bool = True,
    max_arrivals: int = MAX_ARRIVALS,
) -> AsyncIterator[Listeners]:
    """Listen, by default on a free port of loopback."""
    listeners = Listeners(receive_buffer(), trusted, is_shared=is_shared, max_arrivals=max_arrivals)
    try:
        for each in wanted or (ListenAddress(("127.0.0.1", 0)),):
            listeners.open(each, is_v6_only=True)
        await listeners.start(gate)
        yield listeners
    finally:
        listeners.close()
        while ENDS:
            end = ENDS.pop()
            end.link.abort()
            while not end.lost_by:  # noqa: ASYNC110 - of the loop
                await asyncio.sleep(0)


@asynccontextmanager
async def dialling(options: DialOptions | None = None) -> AsyncIterator[TcpTransport]:
    """A transport whose dials end with the context."""
    async with asyncio.TaskGroup() as tasks:
        yield TcpTransport(tasks, receive_buffer(), options or DialOptions())


def address_of(listeners: Listeners, suffix: str = "") -> Multiaddr:
    """The first address that is listened on, with a peer id."""
    host, port = listeners.endpoints[0]
    return Multiaddr.parse(f"/ip{6 if ':' in host else 4}/{host}/tcp/{port}{suffix}/p2p/{PEER}")
