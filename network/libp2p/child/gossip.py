"""GossipSub in the libp2p process: signed messages of a few topics, none passed on before the node has judged it.

The library's defaults lose own messages and keep others' for ever; so they are turned off here, and what peers could
misuse in `router.py`. What peers are worth is the business of the node's own table.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from hashlib import blake2b
from typing import Any, Final

import trio
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, PROTOCOL_ID_V12
from libp2p.tools.anyio_service import background_trio_service

from network.budget import Allowances
from network.libp2p.child.pipe import Pipe
from network.libp2p.child.router import Exchange, Router, adjust_library
from network.libp2p.messages import CONTROL, MAX_GOSSIP, Gossip

DEGREE, DEGREE_LOW, DEGREE_HIGH = 6, 4, 10
HEARTBEAT: Final = 1
MAX_JUDGED: Final = 128
"""Messages that wait for the node's verdict."""
VERDICT_TIMEOUT: Final = 4.0
PER_SECOND, AT_ONCE = 40.0, 200.0
"""Messages of one peer."""
MAX_PEERS: Final = 1024
MAX_SEEN: Final = 8192
"""Contents that are remembered: the same one under another name is not passed on."""
TRIM_INTERVAL: Final = 30.0
_GROWING: Final = (
    "recent_message_deliveries",
    "recent_peer_connections",
    "equivocation_detection",
    "message_rate_limits",
)
"""Tables of the library that only its adaptive mode would trim."""


class _Judged:
    """A message that waits for its verdict."""

    def __init__(self) -> None:
        self.is_good = self.is_own = False
        """Of its forwarder's; the node wants to tell the same itself."""
        self.is_judged: Final = trio.Event()


class Topics:
    """The topics of one host."""

    def __init__(self, host: Any, pipe: Pipe, topics: dict[int, str], conn_of: Callable[[Any], int]) -> None:
        """`conn_of` a peer: the number of a connection with it, or 0."""
        adjust_library()
        self._host, self._pipe, self._topics, self._conn_of = host, pipe, topics, conn_of
        self._router: Final = Router(
            protocols=[PROTOCOL_ID_V12, PROTOCOL_ID_V11],
            degree=DEGREE,
            degree_low=DEGREE_LOW,
            degree_high=DEGREE_HIGH,
            heartbeat_interval=HEARTBEAT,
            adaptive_gossip_enabled=False,
            spam_protection_enabled=False,
            eclipse_protection_enabled=False,
        )
        self._exchange: Final = Exchange(
            host,
            self._router,
            self._judge,
            self._may_say,
            allowed_topics=set(topics.values()),
            max_subscriptions_per_peer=4 * len(topics) + 4,
        )
        self._numbers: Final = {name: topic for topic, name in topics.items()}
        self._judged: Final = dict[int, _Judged]()
        self._open: Final = dict[bytes, _Judged]()
        """Those of `_judged`, by content."""
        self._seen: Final = OrderedDict[bytes, bool]()
        """Contents, and whether they were passed on or are this node's."""
        self._allowances: Final = Allowances[Any](PER_SECOND, AT_ONCE, max_keys=MAX_PEERS)
        self._last = 0

    @contextlib.asynccontextmanager
    async def running(self, nursery: trio.Nursery) -> AsyncIterator[None]:
        """Peers must be gone before it ends: the library cannot bear them then."""
        async with background_trio_service(self._exchange), background_trio_service(self._router):
            await self._exchange.wait_until_ready()
            for name in self._numbers:
                await self._exchange.subscribe(name)
            nursery.start_soon(self._trim)
            yield

    def moved(self, peer: Any) -> None:
        """One of two connections with a peer has ended. Never raises an Exception."""
        with contextlib.suppress(Exception):
            self._exchange.moved(peer)

    async def publish(self, topic: int, data: bytes) -> None:
        """Something of this node's, unless it was passed on. Never raises an Exception."""
        content = _content(data)
        judged = self._open.get(content)
        if judged is not None:
            judged.is_own = True
        elif not self._seen.get(content):
            await self._publish(topic, data, content)

    async def _publish(self, topic: int, data: bytes, content: bytes) -> None:
        self._note(content, is_told=True)
        with contextlib.suppress(Exception):
            await self._exchange.publish(self._topics[topic], data)

    def verdict(self, number: int, *, is_good: bool) -> None:
        """The node's, of a message that it was asked about."""
        judged = self._judged.get(number)
        if judged is not None:
            judged.is_good = is_good
            judged.is_judged.set()

    def _may_say(self, forwarder: Any) -> bool:
        """One more message."""
        now = trio.current_time()
        if self._allowances.left(forwarder, now) < 1.0:
            return False
        self._allowances.spend(forwarder, 1.0, now)
        return True

    async def _judge(self, forwarder: Any, message: Any) -> bool:
        """Whether a message is passed on."""
        data, names = bytes(message.data), message.topicIDs
        topic = self._numbers.get(names[0]) if len(names) == 1 else None
        content = _content(data)
        is_known = content in self._open or content in self._seen
        if topic is None or len(self._judged) >= MAX_JUDGED or len(data) > MAX_GOSSIP or is_known:
            return False
        self._note(content, is_told=False)
        self._last += 1
        number, judged = self._last, _Judged()
        self._judged[number] = self._open[content] = judged
        try:
            self._pipe.send(CONTROL, Gossip(number, topic, self._conn_of(forwarder), data))
            with trio.move_on_after(VERDICT_TIMEOUT):
                await judged.is_judged.wait()
        finally:
            del self._judged[number], self._open[content]
        if judged.is_good:
            self._note(content, is_told=True)
        elif judged.is_own:  # refused for its forwarder, and good from another one
            await self._publish(topic, data, content)
        return judged.is_good

    def _note(self, content: bytes, *, is_told: bool) -> None:
        self._seen[content] = is_told
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)

    async def _trim(self) -> None:
        while True:
            await trio.sleep(TRIM_INTERVAL)
            for name in _GROWING:
                getattr(self._router, name).clear()
            self._router.forget_back_offs()


def _content(data: bytes) -> bytes:
    """What tells contents apart: each publisher gives the same one a name of its own."""
    return blake2b(data, digest_size=16).digest()
