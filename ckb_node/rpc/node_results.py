"""Answers of the modules Pool and Net as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

from msgspec import UNSET, Struct, UnsetType

from ckb_node.jsonrpc_types.hex_text import bytes_text, optional_hash, optional_uint, uint_text
from ckb_node.rpc.calls import encode
from ckb_node.runtime.lane import Slices
from ckb_node.sync.state import SyncState
from ckb_node.txpool.views import EntryDetail, EntryInfo, PoolEntries, PoolIds, PoolInfo
from network.peer_info import BannedAddress, LocalNode, NodeAddress, PeerSyncState, RemoteNode

T = TypeVar("T")

CKB_WIRE: Final = "ckb"

A_STEP: Final = 32
"""Transactions of the pool in each step of a long answer."""


class TxPoolInfoJson(Struct, frozen=True):
    """The pool at a glance."""

    tip_hash: str
    tip_number: str
    pending: str
    proposed: str
    orphan: str
    total_tx_size: str
    total_tx_cycles: str
    min_fee_rate: str
    min_rbf_rate: str
    last_txs_updated_at: str
    tx_size_limit: str
    max_tx_pool_size: str
    verify_queue_size: str


class TxPoolIdsJson(Struct, frozen=True):
    """Hashes of the pool's transactions."""

    pending: list[str]
    proposed: list[str]


class TxPoolEntryJson(Struct, frozen=True):
    """A transaction of the pool."""

    cycles: str
    size: str
    fee: str
    ancestors_size: str
    ancestors_cycles: str
    ancestors_count: str
    timestamp: str


class TxPoolEntriesJson(Struct, frozen=True):
    """The pool's transactions by hash."""

    pending: dict[str, TxPoolEntryJson]
    proposed: dict[str, TxPoolEntryJson]
    conflicted: list[str]


class ScoreSortKeyJson(Struct, frozen=True):
    """What orders a transaction in the pool."""

    fee: str
    weight: str
    ancestors_fee: str
    ancestors_weight: str


class PoolTxDetailJson(Struct, frozen=True):
    """How a transaction stands in the pool."""

    timestamp: str
    entry_status: str
    rank_in_pending: str
    pending_count: str
    proposed_count: str
    descendants_count: str
    ancestors_count: str
    score_sortkey: ScoreSortKeyJson


class EntryCompletedJson(Struct, frozen=True):
    """What admission would find."""

    cycles: str
    fee: str


class NodeAddressJson(Struct, frozen=True):
    """A multiaddress."""

    address: str
    score: str


class LocalProtocolJson(Struct, frozen=True):
    """A protocol that this node speaks."""

    id: str
    name: str
    support_versions: list[str]


class LocalNodeJson(Struct, frozen=True):
    """This node."""

    version: str
    node_id: str
    active: bool
    addresses: list[NodeAddressJson]
    protocols: list[LocalProtocolJson]
    connections: str


class PeerSyncStateJson(Struct, frozen=True):
    """How far the exchange with a peer is."""

    best_known_header_hash: str | None
    best_known_header_number: str | None
    last_common_header_hash: str | None
    last_common_header_number: str | None
    unknown_header_list_size: str
    inflight_count: str
    can_fetch_count: str


class RemoteProtocolJson(Struct, frozen=True):
    """A protocol that is open with a peer."""

    id: str
    version: str


class RemoteNodeJson(Struct, frozen=True):
    """A peer. `transport` is there when it is not CKB's own: `libp2p`."""

    version: str
    node_id: str
    addresses: list[NodeAddressJson]
    is_outbound: bool
    connected_duration: str
    last_ping_duration: str | None
    sync_state: PeerSyncStateJson | None
    protocols: list[RemoteProtocolJson]
    transport: str | UnsetType = UNSET


class BannedAddressJson(Struct, frozen=True):
    """A ban."""

    address: str
    ban_until: str
    ban_reason: str
    created_at: str


class SyncStateJson(Struct, frozen=True):
    """How far the node is."""

    ibd: bool
    assume_valid_target_reached: bool
    assume_valid_target: str
    min_chain_work_reached: bool
    min_chain_work: str
    best_known_block_number: str
    best_known_block_timestamp: str
    orphan_blocks_count: str
    inflight_blocks_count: str
    unverified_tip_number: str
    unverified_tip_hash: str
    tip_number: str
    tip_hash: str
    fast_time: str
    normal_time: str
    low_time: str


def pool_info_json(info: PoolInfo) -> TxPoolInfoJson:
    """The pool at a glance."""
    return TxPoolInfoJson(
        tip_hash=bytes_text(info.tip_hash),
        tip_number=uint_text(info.tip_number),
        pending=uint_text(info.pending),
        proposed=uint_text(info.proposed),
        orphan=uint_text(info.orphan),
        total_tx_size=uint_text(info.total_tx_size),
        total_tx_cycles=uint_text(info.total_tx_cycles),
        min_fee_rate=uint_text(info.min_fee_rate),
        min_rbf_rate=uint_text(info.min_rbf_rate),
        last_txs_updated_at=uint_text(info.last_txs_updated_at),
        tx_size_limit=uint_text(info.tx_size_limit),
        max_tx_pool_size=uint_text(info.max_tx_pool_size),
        verify_queue_size=uint_text(info.verify_queue_size),
    )


def pool_entry_json(entry: EntryInfo) -> TxPoolEntryJson:
    """A transaction of the pool."""
    return TxPoolEntryJson(
        cycles=uint_text(entry.cycles),
        size=uint_text(entry.size),
        fee=uint_text(entry.fee),
        ancestors_size=uint_text(entry.ancestors_size),
        ancestors_cycles=uint_text(entry.ancestors_cycles),
        ancestors_count=uint_text(entry.ancestors_count),
        timestamp=uint_text(entry.timestamp),
    )


def pool_ids_text(ids: PoolIds) -> Slices:
    """TxPoolIdsJson in pieces."""
    yield b'{"pending":['
    yield from _listed(ids.pending)
    yield b'],"proposed":['
    yield from _listed(ids.proposed)
    yield b"]}"


def pool_entries_text(entries: PoolEntries) -> Slices:
    """TxPoolEntriesJson in pieces."""
    yield b'{"pending":{'
    yield from _named(entries.pending)
    yield b'},"proposed":{'
    yield from _named(entries.proposed)
    yield b'},"conflicted":['
    yield from _listed(entries.conflicted)
    yield b"]}"


def _listed(hashes: Iterable[bytes]) -> Slices:
    """Items of a list, some in each piece."""
    yield from _joined(encode([bytes_text(each) for each in some])[1:-1] for some in _by_few(hashes))


def _named(entries: Iterable[tuple[bytes, EntryInfo]]) -> Slices:
    """Members of an object."""
    for_some = ({bytes_text(tx_hash): pool_entry_json(entry) for tx_hash, entry in some} for some in _by_few(entries))
    yield from _joined(encode(each)[1:-1] for each in for_some)


def _joined(texts: Iterable[bytes]) -> Slices:
    before = b""
    for text in texts:
        yield before + text
        before = b","


def _by_few(items: Iterable[T]) -> Iterator[list[T]]:
    source = iter(items)
    return iter(lambda: list(islice(source, A_STEP)), [])


def pool_detail_json(detail: EntryDetail) -> PoolTxDetailJson:
    """How a transaction stands in the pool."""
    return PoolTxDetailJson(
        timestamp=uint_text(detail.timestamp),
        entry_status=detail.status,
        rank_in_pending=uint_text(detail.rank_in_pending),
        pending_count=uint_text(detail.pending_count),
        proposed_count=uint_text(detail.proposed_count),
        descendants_count=uint_text(detail.descendants_count),
        ancestors_count=uint_text(detail.ancestors_count),
        score_sortkey=ScoreSortKeyJson(
            uint_text(detail.fee),
            uint_text(detail.weight),
            uint_text(detail.ancestors_fee),
            uint_text(detail.ancestors_weight),
        ),
    )


def _address_json(address: NodeAddress) -> NodeAddressJson:
    return NodeAddressJson(address.address, uint_text(max(address.score, 0)))


def local_node_json(node: LocalNode) -> LocalNodeJson:
    """This node."""
    return LocalNodeJson(
        version=node.version,
        node_id=node.node_id,
        active=node.active,
        addresses=[_address_json(address) for address in node.addresses],
        protocols=[LocalProtocolJson(uint_text(each.id), each.name, list(each.versions)) for each in node.protocols],
        connections=uint_text(node.connections),
    )


def _peer_sync_state_json(state: PeerSyncState) -> PeerSyncStateJson:
    return PeerSyncStateJson(
        best_known_header_hash=optional_hash(state.best_known_header_hash),
        best_known_header_number=optional_uint(state.best_known_header_number),
        last_common_header_hash=optional_hash(state.last_common_header_hash),
        last_common_header_number=optional_uint(state.last_common_header_number),
        unknown_header_list_size=uint_text(state.unknown_header_list_size),
        inflight_count=uint_text(state.inflight_count),
        can_fetch_count=uint_text(state.can_fetch_count),
    )


def remote_node_json(node: RemoteNode) -> RemoteNodeJson:
    """A peer."""
    return RemoteNodeJson(
        version=node.version,
        node_id=node.node_id,
        addresses=[_address_json(address) for address in node.addresses],
        is_outbound=node.is_outbound,
        connected_duration=uint_text(node.connected_duration),
        last_ping_duration=optional_uint(node.last_ping_duration),
        sync_state=None if node.sync_state is None else _peer_sync_state_json(node.sync_state),
        protocols=[RemoteProtocolJson(uint_text(identity), version) for identity, version in node.protocols],
        transport=UNSET if node.wire == CKB_WIRE else node.wire,
    )


def banned_json(banned: BannedAddress) -> BannedAddressJson:
    """A ban."""
    return BannedAddressJson(banned.address, uint_text(banned.ban_until), banned.reason, uint_text(banned.created_at))


def sync_state_json(state: SyncState) -> SyncStateJson:
    """How far the node is."""
    return SyncStateJson(
        ibd=state.ibd,
        assume_valid_target_reached=state.assume_valid_target_reached,
        assume_valid_target=bytes_text(state.assume_valid_target),
        min_chain_work_reached=state.min_chain_work_reached,
        min_chain_work=uint_text(state.min_chain_work & ((1 << 128) - 1)),
        best_known_block_number=uint_text(state.best_known_block_number),
        best_known_block_timestamp=uint_text(state.best_known_block_timestamp),
        orphan_blocks_count=uint_text(state.orphan_blocks_count),
        inflight_blocks_count=uint_text(state.inflight_blocks_count),
        unverified_tip_number=uint_text(state.unverified_tip_number),
        unverified_tip_hash=bytes_text(state.unverified_tip_hash),
        tip_number=uint_text(state.tip_number),
        tip_hash=bytes_text(state.tip_hash),
        fast_time=uint_text(state.fast_time),
        normal_time=uint_text(state.normal_time),
        low_time=uint_text(state.low_time),
    )


class MainLoggerJson(Struct, frozen=True):
    """Changes of the main log; what is null stays."""

    filter: str | None = None
    to_stdout: bool | None = None
    to_file: bool | None = None
    color: bool | None = None


class ExtraLoggerJson(Struct, frozen=True):
    """A log file of its own."""

    filter: str
