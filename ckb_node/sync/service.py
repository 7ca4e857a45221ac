"""Sync put together: what the protocols of the chain share, and their handlers.

Made anew whenever the network starts. What is not served yet is in ckb_node.sync.awaited.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ckb_node.chain.initial_download import InitialDownload
from ckb_node.sync.awaited import AwaitedBlocks, AwaitedProtocol
from ckb_node.sync.chain import SyncChain
from ckb_node.sync.headers.sync import HeaderSync
from ckb_node.sync.peers import SyncPeers
from ckb_node.sync.sync_protocol import SyncProtocol
from network.limits import FILTER, LIGHT_CLIENT, RELAY
from network.peer import Handler, Scheduler

__all__ = ["SyncService"]


class SyncService:
    """Satisfies what ckb_node.net.assembly needs of it. Belongs to the event loop's thread."""

    def __init__(self, chain: SyncChain, scheduler: Scheduler, ibd: InitialDownload) -> None:
        """`ibd` is of the whole node: what has ended once stays so when the network starts again."""
        self.peers: Final = SyncPeers()
        self.headers: Final = HeaderSync(chain, self.peers, scheduler, ibd, self._on_progress)
        awaited = AwaitedBlocks()
        self._sync: Final = SyncProtocol(self.peers, self.headers, awaited, awaited)

    @property
    def handlers(self) -> Sequence[Handler]:
        """Of all protocols of the chain."""
        return [self._sync, *(AwaitedProtocol(each) for each in (RELAY, LIGHT_CLIENT, FILTER))]

    def start(self) -> None:
        """The network runs."""
        self.headers.start()

    def stop(self) -> None:
        """The network ends: nothing is done any more."""
        self.headers.stop()

    def _on_progress(self) -> None:
        """New headers, or a peer has said what it knows."""
