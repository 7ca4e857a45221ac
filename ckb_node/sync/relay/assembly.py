"""Relay put together: blocks, transactions and proposals, and the protocol that hands them their messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ckb_node.chain.initial_download import InitialDownload
from ckb_node.sync.chain import SyncChain
from ckb_node.sync.peers import SyncPeer, SyncPeers
from ckb_node.sync.relay.announce import Announcer
from ckb_node.sync.relay.blocks import BlockRelay, RelayFigures, RelayNeighbours
from ckb_node.sync.relay.known import KnownTransactions
from ckb_node.sync.relay.pool import RelayPool
from ckb_node.sync.relay.proposals import ProposalRelay
from ckb_node.sync.relay.protocol import RelayProtocol
from ckb_node.sync.relay.transactions import TransactionRelay
from ckb_node.sync.suspects import Suspects
from ckb_node.sync.upload import Upload
from consensus.types.blockchain import Block
from network.peer import Scheduler

__all__ = ["Relay"]


class Relay:
    """Of one node, while its network runs."""

    def __init__(
        self,
        chain: SyncChain,
        pool: RelayPool,
        peers: SyncPeers,
        suspects: Suspects,
        scheduler: Scheduler,
        ibd: InitialDownload,
        *,
        ask_headers: Callable[[SyncPeer], None],
        headers_known: Callable[[], None],
        find_received: Callable[[bytes], Block | None],
        figures: RelayFigures | None = None,
        upload: Upload | None = None,
    ) -> None:
        """The callables are as in RelayNeighbours; `figures` are those of the whole run."""
        consensus = chain.consensus
        known = KnownTransactions(scheduler)
        self.announcer: Final = Announcer(chain, ibd)
        self.transactions: Final = TransactionRelay(
            pool,
            peers,
            scheduler,
            known,
            consensus.max_block_cycles,
            lambda: ibd.is_on(chain.tip().header.timestamp, chain.now_ms()),
            upload,
        )
        self.proposals: Final = ProposalRelay(
            pool,
            peers,
            scheduler,
            known,
            consensus,
            lambda: chain.tip().number,
            self.transactions.announce_to,
            upload,
            self.announcer.tellers,
        )
        neighbours = RelayNeighbours(
            ask_headers=ask_headers,
            ask_proposals=self.proposals.ask,
            headers_known=headers_known,
            find_received=find_received,
        )
        self.blocks: Final = BlockRelay(
            chain, peers, scheduler, pool, self.announcer, neighbours, suspects, figures, upload
        )
        self.protocol: Final = RelayProtocol(
            chain, scheduler, ibd, self.announcer, self.blocks, self.transactions, self.proposals
        )

    def start(self) -> None:
        """The network runs."""
        self.transactions.start()
        self.proposals.start()

    def stop(self) -> None:
        """The network ends: nothing is asked any more."""
        self.transactions.stop()
        self.proposals.stop()

    def announce(self, block: Block) -> None:
        """A miner of this node gave a block, which is stored: tell all peers, unless that was done already."""
        self.announcer.announce(block)
