"""What the RPC methods need of the node, declared by the RPC; `ckb_node/node.py` puts real services in.

Hashes are 32 bytes, cells are named by the 36 bytes of their out point, capacities are shannons, times milliseconds
since 1970. Methods raise the typed errors of the rules (`CkbError`) and of the pool (`ckb_node.txpool.rejects.Reject`);
`ckb_node/rpc/errors.py` has the code of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, ParamSpec, Protocol, TypeVar

from ckb_node.rpc.answer_room import AnswerRoom
from ckb_node.runtime.lane import Lane
from consensus.context import ChainReader
from consensus.params import Consensus
from consensus.types.blockchain import Block, Header, RawHeader, Script, Transaction, UncleBlock
from consensus.types.core import CellMeta, EpochExt
from storage.filters import BlockFilter

P = ParamSpec("P")
T = TypeVar("T")

READERS: Final = 1
"""Heavy calls at a time. All threads share one interpreter, so more would only delay each other and the event loop."""

# ---------------------------------------------------------------- chain


class ChainView(ChainReader, Protocol):
    """One consistent state of the main chain, with what only RPC asks. Released when it is dropped."""

    def epoch_by_number(self, number: int) -> EpochExt | None:
        """An epoch of the main chain."""
        ...

    def block_size(self, block_hash: bytes) -> int:
        """Bytes of a stored block without reading it; 0 when it is not stored."""
        ...

    def transaction_size(self, tx_hash: bytes) -> int:
        """Bytes of a main-chain transaction without reading it; 0 when it is not there."""
        ...


class ChainService(Protocol):
    """The main chain and the one way blocks enter it."""

    @property
    def consensus(self) -> Consensus: ...

    def view(self) -> ChainView:
        """The newest state. Cheap; a method takes it once and answers from it alone."""
        ...

    async def submit_block(self, block: Block) -> bytes:
        """Verify, store and announce a block whose header commits to its body; its hash.

        A block that is stored already is no error. Raises UnknownParent, HeaderError, BlockError and so on.
        """
        ...

    async def aside(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something in a thread that nobody's calls keep busy: miners wait for it."""
        ...

    async def estimate_cycles(self, transaction: Transaction) -> int:
        """Cycles that its scripts take at the tip, bounded by the block's limit, without admission to the pool.

        Raises ResolveError, ScriptError.
        """
        ...


class TestingService(Protocol):
    """Changes to a dev chain that no rule allows (module IntegrationTest)."""

    async def process_block_without_verify(self, block: Block) -> bool:
        """Put a block on the chain unverified. False when its parent is unknown, CkbError for what has no place."""
        ...

    async def truncate(self, block_hash: bytes) -> None:
        """Make a main-chain block the tip, forget what came after it, and clear the pool."""
        ...


class FilterService(Protocol):
    """Block filters (RFC 45)."""

    def block_filter(self, number: int, block_hash: bytes) -> BlockFilter | None:
        """The filter of the block of this height and hash; None when it is not built (yet)."""
        ...


# ---------------------------------------------------------------- pool


class OutputsValidator(Enum):
    """What kinds of outputs `send_transaction` lets pass."""

    PASSTHROUGH = "passthrough"
    WELL_KNOWN_SCRIPTS_ONLY = "well_known_scripts_only"


class FeePriority(Enum):
    """How soon a transaction should be committed: an hour, 30 minutes, 10 minutes, as soon as possible."""

    NO_PRIORITY = "no_priority"
    LOW_PRIORITY = "low_priority"
    MEDIUM_PRIORITY = "medium_priority"
    HIGH_PRIORITY = "high_priority"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolInfo:
    """The pool at a glance. Sizes in bytes, fee rates in shannons/kB. `pending` counts pending and gap."""

    tip_hash: bytes
    tip_number: int
    pending: int
    proposed: int
    orphan: int
    total_tx_size: int
    total_tx_cycles: int
    min_fee_rate: int
    min_rbf_rate: int
    last_txs_updated_at: int
    tx_size_limit: int
    max_tx_pool_size: int
    verify_queue_size: int


@dataclass(frozen=True, slots=True)
class PoolIds:
    """Hashes of the pool's transactions; pending includes gap. To be walked once."""

    pending: Iterable[bytes]
    proposed: Iterable[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolEntry:
    """One transaction of the pool. `size` is its bytes in a block; ancestors include the transaction itself."""

    cycles: int
    size: int
    fee: int
    ancestors_size: int
    ancestors_cycles: int
    ancestors_count: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class PoolEntries:
    """All transactions with their hashes, to be walked once; `conflicted` are kept aside after a replacement."""

    pending: Iterable[tuple[bytes, PoolEntry]]
    proposed: Iterable[tuple[bytes, PoolEntry]]
    conflicted: Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolEntryDetail:
    """How one transaction stands in the pool. `status`: pending, gap, proposed, or unknown with zeros elsewhere."""

    status: str = "unknown"
    timestamp: int = 0
    rank_in_pending: int = 0
    pending_count: int = 0
    proposed_count: int = 0
    descendants_count: int = 0
    ancestors_count: int = 0
    fee: int = 0
    weight: int = 0
    ancestors_fee: int = 0
    ancestors_weight: int = 0


@dataclass(frozen=True, slots=True)
class Accepted:
    """What admission would find: cycles of all scripts and fee."""

    cycles: int
    fee: int


class TxState(Enum):
    """Where a transaction is; names as in `get_transaction`."""

    PENDING = "pending"
    PROPOSED = "proposed"
    COMMITTED = "committed"
    UNKNOWN = "unknown"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTransaction:
    """A transaction in the pool. `state` is PENDING (also for gap) or PROPOSED.

    Cycles and fee are None when it is to come back to the pool and was not tried yet, and they are not known.
    `min_replace_fee`: what a replacement must pay at least; None when it cannot be replaced (proposed, or no RBF).
    """

    transaction: Transaction
    state: TxState
    cycles: int | None
    fee: int | None
    time_added: int
    min_replace_fee: int | None = None


@dataclass(frozen=True, slots=True)
class RejectedTransaction:
    """A transaction that was refused lately: `Reject.kind` and `str(reject)`."""

    kind: str
    description: str


class CellState(Enum):
    """What is known of a cell; names as in `get_live_cell`."""

    LIVE = "live"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CellLookup:
    """Answer about one cell; `cell` when it is live."""

    state: CellState
    cell: CellMeta | None = None


class PoolService(Protocol):
    """Transactions that wait to be committed. Every answer may have to wait for the pool, so every method is async."""

    async def submit(self, transaction: Transaction) -> bytes:
        """Verify, admit and announce; its hash. Raises Reject."""
        ...

    def verify_new(self, transaction: Transaction) -> None:
        """The rules of a transaction by itself, and that the pool does not have it. Raises Reject."""
        ...

    def submit_later(self, transaction: Transaction) -> None:
        """Submit in the background. Raises Reject when too many wait."""
        ...

    async def test_accept(self, transaction: Transaction) -> Accepted:
        """What `submit` would say, without admission. Raises Reject."""
        ...

    async def remove(self, tx_hash: bytes) -> bool:
        """Take a transaction and its descendants out; False when it is not there."""
        ...

    async def clear(self) -> None:
        """Forget every transaction."""
        ...

    async def clear_verify_queue(self) -> None:
        """Forget transactions that wait for verification."""
        ...

    async def info(self) -> PoolInfo: ...

    async def ids(self) -> PoolIds:
        """Those at the time of the call; who leaves before he is reached is left out."""
        ...

    async def entries(self) -> PoolEntries:
        """Those at the time of the call; who leaves before he is reached is left out."""
        ...

    async def detail(self, tx_hash: bytes) -> PoolEntryDetail:
        """Its status is `unknown` when the transaction is not in the pool."""
        ...

    async def transaction(self, tx_hash: bytes) -> PoolTransaction | RejectedTransaction | None:
        """A transaction of the pool, or why it was refused lately."""
        ...

    async def live_cell(self, out_point: bytes) -> CellLookup:
        """A cell as seen after all transactions of the pool: DEAD when one of them spends it."""
        ...

    async def estimate_fee_rate(self, priority: FeePriority, *, fallback: bool) -> int:
        """Shannons/kB; `fallback` walks the pool when the estimator cannot tell. Raises FeeEstimateError."""
        ...

    def is_ready(self) -> bool:
        """The pool has loaded what it kept on disk and takes transactions."""
        ...


@dataclass(frozen=True, slots=True)
class WellKnownScripts:
    """Scripts that `well_known_scripts_only` lets pass besides the system's own."""

    locks: Sequence[Script] = ()
    types: Sequence[Script] = ()


class FeeEstimateError(Exception):
    """The fee estimator cannot tell (yet)."""


# ---------------------------------------------------------------- mining


@dataclass(frozen=True, slots=True)
class UncleTemplate:
    """An uncle that the template holds."""

    uncle: UncleBlock
    required: bool = False


@dataclass(frozen=True, slots=True)
class TransactionTemplate:
    """A transaction to commit. `depends`: indices in the template's transactions that must be committed too."""

    transaction: Transaction
    cycles: int | None = None
    depends: Sequence[int] | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class CellbaseTemplate:
    """The cellbase."""

    transaction: Transaction
    cycles: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockTemplate:
    """A block to be mined. `current_time` ms, `epoch` packed, limits of the whole block."""

    version: int
    compact_target: int
    current_time: int
    number: int
    epoch: int
    parent_hash: bytes
    cycles_limit: int
    bytes_limit: int
    uncles_count_limit: int
    uncles: Sequence[UncleTemplate]
    transactions: Sequence[TransactionTemplate]
    proposals: Sequence[bytes]
    cellbase: CellbaseTemplate
    work_id: int
    dao: bytes
    extension: bytes | None = None
    text: list[bytes] = field(default_factory=list, compare=False, repr=False)
    """Its JSON before and behind the time, once somebody has asked for it."""

    def at(self, current_time: int) -> BlockTemplate:
        """The same template at another time."""
        return replace(self, current_time=current_time)

    def with_dao(self, dao: bytes) -> BlockTemplate:
        """The same template with another dao field."""
        return replace(self, dao=dao, text=[])

    def to_block(self) -> Block:
        """The block with all the template offers, its roots computed and nonce 0."""
        zero = bytes(32)
        raw = RawHeader(
            version=self.version,
            compact_target=self.compact_target,
            timestamp=self.current_time,
            number=self.number,
            epoch=self.epoch,
            parent_hash=self.parent_hash,
            transactions_root=zero,
            proposals_hash=zero,
            extra_hash=zero,
            dao=self.dao,
        )
        block = Block(
            header=Header(body=raw, nonce=0),
            uncles=[template.uncle for template in self.uncles],
            transactions=[self.cellbase.transaction, *(template.transaction for template in self.transactions)],
            proposals=self.proposals,
            extension=self.extension,
        )
        return block.with_roots()


class MinerService(Protocol):
    """Work for miners."""

    async def block_template(self) -> BlockTemplate:
        """The newest template on the tip."""
        ...

    async def calculate_dao_field(self, template: BlockTemplate) -> bytes:
        """The dao field that a block of exactly this template has; 32 bytes (module IntegrationTest)."""
        ...


# ---------------------------------------------------------------- network


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """A multiaddress and how much it is trusted."""

    address: str
    score: int


@dataclass(frozen=True, slots=True)
class LocalProtocol:
    """A protocol that this node speaks."""

    id: int
    name: str
    versions: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalNode:
    """This node as others see it."""

    version: str
    node_id: str
    active: bool
    addresses: Sequence[NodeAddress] = ()
    protocols: Sequence[LocalProtocol] = ()
    connections: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSyncState:
    """How far the exchange of headers and blocks with a peer is."""

    best_known_header_hash: bytes | None = None
    best_known_header_number: int | None = None
    last_common_header_hash: bytes | None = None
    last_common_header_number: int | None = None
    unknown_header_list_size: int = 0
    inflight_count: int = 0
    can_fetch_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteNode:
    """A connected peer. Durations in milliseconds; `protocols` are pairs of id and version."""

    version: str
    node_id: str
    addresses: Sequence[NodeAddress]
    is_outbound: bool
    connected_duration: int
    last_ping_duration: int | None
    sync_state: PeerSyncState | None
    protocols: Sequence[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class BannedAddress:
    """An IP address or network (`192.0.2.0/24`) that may not connect until `ban_until`."""

    address: str
    ban_until: int
    reason: str
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncState:
    """How far the node is. `assume_valid_target` is zero when none is set; the three times are of the block fetcher."""

    ibd: bool
    assume_valid_target_reached: bool
    assume_valid_target: bytes
    min_chain_work_reached: bool
    min_chain_work: int
    best_known_block_number: int
    best_known_block_timestamp: int
    orphan_blocks_count: int
    inflight_blocks_count: int
    unverified_tip_number: int
    unverified_tip_hash: bytes
    tip_number: int
    tip_hash: bytes
    fast_time: int
    normal_time: int
    low_time: int


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """A signed notice of the developers that has not expired."""

    id: int
    priority: int
    notice_until: int
    message: str


class NetService(Protocol):
    """Peers and the node's own address."""

    def local_node(self) -> LocalNode: ...

    def peers(self) -> Sequence[RemoteNode]: ...

    def banned(self) -> Sequence[BannedAddress]:
        """Bans that have not run out."""
        ...

    def ban(self, address: str, until: int, reason: str) -> None:
        """Ban an IP address or network; `address` is checked by the caller."""
        ...

    def unban(self, address: str) -> None: ...

    def clear_bans(self) -> None: ...

    def sync_state(self) -> SyncState: ...

    def set_active(self, *, active: bool) -> None:
        """Switch all connections on or off."""
        ...

    def add_node(self, address: str) -> None:
        """Connect to a multiaddress that ends in /p2p/<peer id>."""
        ...

    def remove_node(self, peer_id: str) -> None:
        """Disconnect a peer and keep it away."""
        ...

    def ping_peers(self) -> None: ...

    def alerts(self) -> Sequence[AlertMessage]: ...


# ---------------------------------------------------------------- all of it


class Clock(Protocol):
    """The only source of time, so that tests own it."""

    def now_ms(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """All that RPC methods can reach. A part that is None answers by its module's own error."""

    chain: ChainService
    pool: PoolService
    net: NetService
    clock: Clock
    filters: FilterService | None = None
    miner: MinerService | None = None
    testing: TestingService | None = None
    extra_well_known: WellKnownScripts = WellKnownScripts()
    extensions: Mapping[type, object] = field(default_factory=dict)
    """Services of modules that are declared elsewhere (the indexer), found by their Protocol."""
    lane: Lane = field(default_factory=lambda: Lane("rpc", READERS))
    """Where calls are worked out that would hold up the event loop. Whoever made it closes it."""
    room: AnswerRoom = field(default_factory=AnswerRoom)
    """For answers that clients have not taken yet."""
