"""Answers of the modules Chain, Stats, Miner and Experiment as JSON, besides the chain's own types."""

from __future__ import annotations

from fractions import Fraction

from msgspec import UNSET, Struct, UnsetType

from ckb_node.rpc.hextext import bytes_text, parse_bytes, parse_hash, parse_short_id, parse_uint32, parse_uint64
from ckb_node.rpc.hextext import uint_text as hexed
from ckb_node.rpc.jsontypes import (
    BlockViewJson,
    CellOutputJson,
    HeaderJson,
    TransactionJson,
    TransactionViewJson,
    cell_output_json,
    header_json,
    read_header,
    read_transaction,
    short_ids_json,
    transaction_json,
)
from ckb_node.rpc.services import (
    AlertMessage,
    BlockTemplate,
    CellbaseTemplate,
    CellLookup,
    TransactionTemplate,
    UncleTemplate,
)
from consensus.params import BLOCK_VERSION, NEVER, TX_VERSION, TYPE_ID_CODE_HASH, Consensus, Deployment
from consensus.types.blockchain import UncleBlock
from consensus.types.core import CellMeta, EpochFraction
from consensus.versionbits import DeploymentState


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
    dao_type_hash: str | None
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


class UncleTemplateJson(Struct, frozen=True):
    """An uncle to embed."""

    hash: str
    required: bool
    proposals: list[str]
    header: HeaderJson


class TransactionTemplateJson(Struct, frozen=True):
    """A transaction to commit."""

    hash: str
    required: bool
    cycles: str | None
    depends: list[str] | None
    data: TransactionJson


class CellbaseTemplateJson(Struct, frozen=True):
    """The cellbase."""

    hash: str
    cycles: str | None
    data: TransactionJson


class BlockTemplateJson(Struct, frozen=True):
    """A block to be mined; the miner computes the three roots of its header."""

    version: str
    compact_target: str
    current_time: str
    number: str
    epoch: str
    parent_hash: str
    cycles_limit: str
    bytes_limit: str
    uncles_count_limit: str
    uncles: list[UncleTemplateJson]
    transactions: list[TransactionTemplateJson]
    proposals: list[str]
    cellbase: CellbaseTemplateJson
    work_id: str
    dao: str
    extension: str | None = None


# ---------------------------------------------------------------- to JSON


def optional_hash(value: bytes | None) -> str | None:
    """A hash, or null."""
    return None if value is None else bytes_text(value)


def optional_uint(value: int | None) -> str | None:
    """A number, or null."""
    return None if value is None else hexed(value)


def cell_info_json(cell: CellMeta, *, with_data: bool) -> CellInfoJson:
    """A cell, with its data if that was asked for."""
    data = CellDataJson(bytes_text(cell.data), bytes_text(cell.data_hash)) if with_data else None
    return CellInfoJson(cell_output_json(cell.output), data)


def cell_status_json(lookup: CellLookup, *, with_data: bool) -> CellWithStatusJson:
    """The answer of `get_live_cell`."""
    cell = None if lookup.cell is None else cell_info_json(lookup.cell, with_data=with_data)
    return CellWithStatusJson(cell, lookup.state.value)


def ratio_json(ratio: Fraction) -> RatioJson:
    """A fraction in lowest terms, but fifths as tenths: chain specs say 4/10 and 8/10."""
    scale = 2 if ratio.denominator == 5 else 1
    return RatioJson(hexed(ratio.numerator * scale), hexed(ratio.denominator * scale))


def deployment_json(deployment: Deployment) -> DeploymentJson:
    """A deployment's parameters."""
    return DeploymentJson(
        deployment.bit,
        hexed(deployment.start),
        hexed(deployment.timeout),
        hexed(deployment.min_activation_epoch),
        hexed(deployment.period),
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
        hexed(since),
        state.value,
    )


def _softforks_json(consensus: Consensus) -> dict[str, SoftforkJson]:
    softforks = {each.name: SoftforkJson("rfc0043", rfc0043=deployment_json(each)) for each in consensus.deployments}
    if consensus.is_public_chain:
        softforks["light_client"] = SoftforkJson("buried", active=True, epoch=hexed(consensus.rfc_0044_epoch))
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
    return [HardforkFeatureJson(rfc, None if epoch == NEVER else hexed(epoch)) for rfc, epoch in epochs.items()]


def consensus_json(consensus: Consensus) -> ConsensusJson:
    """All parameters of the chain."""
    window = consensus.proposal_window
    return ConsensusJson(
        id=consensus.id,
        genesis_hash=bytes_text(consensus.genesis_hash),
        dao_type_hash=optional_hash(consensus.dao_type_hash),
        secp256k1_blake160_sighash_all_type_hash=optional_hash(consensus.secp256k1_blake160_sighash_all_type_hash),
        secp256k1_blake160_multisig_all_type_hash=optional_hash(consensus.secp256k1_blake160_multisig_all_type_hash),
        initial_primary_epoch_reward=hexed(consensus.initial_primary_epoch_reward),
        secondary_epoch_reward=hexed(consensus.secondary_epoch_reward),
        max_uncles_num=hexed(consensus.max_uncles),
        orphan_rate_target=ratio_json(consensus.orphan_rate_target),
        epoch_duration_target=hexed(consensus.epoch_duration_target_s),
        tx_proposal_window=ProposalWindowJson(hexed(window.closest), hexed(window.farthest)),
        proposer_reward_ratio=ratio_json(consensus.proposer_reward_ratio),
        cellbase_maturity=hexed(EpochFraction(consensus.cellbase_maturity_epochs, 0, 1).pack()),
        median_time_block_count=hexed(consensus.median_time_block_count),
        max_block_cycles=hexed(consensus.max_block_cycles),
        max_block_bytes=hexed(consensus.max_block_bytes),
        block_version=hexed(BLOCK_VERSION),
        tx_version=hexed(TX_VERSION),
        type_id_code_hash=bytes_text(TYPE_ID_CODE_HASH),
        max_block_proposals_limit=hexed(consensus.max_block_proposals),
        primary_epoch_reward_halving_interval=hexed(consensus.primary_epoch_reward_halving_interval),
        permanent_difficulty_in_dummy=consensus.permanent_difficulty_in_dummy,
        hardfork_features=_hardforks_json(consensus),
        softforks=_softforks_json(consensus),
    )


def alert_json(alert: AlertMessage) -> AlertMessageJson:
    """A notice."""
    return AlertMessageJson(hexed(alert.id), hexed(alert.priority), hexed(alert.notice_until), alert.message)


def template_json(template: BlockTemplate) -> BlockTemplateJson:
    """Work for a miner."""
    return BlockTemplateJson(
        version=hexed(template.version),
        compact_target=hexed(template.compact_target),
        current_time=hexed(template.current_time),
        number=hexed(template.number),
        epoch=hexed(template.epoch),
        parent_hash=bytes_text(template.parent_hash),
        cycles_limit=hexed(template.cycles_limit),
        bytes_limit=hexed(template.bytes_limit),
        uncles_count_limit=hexed(template.uncles_count_limit),
        uncles=[_uncle_template_json(uncle) for uncle in template.uncles],
        transactions=[_transaction_template_json(transaction) for transaction in template.transactions],
        proposals=short_ids_json(template.proposals),
        cellbase=_cellbase_template_json(template.cellbase),
        work_id=hexed(template.work_id),
        dao=bytes_text(template.dao),
        extension=optional_hash(template.extension),
    )


def _uncle_template_json(template: UncleTemplate) -> UncleTemplateJson:
    uncle = template.uncle
    return UncleTemplateJson(
        bytes_text(uncle.hash), template.required, short_ids_json(uncle.proposals), header_json(uncle.header)
    )


def _transaction_template_json(template: TransactionTemplate) -> TransactionTemplateJson:
    return TransactionTemplateJson(
        bytes_text(template.transaction.hash),
        template.required,
        optional_uint(template.cycles),
        None if template.depends is None else [hexed(index) for index in template.depends],
        transaction_json(template.transaction),
    )


def _cellbase_template_json(template: CellbaseTemplate) -> CellbaseTemplateJson:
    transaction = template.transaction
    return CellbaseTemplateJson(
        bytes_text(transaction.hash), optional_uint(template.cycles), transaction_json(transaction)
    )


# ---------------------------------------------------------------- from JSON


def read_template(template: BlockTemplateJson) -> BlockTemplate:
    """A template that a client sends back; BadTextError on bad texts. Hashes in it are not looked at."""
    return BlockTemplate(
        version=parse_uint32(template.version),
        compact_target=parse_uint32(template.compact_target),
        current_time=parse_uint64(template.current_time),
        number=parse_uint64(template.number),
        epoch=parse_uint64(template.epoch),
        parent_hash=parse_hash(template.parent_hash),
        cycles_limit=parse_uint64(template.cycles_limit),
        bytes_limit=parse_uint64(template.bytes_limit),
        uncles_count_limit=parse_uint64(template.uncles_count_limit),
        uncles=[_read_uncle_template(uncle) for uncle in template.uncles],
        transactions=[TransactionTemplate(read_transaction(each.data)) for each in template.transactions],
        proposals=[parse_short_id(short_id) for short_id in template.proposals],
        cellbase=CellbaseTemplate(read_transaction(template.cellbase.data)),
        work_id=parse_uint64(template.work_id),
        dao=parse_hash(template.dao),
        extension=None if template.extension is None else parse_bytes(template.extension),
    )


def _read_uncle_template(template: UncleTemplateJson) -> UncleTemplate:
    uncle = UncleBlock(
        header=read_header(template.header), proposals=[parse_short_id(short_id) for short_id in template.proposals]
    )
    return UncleTemplate(uncle, template.required)
