"""What light clients are served, put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ckb_node.sync.serving.answers import Answers
from ckb_node.sync.serving.chain import ServedChain
from ckb_node.sync.serving.filters import FilterServer
from ckb_node.sync.serving.light_client import LightClientServer
from ckb_node.sync.serving.settings import ServingSection
from ckb_node.sync.upload import Upload
from network.peer import Handler, Scheduler
from storage.filters import FilterStore

__all__ = ["Serving"]


class Serving:
    """Proofs, and filters where they are built; both at one pace."""

    def __init__(
        self,
        chain: ServedChain,
        scheduler: Scheduler,
        section: ServingSection,
        filters: FilterStore | None,
        upload: Upload | None = None,
    ) -> None:
        self.answers: Final = Answers(chain, scheduler, section.light_client_limits(), upload)
        self.light_clients: Final = LightClientServer(chain, scheduler, self.answers)
        self._filters: Final = None if filters is None else FilterServer(filters, self.answers)

    @property
    def handlers(self) -> Sequence[Handler]:
        """Of the protocols LightClient and Filter."""
        return [self.light_clients] if self._filters is None else [self.light_clients, self._filters]

    def stop(self) -> None:
        """The network ends: nothing is answered any more."""
        self.light_clients.stop()
        self.answers.stop()
