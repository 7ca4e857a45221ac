"""Sync and relay of one simulated node, put together as the service does it in the real one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ckb_node.chain.initial_download import InitialDownload
from ckb_node.sync.blocks.answers import BlockAnswers
from ckb_node.sync.blocks.download import BlockDownload
from ckb_node.sync.blocks.refusals import Refusals
from ckb_node.sync.headers.sync import HeaderSync
from ckb_node.sync.peers import SyncPeers
from ckb_node.sync.relay.announce import Announcer
from ckb_node.sync.relay.blocks import BlockRelay, RelayNeighbours
from ckb_node.sync.relay.known import KnownTransactions
from ckb_node.sync.relay.proposals import ProposalRelay
from ckb_node.sync.relay.protocol import RelayProtocol
from ckb_node.sync.relay.transactions import TransactionRelay
from ckb_node.sync.sync_protocol import SyncProtocol
from consensus.types.blockchain import Block
from network.peer import Handler, Scheduler
from tests.simulation.sync.chain import SimChain
from tests.simulation.sync.pool import SimPool


class SyncParts:
    """The handlers, and what starts and ends with them."""

    def __init__(self, chain: SimChain, pool: SimPool, scheduler: Scheduler) -> None:
        consensus, self.ibd, self.peers = chain.consensus, InitialDownload(), SyncPeers()
        ibd, peers = self.ibd, self.peers
        self.headers: Final = HeaderSync(chain, peers, scheduler, ibd, lambda: self.blocks.wake())
        self.blocks: Final = BlockDownload(
            chain, peers, scheduler, ibd, is_pending_compact=lambda each: self.relay.pending_since(each)
        )
        self.refusals: Final = Refusals(chain, peers)
        self.answers: Final = BlockAnswers(chain, scheduler)
        known = KnownTransactions(scheduler)
        self.transactions: Final = TransactionRelay(
            pool, peers, scheduler, known, consensus.max_block_cycles, self._is_in_ibd
        )
        self.proposals: Final = ProposalRelay(pool, peers, scheduler, known, consensus, lambda: chain.tip().number)
        self.announcer: Final = Announcer(chain, ibd)
        self.relay: Final = BlockRelay(
            chain,
            peers,
            scheduler,
            pool,
            self.announcer,
            RelayNeighbours(
                ask_headers=self.headers.ask, ask_proposals=self.proposals.ask, headers_known=self.blocks.wake
            ),
        )
        self._chain: Final = chain
        self.handlers: Final[Sequence[Handler]] = [
            SyncProtocol(peers, self.headers, self.blocks, self.answers),
            RelayProtocol(chain, scheduler, ibd, self.announcer, self.relay, self.transactions, self.proposals),
        ]

    def _is_in_ibd(self) -> bool:
        return self.ibd.is_on(self._chain.tip().header.timestamp, self._chain.now_ms())

    def start(self) -> None:
        for part in (self.headers, self.blocks, self.transactions, self.proposals):
            part.start()

    def stop(self) -> None:
        for part in (self.headers, self.blocks, self.transactions, self.proposals):
            part.stop()

    def announce(self, block: Block) -> None:
        """A block of the node's own miner is stored."""
        self.relay.announce(block, None)
