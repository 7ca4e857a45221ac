"""Sync put together: what the protocols of the chain share, and their handlers. Made anew when the network starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ckb_node.chain.initial_download import InitialDownload
from ckb_node.sync.blocks.answers import BlockAnswers
from ckb_node.sync.blocks.download import BlockDownload
from ckb_node.sync.blocks.refusals import Refusals
from ckb_node.sync.chain import SyncChain
from ckb_node.sync.facts import SyncFacts
from ckb_node.sync.headers.sync import HeaderSync
from ckb_node.sync.peers import SyncPeers
from ckb_node.sync.relay.assembly import Relay
from ckb_node.sync.relay.blocks import RelayFigures
from ckb_node.sync.relay.pool import RelayPool
from ckb_node.sync.serving.service import Serving
from ckb_node.sync.serving.settings import ServingSection
from ckb_node.sync.suspects import Suspects
from ckb_node.sync.sync_protocol import SyncProtocol
from ckb_node.sync.upload import Upload
from network.peer import Handler, Scheduler
from storage.filters import FilterStore

__all__ = ["SyncService"]


class SyncService:
    """Satisfies what ckb_node.net.assembly needs of it. Belongs to the event loop's thread."""

    def __init__(
        self,
        chain: SyncChain,
        pool: RelayPool,
        scheduler: Scheduler,
        ibd: InitialDownload,
        figures: RelayFigures,
        serving: ServingSection,
        filters: FilterStore | None,
    ) -> None:
        """`ibd` and `figures` are of the whole node: what has ended once stays so when the network starts again.
        `filters` are None where they are not built."""
        self.upload: Final = Upload(serving.upload(scheduler.now()))
        self.peers: Final = SyncPeers()
        self.headers: Final = HeaderSync(chain, self.peers, scheduler, ibd, self._on_progress, self.upload)
        self.blocks: Final = BlockDownload(
            chain,
            self.peers,
            scheduler,
            ibd,
            is_pending_compact=lambda each: self.relay.blocks.pending_since(each),
            are_headers_rushing_in=lambda: self.headers.are_rushing_in,
        )
        self.answers: Final = BlockAnswers(chain, scheduler, self.upload)
        self.suspects: Final = Suspects(chain, self.peers, scheduler, self.headers.ask)
        self.refusals: Final = Refusals(chain, self.peers, self.suspects)
        self.relay: Final = Relay(
            chain,
            pool,
            self.peers,
            self.suspects,
            scheduler,
            ibd,
            ask_headers=self.headers.ask,
            headers_known=self.blocks.wake,
            find_received=self.blocks.find_received,
            figures=figures,
            upload=self.upload,
        )
        self.facts: Final = SyncFacts(chain, self.peers, scheduler, ibd, self.headers, self.blocks)
        self.serving: Final = Serving(chain, scheduler, serving, filters, self.upload)
        self._sync: Final = SyncProtocol(self.peers, self.headers, self.blocks, self.answers)

    @property
    def handlers(self) -> Sequence[Handler]:
        """Of all protocols of the chain."""
        return [self._sync, self.relay.protocol, *self.serving.handlers]

    def start(self) -> None:
        """The network runs."""
        self.headers.start()
        self.blocks.start()
        self.relay.start()

    def stop(self) -> None:
        """The network ends: nothing is done any more."""
        self.headers.stop()
        self.blocks.stop()
        self.suspects.stop()
        self.relay.stop()
        self.serving.stop()

    def _on_progress(self) -> None:
        """New headers, or a peer has said what it knows."""
        self.blocks.wake()
