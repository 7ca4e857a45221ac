"""Answers of the modules Chain, Stats, Miner and Experiment as JSON, besides the chain's own types."""

from __future__ import annotations

from fractions import Fraction

from msgspec import UNSET, Struct, UnsetType

from ckb_node.jsonrpc_types.chain import (
    BlockViewJson,
    CellOutputJson,
    TransactionViewJson,
)
from ckb_node.jsonrpc_types.fast_write import output_json
from ckb_node.jsonrpc_types.hex_text import bytes_text, optional_hash, parse_hash, parse_uint32, uint_text
from ckb_node.txpool.views import CellLookup
from consensus.crypto.merkle import TreeProof
from consensus.params import BLOCK_VERSION, NEVER, TX_VERSION, TYPE_ID_CODE_HASH, Consensus, Deployment
from consensus.rules.versionbits import DeploymentState
from consensus.types.core import CellMeta, EpochFraction
from network.peer_info import AlertMessage


class BlockWithCyclesJson(Struct, frozen=True):
    """A block with the cycles of its transactions, the cellbase left out; null when they are not known."""

    block: BlockViewJson | str
    cycles: list[str] | None


class BlockFilterJson(Struct, frozen=True):
    """A block's filter (RFC 45) and filter hash."""

    data: str
    hash: str


class TxStatusJson(Struct, frozen=True):
    """Where a transaction is."""

    status: str
    block_number: str | None = None
    block_hash: str | None = None
    tx_index: str | None = None
    reason: str | None = None


class TransactionWithStatusJson(Struct, frozen=True):
    """A transaction, where it is, and what the pool or the chain knows of it."""

    transaction: TransactionViewJson | str | None
    cycles: str | None
    time_added_to_pool: str | None
    tx_status: TxStatusJson
    fee: str | None
    min_replace_fee: str | None


class CellDataJson(Struct, frozen=True):
    """A cell's data."""

    content: str
    hash: str


class CellInfoJson(Struct, frozen=True):
    """A cell; `data` is null when it was not asked for."""

    output: CellOutputJson
    data: CellDataJson | None


class CellWithStatusJson(Struct, frozen=True):
    """What is known of a cell: live, dead or unknown."""

    cell: CellInfoJson | None
    status: str


class BlockIssuanceJson(Struct, frozen=True):
    """What a block issued, in shannons."""

    primary: str
    secondary: str


class MinerRewardJson(Struct, frozen=True):
    """What a block's miner got, in shannons."""

    primary: str
    secondary: str
    committed: str
    proposal: str


class BlockEconomicStateJson(Struct, frozen=True):
    """What a block issued and paid; `finalized_at` is the block that paid the miner."""

    issuance: BlockIssuanceJson
    miner_reward: MinerRewardJson
    txs_fee: str
    finalized_at: str


class MerkleProofJson(Struct, frozen=True):
    """A proof of leaves of a complete binary Merkle tree (RFC 6)."""

    indices: list[str]
    lemmas: list[str]


class TransactionProofJson(Struct, frozen=True):
    """Proof that transactions are in a block."""

    block_hash: str
    witnesses_root: str
    proof: MerkleProofJson


class TransactionAndWitnessProofJson(Struct, frozen=True):
    """Proof that transactions with their witnesses are in a block."""

    block_hash: str
    transactions_proof: MerkleProofJson
    witnesses_proof: MerkleProofJson


class CyclesJson(Struct, frozen=True):
    """Cycles of a transaction's scripts."""

    cycles: str


class FeeRateStatisticsJson(Struct, frozen=True):
    """Fee rates of recent blocks, in shannons per kilo-weight."""

    mean: str
    median: str


class RatioJson(Struct, frozen=True):
    """A fraction."""

    numer: str
    denom: str


class ProposalWindowJson(Struct, frozen=True):
    """Blocks between proposal and commitment."""

    closest: str
    farthest: str


class HardforkFeatureJson(Struct, frozen=True):
    """A feature by its RFC number; null when it is off."""

    rfc: str
    epoch_number: str | None


class DeploymentJson(Struct, frozen=True):
    """A softfork deployment (RFC 43)."""

    bit: int
    start: str
    timeout: str
    min_activation_epoch: str
    period: str
    threshold: RatioJson


class SoftforkJson(Struct, frozen=True):
    """A softfork: `rfc0043` with its deployment, or `buried` with its epoch."""

    status: str
    rfc0043: DeploymentJson | UnsetType = UNSET
    active: bool | UnsetType = UNSET
    epoch: str | UnsetType = UNSET


class ConsensusJson(Struct, frozen=True):
    """The parameters of the chain."""

    id: str
    genesis_hash: str
    dao_type_hash: str
    secp256k1_blake160_sighash_all_type_hash: str | None
    secp256k1_blake160_multisig_all_type_hash: str | None
    initial_primary_epoch_reward: str
    secondary_epoch_reward: str
    max_uncles_num: str
    orphan_rate_target: RatioJson
    epoch_duration_target: str
    tx_proposal_window: ProposalWindowJson
    proposer_reward_ratio: RatioJson
    cellbase_maturity: str
    median_time_block_count: str
    max_block_cycles: str
    max_block_bytes: str
    block_version: str
    tx_version: str
    type_id_code_hash: str
    max_block_proposals_limit: str
    primary_epoch_reward_halving_interval: str
    permanent_difficulty_in_dummy: bool
    hardfork_features: list[HardforkFeatureJson]
    softforks: dict[str, SoftforkJson]


class AlertMessageJson(Struct, frozen=True):
    """A notice of the developers."""

    id: str
    priority: str
    notice_until: str
    message: str


class ChainInfoJson(Struct, frozen=True):
    """The chain at a glance."""

    chain: str
    median_time: str
    epoch: str
    difficulty: str
    is_initial_block_download: bool
    alerts: list[AlertMessageJson]


class DeploymentInfoJson(Struct, frozen=True):
    """A deployment and its state since an epoch."""

    bit: int
    start: str
    timeout: str
    min_activation_epoch: str
    period: str
    threshold: RatioJson
    since: str
    state: str


class DeploymentsInfoJson(Struct, frozen=True):
    """All deployments at the tip."""

    hash: str
    epoch: str
    deployments: dict[str, DeploymentInfoJson]


# ---------------------------------------------------------------- to JSON


def cell_info_json(cell: CellMeta, *, with_data: bool) -> CellInfoJson:
    """A cell, with its data if that was asked for."""
    data = CellDataJson(bytes_text(cell.data), bytes_text(cell.data_hash)) if with_data else None
    return CellInfoJson(output_json(cell.output), data)


def cell_status_json(lookup: CellLookup, *, with_data: bool) -> CellWithStatusJson:
    """The answer of `get_live_cell`."""
    cell = None if lookup.cell is None else cell_info_json(lookup.cell, with_data=with_data)
    return CellWithStatusJson(cell, lookup.state.value)


def merkle_proof_json(proof: TreeProof) -> MerkleProofJson:
    """A Merkle proof."""
    return MerkleProofJson([uint_text(index) for index in proof.indices], [bytes_text(lemma) for lemma in proof.lemmas])


def ratio_json(ratio: Fraction) -> RatioJson:
    """A fraction in lowest terms, but fifths as tenths: chain specs say 4/10 and 8/10."""
    scale = 2 if ratio.denominator == 5 else 1
    return RatioJson(uint_text(ratio.numerator * scale), uint_text(ratio.denominator * scale))


def deployment_json(deployment: Deployment) -> DeploymentJson:
    """A deployment's parameters."""
    return DeploymentJson(
        deployment.bit,
        uint_text(deployment.start),
        uint_text(deployment.timeout),
        uint_text(deployment.min_activation_epoch),
        uint_text(deployment.period),
        ratio_json(deployment.threshold),
    )


def deployment_info_json(deployment: Deployment, state: DeploymentState, since: int) -> DeploymentInfoJson:
    """A deployment's parameters, its state, and the first epoch that has it."""
    plain = deployment_json(deployment)
    return DeploymentInfoJson(
        plain.bit,
        plain.start,
        plain.timeout,
        plain.min_activation_epoch,
        plain.period,
        plain.threshold,
        uint_text(since),
        state.value,
    )


def _softforks_json(consensus: Consensus) -> dict[str, SoftforkJson]:
    softforks = {each.name: SoftforkJson("rfc0043", rfc0043=deployment_json(each)) for each in consensus.deployments}
    if consensus.is_public_chain:
        softforks["light_client"] = SoftforkJson("buried", active=True, epoch=uint_text(consensus.rfc_0044_epoch))
    return softforks


def _hardforks_json(consensus: Consensus) -> list[HardforkFeatureJson]:
    forks = consensus.hardforks
    epochs = {
        "0028": forks.rfc_0028,
        "0029": forks.rfc_0029,
        "0030": forks.rfc_0030,
        "0031": forks.rfc_0031,
        "0032": forks.rfc_0032,
        "0036": forks.rfc_0036,
        "0038": forks.rfc_0038,
        "0048": forks.rfc_0048,
        "0049": forks.rfc_0049,
    }
    return [HardforkFeatureJson(rfc, None if epoch == NEVER else uint_text(epoch)) for rfc, epoch in epochs.items()]


def consensus_json(consensus: Consensus) -> ConsensusJson:
    """All parameters of the chain."""
    window = consensus.proposal_window
    return ConsensusJson(
        id=consensus.id,
        genesis_hash=bytes_text(consensus.genesis_hash),
        dao_type_hash=bytes_text(consensus.dao_type_hash or bytes(32)),
        secp256k1_blake160_sighash_all_type_hash=optional_hash(consensus.secp256k1_blake160_sighash_all_type_hash),
        secp256k1_blake160_multisig_all_type_hash=optional_hash(consensus.secp256k1_blake160_multisig_all_type_hash),
        initial_primary_epoch_reward=uint_text(consensus.initial_primary_epoch_reward),
        secondary_epoch_reward=uint_text(consensus.secondary_epoch_reward),
        max_uncles_num=uint_text(consensus.max_uncles),
        orphan_rate_target=ratio_json(consensus.orphan_rate_target),
        epoch_duration_target=uint_text(consensus.epoch_duration_target_s),
        tx_proposal_window=ProposalWindowJson(uint_text(window.closest), uint_text(window.farthest)),
        proposer_reward_ratio=ratio_json(consensus.proposer_reward_ratio),
        cellbase_maturity=uint_text(EpochFraction(consensus.cellbase_maturity_epochs, 0, 1).pack()),
        median_time_block_count=uint_text(consensus.median_time_block_count),
        max_block_cycles=uint_text(consensus.max_block_cycles),
        max_block_bytes=uint_text(consensus.max_block_bytes),
        block_version=uint_text(BLOCK_VERSION),
        tx_version=uint_text(TX_VERSION),
        type_id_code_hash=bytes_text(TYPE_ID_CODE_HASH),
        max_block_proposals_limit=uint_text(consensus.max_block_proposals),
        primary_epoch_reward_halving_interval=uint_text(consensus.primary_epoch_reward_halving_interval),
        permanent_difficulty_in_dummy=consensus.permanent_difficulty_in_dummy,
        hardfork_features=_hardforks_json(consensus),
        softforks=_softforks_json(consensus),
    )


def alert_json(alert: AlertMessage) -> AlertMessageJson:
    """A notice."""
    return AlertMessageJson(
        uint_text(alert.id), uint_text(alert.priority), uint_text(alert.notice_until), alert.message
    )


# ---------------------------------------------------------------- from JSON


def read_merkle_proof(proof: MerkleProofJson) -> TreeProof:
    """A Merkle proof; BadTextError on bad texts."""
    return TreeProof(
        tuple(parse_uint32(index) for index in proof.indices), tuple(parse_hash(lemma) for lemma in proof.lemmas)
    )
