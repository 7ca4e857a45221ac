"""What clients may take of a server: connections, bytes and time. All bounds are in `HttpLimits`.

When room runs out, the client that has kept the server waiting longest gives way, never the one that just came.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any, Final, Protocol

from ckb_node.rpc.known_heads import KnownHeads
from ckb_node.rpc.turns import Turns


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of the server. Sizes in bytes, times in seconds."""

    body_bytes: int = 10 << 20
    head_bytes: int = 16 << 10
    connections: int = 1000
    connections_per_address: int = 500
    """Of one IPv4 address, or of one IPv6 network of 64 bits."""
    held_bytes: int = 64 << 20
    """Requests of all connections that are held in memory, beyond `FREE_BYTES` of each."""
    unsent_bytes: int = 128 << 20
    """Answers that clients do not take."""
    head_seconds: float = 10.0
    """From the first byte of a request to the end of its headers."""
    request_seconds: float = 60.0
    """From the end of the headers to the last byte of the body."""
    idle_seconds: float = 75.0
    """Between requests."""
    answer_seconds: float = 60.0
    """To work out the first part of an answer."""
    write_seconds: float = 60.0
    """A client that takes nothing for so long is gone; so is one that falls so far behind `write_bytes_s`."""
    write_bytes_s: int = 8 << 10
    """Least rate of answers that wait for their client. They hold room that others need."""
    closing_seconds: float = 1.0
    """For answers on the way when the server is closed."""


FREE_BYTES: Final = 64 << 10
"""What each connection may have sent without being counted, so that small requests always get in."""

READ_BYTES: Final = 16 << 10
"""That are read of a connection before others have their turn."""

HASTY_S: Final = 0.005
HASTY_PER_ROUND: Final = 8
"""Clients that ask again within HASTY_S of an answer wait for each other: so many begin in a round of the event loop.
All others pass them."""
SHORT_PER_ROUND: Final = 32
"""Of their calls that are answered as soon as they are read."""
LARGE_BYTES: Final = 16 << 10
LARGE_PER_ROUND: Final = 4
"""Requests with a longer body (batches, blocks) begin so many in a round. They wait for each other alone: behind a
flood of cheap calls a miner's block would come too late. Those of clients that ask again within HASTY_S wait first for
others of that kind."""

BUSY_ROUND_S: Final = 0.02
"""How long such a round is while blocks are verified or a template is made: programs that ask without end would take
what that needs."""

_LOOKED_AT = 64
_WATCH_SECONDS = 0.5


class Phase(Enum):
    """What a connection waits for."""

    IDLE = "a request"
    HEAD = "the rest of the headers"
    BODY = "the rest of the body"
    ANSWER = "the node"
    STREAM = "messages, in both directions"
    LEAVING = "its end"


class Unsent:
    """What a client has not taken of its answers, and how far it is behind the least rate."""

    __slots__ = ("_behind_s", "_looked_at_s", "_size", "wire")

    def __init__(self) -> None:
        self.wire: asyncio.Transport | None = None
        """To the client, while there is one."""
        self._behind_s = self._looked_at_s = 0.0
        self._size = 0

    @property
    def size(self) -> int:
        """In bytes."""
        return 0 if self.wire is None else self.wire.get_write_buffer_size()

    def begin(self, now: float) -> None:
        """The client does not keep up from now on."""
        self._looked_at_s, self._size = now, self.size

    def behind_s(self, now: float, bytes_s: int) -> float:
        """For how long it has not kept up, less the time that what it took since would need at `bytes_s`. Bytes that
        are taken one by one do not save it."""
        size = self.size
        needed_s = max(0, self._size - size) / bytes_s
        self._behind_s = max(0.0, self._behind_s + now - self._looked_at_s - needed_s)
        self._looked_at_s, self._size = now, size
        return self._behind_s


class Guarded(Protocol):
    """A connection, as the guard sees it."""

    client: str
    """Under which its address is counted."""
    counted: int
    """Bytes that it holds, as the guard knows them."""
    deadline: float
    task: asyncio.Task[Any] | None
    """What works out an answer now."""

    def __hash__(self) -> int: ...

    @property
    def has_asked(self) -> bool:
        """Whether a request of it was answered before."""
        ...

    @property
    def unsent(self) -> Unsent:
        """What its client has not taken."""
        ...

    def refuse(self, status: int, text: str = "") -> None:
        """Say the last word."""
        ...

    def drop(self) -> None:
        """Disconnect at once."""
        ...

    def end_wait(self) -> None:
        """What it waits for does not come in time."""
        ...


class Guard:
    """The connections of a server, and what they hold."""

    def __init__(self, limits: HttpLimits, is_busy: Callable[[], bool] = lambda: False) -> None:
        """`is_busy`: the node has work that goes first."""
        self.limits: Final = limits
        self._is_busy: Final = is_busy
        self.loop: Final = asyncio.get_running_loop()
        self.connections: Final[set[Guarded]] = set()
        self.held_bytes = 0
        self.is_closing = False
        self.turns: Final = Turns(self.loop, HASTY_PER_ROUND, self._pause_s)
        self.short_turns: Final = Turns(self.loop, SHORT_PER_ROUND, self._pause_s)
        self.large_turns: Final = Turns(self.loop, LARGE_PER_ROUND)
        self.hasty_large_turns: Final = Turns(self.loop, LARGE_PER_ROUND, self._pause_s)
        self.buffer: Final = memoryview(bytearray(READ_BYTES))
        self.heads: Final = KnownHeads()
        self._of_address: Final[Counter[str]] = Counter()
        self.waiting: Final[dict[Guarded, None]] = {}
        """Those that wait for their client, the longest first."""
        self._unread: Final[dict[Guarded, None]] = {}
        """Those whose client does not take its answer, the longest first."""

    def _pause_s(self) -> float:
        return BUSY_ROUND_S if self._is_busy() else 0.0

    def admit(self, connection: Guarded) -> bool:
        """Take a new connection; at a bound the place of another. False when there is none to give way."""
        crowded = None
        if self._of_address[connection.client] >= self.limits.connections_per_address:
            crowded = connection.client
        if crowded is not None or len(self.connections) >= self.limits.connections or self.is_closing:
            victim = None if self.is_closing else self._longest_waiting(crowded)
            if victim is None:
                return False
            victim.drop()
        self.connections.add(connection)
        self._of_address[connection.client] += 1
        self.await_client(connection)
        return True

    def await_client(self, connection: Guarded) -> None:
        """It waits for its client from now on, and may have to give way."""
        self.waiting.pop(connection, None)
        if connection in self.connections:
            self.waiting[connection] = None

    def attend(self, connection: Guarded) -> None:
        """Its client waits for the node, or listens."""
        self.waiting.pop(connection, None)

    def _longest_waiting(self, client: str | None) -> Guarded | None:
        """Of an address; or of those that wait longest one whose address has most connections. Before any that has
        asked something before, one that never did: clients that keep their connection outlast those that only fill
        the server."""
        of_client = (each for each in self.waiting if each.client == client)
        those = islice(self.waiting, _LOOKED_AT) if client is None else of_client
        return min(those, key=lambda each: (-self._of_address[each.client], each.has_asked), default=None)

    def leave(self, connection: Guarded) -> None:
        """A connection is lost or dropped."""
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        self._of_address[connection.client] -= 1
        if not self._of_address[connection.client]:
            del self._of_address[connection.client]
        self.waiting.pop(connection, None)
        self._unread.pop(connection, None)
        self.hold(connection, 0)

    def hold(self, connection: Guarded, size: int) -> None:
        """Count what a connection holds beyond FREE_BYTES. Too much in all: the one that sends longest gives way."""
        self.held_bytes += size - connection.counted
        connection.counted = size
        while self.held_bytes > self.limits.held_bytes:
            victim = next((each for each in self.waiting if each.counted), connection)
            if victim is connection:
                connection.refuse(503)
                return
            victim.drop()

    def unread(self, connection: Guarded) -> None:
        """A client does not take its answer. Too much unsent in all: the one that takes nothing longest gives way."""
        self._unread[connection] = None
        connection.unsent.begin(self.loop.time())
        while len(self._unread) > 1 and sum(each.unsent.size for each in self._unread) > self.limits.unsent_bytes:
            next(iter(self._unread)).drop()

    def read_again(self, connection: Guarded) -> None:
        """A client takes its answer."""
        if connection in self._unread:
            del self._unread[connection]
            self._behind_s(connection)

    async def watch(self) -> None:
        """Disconnect connections whose time is up; runs until it is cancelled."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            now = self.loop.time()
            for connection in list(self.connections):
                if now >= connection.deadline:
                    connection.end_wait()
            for connection in list(self._unread):
                if self._behind_s(connection) >= self.limits.write_seconds:
                    connection.drop()

    def _behind_s(self, connection: Guarded) -> float:
        return connection.unsent.behind_s(self.loop.time(), self.limits.write_bytes_s)

    async def close(self) -> None:
        """Admit no more connections; answers on the way have `closing_seconds`, then all are dropped."""
        self.is_closing = True
        for connection in list(self.waiting):
            connection.drop()
        tasks = [each.task for each in self.connections if each.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self.limits.closing_seconds)
        for connection in list(self.connections):
            connection.drop()
        if tasks:
            await asyncio.wait(tasks, timeout=self.limits.closing_seconds)
