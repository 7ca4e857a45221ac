"""What all sessions share: the rounds, the judge, who works, what was found, and the rules. No sockets in here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ckb_node.stratum.found import FoundBlock, FoundBlocks
from ckb_node.stratum.jobs import Rounds
from ckb_node.stratum.nonces import NonceSpace, TimeSpace
from ckb_node.stratum.payout import Policy
from ckb_node.stratum.settings import StratumSection
from ckb_node.stratum.shares import Judge
from ckb_node.stratum.vardiff import VardiffRules, hashes_of
from ckb_node.stratum.workers import Workers
from consensus.address import AddressNetwork
from consensus.types.blockchain import Block

Solve = Callable[[Block, FoundBlock, Callable[[], None]], None]
"""Submit a block at once; the last is called when the chain has decided about it."""


@dataclass(frozen=True, slots=True)
class DeskRules:
    """What the operator chose, in the units of this package."""

    policy: Policy
    network: AddressNetwork
    vardiff: VardiffRules
    grace_s: float
    idle_s: float


def desk_rules(section: StratumSection, network: AddressNetwork) -> DeskRules:
    """Of a configuration."""
    vardiff = VardiffRules(
        section.share_interval_secs,
        hashes_of(section.start_difficulty),
        hashes_of(section.min_difficulty),
        hashes_of(section.max_difficulty),
    )
    return DeskRules(section.solo_payout, network, vardiff, section.grace_millis / 1000, section.idle_secs)


@dataclass
class Desk:
    """Belongs to the event loop."""

    rules: DeskRules
    judge: Judge
    rounds: Rounds
    solve: Solve
    monotonic_s: Callable[[], float]
    now_ms: Callable[[], int]
    nonces: NonceSpace = field(default_factory=NonceSpace)
    times: TimeSpace = field(default_factory=TimeSpace)
    workers: Workers = field(default_factory=Workers)
    found: FoundBlocks = field(default_factory=FoundBlocks)
    jobs_sent: int = 0
