"""Section of the configuration that this package reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Final

from msgspec import Meta

from ckb_node.runtime.settings import Count, Positive, Section
from ckb_node.sync.serving.pace import LIGHT_CLIENTS, PaceLimits
from network.budget import Allowance

__all__ = ["ServingSection"]

BURST_SECONDS: Final = 16
"""After a pause so many seconds' bytes may go out at once."""
PERCENT: Final = 100


class ServingSection(Section, frozen=True):
    """[network.serving]: what others get of this node. Rates are bytes a second of messages before compression.

    `max_upload_rate` is of all that peers ask for (headers, blocks, transactions, filters, proofs), 0 for no limit. The
    other three are of light clients: all of them, each of them, and the percentage of one processor core for all.
    """

    max_upload_rate: Count = 0
    light_client_rate: Positive = 4 << 20
    light_client_peer_rate: Positive = 512 << 10
    light_client_time: Annotated[int, Meta(ge=1, le=100)] = 25

    def light_client_limits(self) -> PaceLimits:
        """How light clients are answered."""
        rate, peer_rate, share = self.light_client_rate, self.light_client_peer_rate, self.light_client_time / PERCENT
        return replace(
            LIGHT_CLIENTS,
            share=share,
            peer_share=min(share, LIGHT_CLIENTS.peer_share),
            rate=rate,
            burst=rate * BURST_SECONDS,
            peer_rate=peer_rate,
            peer_burst=peer_rate * BURST_SECONDS,
        )

    def upload(self, now: float) -> Allowance | None:
        """What all these answers share; None for no limit."""
        rate = self.max_upload_rate
        return Allowance(rate, rate * BURST_SECONDS, now) if rate else None
