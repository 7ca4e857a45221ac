"""Every parameter of a chain; mainnet, testnet and dev differ only here. Built by consensus/chainspec/spec.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import Protocol

from consensus.codec.layout import U64_MAX
from consensus.types.blockchain import Block
from consensus.types.core import EpochExt

TYPE_ID_CODE_HASH = bytes.fromhex("00000000000000000000000000000000000000000000000000545950455f4944")
TX_VERSION = 0
BLOCK_VERSION = 0
MIN_BLOCK_INTERVAL_S = 8
NEVER = U64_MAX
"""An epoch number that no chain reaches: a feature that is off."""


class PowFunc(Enum):
    """Proof-of-work functions a spec can name."""

    DUMMY = "Dummy"
    EAGLESONG = "Eaglesong"
    EAGLESONG_BLAKE2B = "EaglesongBlake2b"


@dataclass(frozen=True, slots=True)
class ProposalWindow:
    """A transaction may be committed `closest` to `farthest` blocks after its proposal (RFC 20)."""

    closest: int = 2
    farthest: int = 10


@dataclass(frozen=True, slots=True)
class Hardforks:
    """First epoch number of each feature, by RFC number; NEVER when off. CKB2021 and CKB2023."""

    rfc_0028: int = 0
    rfc_0029: int = 0
    rfc_0030: int = 0
    rfc_0031: int = 0
    rfc_0032: int = 0
    rfc_0036: int = 0
    rfc_0038: int = 0
    rfc_0048: int = 0
    rfc_0049: int = 0


class HasHardforks(Protocol):
    """All that scripts depend on of a chain's parameters; Consensus satisfies it."""

    @property
    def hardforks(self) -> Hardforks: ...


@dataclass(frozen=True, slots=True)
class Deployment:
    """A softfork deployment (RFC 43). Epoch numbers; `threshold` is a share of blocks."""

    name: str
    bit: int
    start: int
    timeout: int
    min_activation_epoch: int
    period: int
    threshold: Fraction
    is_always_active: bool = False
    is_never_active: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    """The parameters of one chain. Capacities in shannons, times in milliseconds unless named otherwise."""

    id: str
    genesis_block: Block
    genesis_epoch: EpochExt
    pow_func: PowFunc
    initial_primary_epoch_reward: int = 191_780_821_917_808
    secondary_epoch_reward: int = 61_369_863_013_698
    max_uncles: int = 2
    orphan_rate_target: Fraction = Fraction(1, 40)
    epoch_duration_target_s: int = 4 * 60 * 60
    min_epoch_length: int = 300
    max_epoch_length: int = 1800
    proposal_window: ProposalWindow = ProposalWindow()
    proposer_reward_ratio: Fraction = Fraction(4, 10)
    cellbase_maturity_epochs: int = 4
    median_time_block_count: int = 37
    max_block_cycles: int = 3_500_000_000
    max_block_bytes: int = 597_000
    max_block_proposals: int = 1500
    primary_epoch_reward_halving_interval: int = 4 * 365 * 24 // 4
    permanent_difficulty_in_dummy: bool = False
    min_chain_work: int = 0
    satoshi_pubkey_hash: bytes = bytes.fromhex("62e907b15cbf27d5425399ebf6f0fb50ebb88f18")
    satoshi_cell_occupied_ratio: Fraction = Fraction(6, 10)
    starting_block_limiting_dao_withdrawing_lock: int = 10_000_000
    rfc_0044_epoch: int = 0
    """First *parent* epoch whose child blocks must carry the chain root in their extension."""
    hardforks: Hardforks = Hardforks()
    deployments: tuple[Deployment, ...] = ()
    # Scripts of the genesis block that rules or RPC know by their hash; None where a chain lacks them.
    dao_type_hash: bytes | None = None
    secp256k1_blake160_sighash_all_type_hash: bytes | None = None
    secp256k1_blake160_multisig_all_type_hash: bytes | None = None
    ambient_time_skew_ms: int = field(default=15_000)

    @property
    def genesis_hash(self) -> bytes:
        """Block hash of the genesis block."""
        return self.genesis_block.hash

    @property
    def finalization_delay(self) -> int:
        """Blocks after which a block's miner is paid: the cellbase of block n + delay pays block n."""
        return self.proposal_window.farthest + 1

    @property
    def network_name(self) -> str:
        """What peers of this chain call it in identify: `/<spec name>/<first 8 hex of the genesis hash>`."""
        return f"/{self.id}/{self.genesis_hash.hex()[:8]}"

    @property
    def is_public_chain(self) -> bool:
        """Mainnet or testnet, by the spec's name."""
        return self.id in {"ckb", "ckb_testnet"}
