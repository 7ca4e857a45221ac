"""The library's GossipSub, without what peers can misuse and what costs most.

As it comes, it takes peers' signed records over with each message, dials whom a peer names in a prune, keeps what
peers say of topics that are not there, and tells each of thousands of grafts in a message that it is refused.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from libp2p.peer.peerstore import env_to_send_in_RPC
from libp2p.pubsub import gossipsub, pubsub
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.pubsub.utils import safe_bytes_from_hex
from libp2p.pubsub.validators import signature_validator

from network.libp2p.messages import MAX_GOSSIP
from network.limits import KIB, MIB

__all__ = ["MAX_RPC", "Exchange", "Router", "adjust_library"]

MAX_RPC: Final = 4 * MAX_GOSSIP
QUEUE: Final = 1024
"""Messages that wait for one peer; the library has 32."""
MAX_QUEUED: Final = 2 * MIB
"""Bytes of them."""
LARGE: Final = 4 * KIB
"""Bytes of a message of which no second copy is wanted."""
MAX_CONTROL: Final = 16
"""Items of each kind in one message that are read: for each topic one would do."""
MAX_NAMES: Final = 512
"""Names of messages in one item."""
MAX_NAME: Final = 64
"""Bytes of a name."""
MAX_BACK_OFF: Final = 600
"""Seconds for which a peer may say that it is not to be grafted."""
_KINDS: Final = ("ihave", "iwant", "graft", "prune", "idontwant")


def adjust_library() -> None:
    """For all of this process, before the first host is made."""
    pubsub.RpcQueue = Queue
    pubsub.SUBSCRIPTION_CHANNEL_SIZE = QUEUE
    record = _OwnRecord()
    for module in (pubsub, gossipsub):
        module.maybe_consume_signed_record = _take_no_record
        module.env_to_send_in_RPC = record.of


def _take_no_record(_rpc: Any, _host: Any, _peer: Any) -> bool:
    """Peers' records are of no use here, and reading one costs as much as a message."""
    return True


class _OwnRecord:
    """What others of this library want to find in each message; made once, since its addresses stay."""

    def __init__(self) -> None:
        self._made: tuple[int, bytes] = (0, b"")

    def of(self, host: Any) -> tuple[bytes, bool]:
        count = len(host.get_network().listeners)
        if self._made[0] != count or not self._made[1]:
            self._made = count, env_to_send_in_RPC(host)[0]
        return self._made[1], False


class Queue(RpcQueue):  # type: ignore[misc] # the library is optional, so its types are not known
    """What waits for one peer is bounded in bytes, too: it may read nothing."""

    def __init__(self) -> None:
        super().__init__(QUEUE, MAX_RPC)
        self._bytes = 0

    def push(self, rpc: Any, priority: bool = False) -> bool:
        """False: there is no room."""
        size = rpc.ByteSize()
        if self._bytes + size > MAX_QUEUED or not super().push(rpc, priority):
            return False
        self._bytes += size
        return True

    async def pop(self) -> Any:
        """The next one, None at the end."""
        rpc = await super().pop()
        if rpc is not None:
            self._bytes -= rpc.ByteSize()
        return rpc


class Router(gossipsub.GossipSub):  # type: ignore[misc] # as above
    """In dense meshes what is turned off here loses one message in ten."""

    def _perform_opportunistic_grafting(self, topic: str, peers_to_graft: Any) -> int:
        return 0

    async def _maintain_mesh_quality(self, topic: str) -> None:
        """Degrees are kept by the heartbeat."""

    def _check_equivocation(self, msg: Any) -> bool:
        return True  # it would keep each message whole

    async def _emit_idontwant_for_message(self, msg_id: bytes, topic_ids: Any) -> None:
        """Of a small message a copy costs no more than to say that none is wanted."""
        message = self.mcache.get(msg_id)
        if message is not None and len(message.data) >= LARGE:
            await super()._emit_idontwant_for_message(msg_id, topic_ids)

    async def _do_px(self, px_peers: Any) -> None:
        """Nobody else says whom this node dials."""

    async def handle_iwant(self, iwant_msg: Any, sender_peer_id: Any) -> None:
        """Each message once, and no more than an RPC may have: a name is short, and what it names is not."""
        names, size = list[Any](), 0
        for name in dict.fromkeys(iwant_msg.messageIDs):
            raw = safe_bytes_from_hex(name)
            message = None if raw is None else self.mcache.get(raw)
            if message is not None:
                size += message.ByteSize()
                names.append(name)
            if size > MAX_RPC:
                break
        del iwant_msg.messageIDs[:]
        iwant_msg.messageIDs.extend(names)
        await super().handle_iwant(iwant_msg, sender_peer_id)

    def forget_back_offs(self) -> None:
        """Those that are over: the library keeps them, of each peer that ever was there."""
        now = time.time()
        for peers in self.back_off.values():
            for peer in [peer for peer, until in peers.items() if until < now]:
                del peers[peer]

    async def handle_rpc(self, rpc: Any, sender_peer_id: Any) -> None:
        """As much of it as an honest peer would say."""
        control = rpc.control
        for kind in _KINDS:
            del getattr(control, kind)[MAX_CONTROL:]
        for item in (*control.iwant, *control.ihave, *control.idontwant):
            short = [name for name in item.messageIDs[:MAX_NAMES] if len(name) <= MAX_NAME]
            del item.messageIDs[:]
            item.messageIDs.extend(short)
        for kind in ("ihave", "graft", "prune"):
            items = getattr(control, kind)
            known = [item for item in items if item.topicID in self.mesh]
            if len(known) < len(items):
                del items[:]
                items.extend(known)
        for prune in control.prune:
            prune.backoff = min(prune.backoff, MAX_BACK_OFF)
        await super().handle_rpc(rpc, sender_peer_id)


class Exchange(pubsub.Pubsub):  # type: ignore[misc] # as above
    """Each message is judged before it is passed on; one that makes the library raise is dropped."""

    def __init__(
        self,
        host: Any,
        router: Router,
        judge: Callable[[Any, Any], Awaitable[bool]],
        may_say: Callable[[Any], bool],
        **options: Any,
    ) -> None:
        """`judge` says of a forwarder's message, whose signature is good, whether it is passed on; `may_say`, before
        that is looked at, whether the forwarder may have one more message read."""
        super().__init__(host, router, max_inbound_rpc_size=MAX_RPC, **options)
        self._judge, self._may_say = judge, may_say
        self._own: Final = host.get_id().to_bytes()
        self._under_judgement: Final = set[bytes]()

    def _handle_dead_peer(self, peer_id: Any) -> None:
        """Of a peer with another connection the library forgets the topics, which it says once only: nothing would be
        gossiped to it any more."""
        topics = [topic for topic, peers in self.peer_topics.items() if peer_id in peers]
        super()._handle_dead_peer(peer_id)
        if topics and self._peer_is_connected(peer_id):
            for topic in topics:
                self.peer_topics.setdefault(topic, set()).add(peer_id)
            self._peer_subscription_count[peer_id] = len(topics)

    def moved(self, peer_id: Any) -> None:
        """One of two connections with a peer has ended: the stream to it may have been there."""
        stream = self.peers.get(peer_id)
        if stream is not None and stream.muxed_conn.is_closed:
            self._handle_dead_peer(peer_id)

    async def push_msg(self, msg_forwarder: Any, msg: Any) -> None:
        """In place of the library's, which looks at the signature of each copy, and writes what it refuses into a
        text."""
        with contextlib.suppress(Exception):
            name = self.get_message_id(msg)
            if self.seen_messages.has(name) or name in self._under_judgement:
                return
            if msg_forwarder != self.my_id and not await self._is_good(name, msg_forwarder, msg):
                return
            self.seen_messages.add(name)
            await self.router.publish(msg_forwarder, msg)

    async def _is_good(self, name: bytes, forwarder: Any, msg: Any) -> bool:
        if msg.from_id == self._own or not self._may_say(forwarder) or not signature_validator(msg):
            return False
        self._under_judgement.add(name)
        try:
            if await self._judge(forwarder, msg):
                return True
        finally:
            self._under_judgement.discard(name)
        self.seen_messages.add(name)
        return False
