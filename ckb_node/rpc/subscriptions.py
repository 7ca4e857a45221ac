"""Subscriptions: what clients are told that stay connected (TCP and WebSocket), encoded once for all of them.

Each topic keeps its newest events; a subscription is a place among them. So a client that reads slowly costs no memory
of its own, and loses events when it is further behind than the topic reaches back. The next event says how many.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from enum import Enum
from typing import Final

import structlog

from ckb_node.rpc.turns import Turns

log = structlog.get_logger("rpc")

MAX_EVENTS: Final = 128
MAX_EVENT_BYTES: Final = 32 << 20
"""Of a topic; the newest event is kept whatever its size."""

MAX_OF_CLIENT: Final = 32
"""Subscriptions of one connection."""

MAX_SUBSCRIPTIONS: Final = 8192
"""Of all connections."""

WAKES_PER_ROUND: Final = 16
"""Subscribers that are told of an event in a round of the event loop; a thousand at once would hold up all others."""

NOTICE_SECONDS: Final = 10.0
"""Between two lines of the log about lost events."""

_ID_BYTES: Final = 16
_HEAD: Final = b'{"jsonrpc":"2.0","method":"subscribe","params":{"subscription":"%b","result":'
_TAIL: Final = b"}}"


class Topic(Enum):
    """What clients may hear of."""

    NEW_TIP_HEADER = "new_tip_header"
    NEW_TIP_BLOCK = "new_tip_block"
    NEW_TRANSACTION = "new_transaction"
    PROPOSED_TRANSACTION = "proposed_transaction"
    REJECTED_TRANSACTION = "rejected_transaction"
    LOG = "log"


class TooManySubscriptionsError(Exception):
    """This connection, or all of them together, have as many subscriptions as there may be."""


class Feed:
    """The newest events of a topic, as JSON. Events are counted from the node's start."""

    def __init__(self) -> None:
        self._texts: Final[deque[bytes]] = deque()
        self._bytes = 0
        self.first = 0
        """Number of the oldest event that is kept."""
        self.subscribers: Final[dict[Subscription, None]] = {}

    @property
    def end(self) -> int:
        """Number of the next event."""
        return self.first + len(self._texts)

    def add(self, text: bytes) -> None:
        """Keep an event, and give up those that are too many."""
        self._texts.append(text)
        self._bytes += len(text)
        while len(self._texts) > MAX_EVENTS or (self._bytes > MAX_EVENT_BYTES and len(self._texts) > 1):
            self._bytes -= len(self._texts.popleft())
            self.first += 1

    def lose(self, count: int) -> None:
        """So many events could not be kept at all; those before them are given up too."""
        self.first = self.end + count
        self._texts.clear()
        self._bytes = 0

    def text(self, number: int) -> bytes:
        """An event that is kept."""
        return self._texts[number - self.first]


class Subscription:
    """A place among the events of a topic."""

    __slots__ = ("_head", "feed", "is_announced", "next", "session")

    def __init__(self, identity: str, feed: Feed, session: Session) -> None:
        self._head: Final = _HEAD % identity.encode()
        self.feed: Final = feed
        self.session: Final = session
        self.next = feed.end
        self.is_announced = False
        """The client knows the id; before, it could not tell what the events belong to."""

    def take(self) -> tuple[bytes, int] | None:
        """The next event as a message, and how many before it are lost; None when there is none."""
        feed = self.feed
        if not self.is_announced or self.next >= feed.end:
            return None
        lost = max(0, feed.first - self.next)
        self.next = max(self.next, feed.first)
        text = feed.text(self.next)
        self.next += 1
        # The reference tells nothing of what it drops; a member more harms no client.
        tail = _TAIL if not lost else b',"dropped":%d}}' % lost
        return b"".join((self._head, text, tail)), lost


class Session:
    """The subscriptions of one connection. Made by `Hub.session`."""

    def __init__(self, hub: Hub) -> None:
        self._hub: Final = hub
        self._subscriptions: Final[dict[str, Subscription]] = {}
        self._news: Final = asyncio.Event()

    @property
    def is_subscriber(self) -> bool:
        """Whether it has a subscription."""
        return bool(self._subscriptions)

    def subscribe(self, topic: Topic) -> str:
        """The id of a new subscription; its events begin behind the answer. Raises TooManySubscriptionsError."""
        if len(self._subscriptions) >= MAX_OF_CLIENT:
            raise TooManySubscriptionsError(f"a connection may have {MAX_OF_CLIENT} subscriptions")
        identity = f"0x{secrets.token_hex(_ID_BYTES)}"
        self._subscriptions[identity] = self._hub.enter(topic, identity, self)
        return identity

    def unsubscribe(self, identity: str) -> bool:
        """End a subscription; False when this connection has no such one."""
        subscription = self._subscriptions.pop(identity, None)
        if subscription is not None:
            self._hub.leave(subscription)
        return subscription is not None

    def announced(self) -> None:
        """The client has been answered: it knows the ids of its subscriptions."""
        for subscription in self._subscriptions.values():
            subscription.is_announced = True
        self._news.set()

    def wake(self) -> None:
        """There is an event."""
        self._news.set()

    async def wait(self) -> None:
        """Return when there may be an event, and it is this client's turn."""
        await self._news.wait()
        await self._hub.take_turn()

    def take(self) -> bytes | None:
        """The next event as a message."""
        for subscription in self._subscriptions.values():
            if (found := subscription.take()) is not None:
                message, lost = found
                if lost:
                    self._hub.note_lost(lost)
                return message
        self._news.clear()
        return None

    def close(self) -> None:
        """End all subscriptions."""
        while self._subscriptions:
            self._hub.leave(self._subscriptions.popitem()[1])


class Hub:
    """All topics and who listens to them. Belongs to the event loop."""

    def __init__(self, on_use: Mapping[Topic, Callable[[bool], None]] | None = None) -> None:
        """`on_use`: called with True when a topic gets its first subscriber, with False when its last one leaves."""
        self._feeds: Final = {topic: Feed() for topic in Topic}
        self._on_use: Final = dict(on_use or {})
        self._turns: Turns | None = None
        self._next_notice = 0.0
        self.count = 0
        """Subscriptions."""
        self.lost = 0
        """Events that subscribers did not get, each counted for each of them."""

    def session(self) -> Session:
        """For a new connection, which closes it at its end."""
        return Session(self)

    def is_used(self, topic: Topic) -> bool:
        """Whether anybody listens."""
        return bool(self._feeds[topic].subscribers)

    def publish(self, topic: Topic, text: bytes) -> None:
        """Tell an event, given as JSON, to all subscribers."""
        feed = self._feeds[topic]
        if feed.subscribers:
            feed.add(text)
            for subscription in feed.subscribers:
                subscription.session.wake()

    def lose(self, topic: Topic, count: int) -> None:
        """So many events could not be made in time."""
        self._feeds[topic].lose(count)

    def enter(self, topic: Topic, identity: str, session: Session) -> Subscription:
        """A new subscription. Raises TooManySubscriptionsError."""
        if self.count >= MAX_SUBSCRIPTIONS:
            raise TooManySubscriptionsError(f"there are {self.count} subscriptions; try again later")
        feed = self._feeds[topic]
        subscription = Subscription(identity, feed, session)
        feed.subscribers[subscription] = None
        self.count += 1
        if len(feed.subscribers) == 1:
            self._used(topic, is_used=True)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """A subscription ends."""
        feed = subscription.feed
        del feed.subscribers[subscription]
        self.count -= 1
        if not feed.subscribers:
            feed.lose(0)
            self._used(next(topic for topic, each in self._feeds.items() if each is feed), is_used=False)

    def _used(self, topic: Topic, *, is_used: bool) -> None:
        if (on_use := self._on_use.get(topic)) is not None:
            on_use(is_used)

    async def take_turn(self) -> None:
        """Return when it is the caller's turn to tell its client."""
        if self._turns is None:
            self._turns = Turns(asyncio.get_running_loop(), WAKES_PER_ROUND)
        await self._turns.take()

    def note_lost(self, count: int) -> None:
        """A subscriber was too slow for so many events."""
        self.lost += count
        now = asyncio.get_running_loop().time()
        if now >= self._next_notice:
            self._next_notice = now + NOTICE_SECONDS
            log.warning("a subscriber reads too slowly and has lost events", lost=count, in_all=self.lost)


SESSION: Final[ContextVar[Session | None]] = ContextVar("session", default=None)
"""Of the connection that calls; None for HTTP, which answers only."""
