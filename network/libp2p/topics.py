"""What is gossiped over libp2p, as the node that judges it sees it. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from network.libp2p.protocols import STREAM_VERSION
from network.peer import Peer

__all__ = ["BLOCKS", "TRANSACTIONS", "TopicHandler", "topic_names"]

BLOCKS: Final = 0
TRANSACTIONS: Final = 1
_NAMES: Final = {BLOCKS: "blocks", TRANSACTIONS: "transactions"}


class TopicHandler(Protocol):
    """Who judges what peers gossip on a topic. A fault that escapes ends the session of the peer."""

    def received(self, peer: Peer, data: bytes, verdict: Callable[[bool], None]) -> None:
        """A content that is new; `peer` passed it on, or published it. `verdict`, called once and as soon as can be,
        says whether it is passed on to others: the content holds one of a few places until then, or some seconds."""


def topic_names(network_name: str, topics: Mapping[int, TopicHandler]) -> dict[int, str]:
    """`/ckb/92b197aa/blocks/1` and kin."""
    return {topic: f"{network_name}/{_NAMES[topic]}/{STREAM_VERSION}" for topic in topics}
