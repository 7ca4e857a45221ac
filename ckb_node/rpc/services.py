"""What the RPC methods need of the node, declared by the RPC; `ckb_node/node.py` puts real services in.

Hashes are 32 bytes, cells are named by the 36 bytes of their out point, capacities are shannons, times milliseconds
since 1970. Methods raise the typed errors of the rules (`CkbError`) and of the pool (`ckb_node.txpool.rejects.Reject`);
`ckb_node/rpc/errors.py` has the code of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, ParamSpec, Protocol, Self, TypeVar

from ckb_node.indexer.query import Io, Page, Search
from ckb_node.indexer.service import IndexerOptions
from ckb_node.mining.template import BlockTemplate
from ckb_node.rpc.answer_room import AnswerRoom
from ckb_node.rpc.kept_texts import KeptTexts
from ckb_node.rpc.outputs_validator import WellKnownScripts
from ckb_node.rpc.overview import Overview
from ckb_node.runtime.lane import Lane, Slices
from ckb_node.runtime.log_control import LogControl
from ckb_node.stratum.service import StratumService
from ckb_node.sync.state import SyncState
from ckb_node.txpool.explain import Explainer
from ckb_node.txpool.views import (
    Accepted,
    CellLookup,
    EntryDetail,
    FeePriority,
    PoolEntries,
    PoolIds,
    PoolInfo,
    PoolTransaction,
    RejectedTransaction,
)
from consensus.context import ChainReader
from consensus.params import Consensus
from consensus.types.blockchain import Block, Transaction
from consensus.types.core import EpochExt
from network.messages.protocols import Alert
from network.peer_info import AlertMessage, BannedAddress, LocalNode, RemoteNode
from storage.filters import BlockFilter
from storage.kv import Snapshot

P = ParamSpec("P")
T = TypeVar("T")

READERS: Final = 1
"""Heavy calls at a time. All threads share one interpreter, so more would only delay each other and the event loop."""

# ---------------------------------------------------------------- chain


class ChainView(ChainReader, Protocol):
    """One consistent state of the main chain, with what only RPC asks. Released at the end of a `with`, or when it is
    dropped."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def epoch_by_number(self, number: int) -> EpochExt | None:
        """An epoch of the main chain."""
        ...

    def estimated_live_cells(self) -> int:
        """About how many there are; exact while they are few."""
        ...

    def is_live(self, out_point: bytes) -> bool:
        """The cell exists and is not spent; cheaper than `cell`."""
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

    def shared_view(self) -> ChainView:
        """The same for calls that are answered at once: one for all of them, which none closes or keeps."""
        ...

    async def submit_block(self, block: Block) -> bytes:
        """Verify, store and announce a block whose header commits to its body; its hash.

        A block that is stored already is no error. Raises UnknownParent, HeaderError, BlockError and so on.
        """
        ...

    async def run_in_reader(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work in a thread that RPC calls do not keep busy: miners wait for it."""
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


class PoolService(Protocol):
    """Transactions that wait to be committed. Methods that may wait for the pool are async."""

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

    def info(self) -> PoolInfo: ...

    async def ids(self) -> PoolIds:
        """Those at the time of the call, without those that leave during the iteration."""
        ...

    async def entries(self) -> PoolEntries:
        """Those at the time of the call, without those that leave during the iteration."""
        ...

    async def detail(self, tx_hash: bytes) -> EntryDetail:
        """Its status is `unknown` when the transaction is not in the pool."""
        ...

    async def transaction(self, tx_hash: bytes) -> PoolTransaction | RejectedTransaction | None:
        """A transaction of the pool, or why it was refused lately."""
        ...

    async def live_cell(self, out_point: bytes) -> CellLookup:
        """A cell as seen after all transactions of the pool: DEAD when one of them spends it."""
        ...

    @property
    def explainer(self) -> Explainer:
        """Tells how far transactions are."""
        ...

    async def estimate_fee_rate(self, priority: FeePriority, *, fallback: bool) -> int:
        """Shannons per 1000 weight units. `fallback` walks the pool when no estimate is there. FeeEstimateError."""
        ...

    def is_ready(self) -> bool:
        """The pool has loaded what it kept on disk and takes transactions."""
        ...


# ---------------------------------------------------------------- mining


class MinerService(Protocol):
    """Work for miners."""

    async def block_template(self) -> BlockTemplate:
        """The newest template on the tip."""
        ...

    def template_at_hand(self) -> tuple[BlockTemplate, int] | None:
        """The newest template, if it need not be made, and its time now in ms."""
        ...

    async def calculate_dao_field(self, template: BlockTemplate) -> bytes:
        """The dao field that a block of exactly this template has; 32 bytes (module IntegrationTest)."""
        ...


# ---------------------------------------------------------------- network


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

    def send_alert(self, alert: Alert) -> bool:
        """Show an alert and tell all peers; False when there is no network. Raises AlertSignatureError."""
        ...


# ---------------------------------------------------------------- all of it


class IndexerService(Protocol):
    """Cells and transactions by script (module Indexer)."""

    @property
    def options(self) -> IndexerOptions:
        """What the operator chose."""
        ...

    def tip(self) -> tuple[int, bytes] | None:
        """Number and hash of the last block that is indexed; None before the first."""
        ...

    async def follow(self) -> None:
        """Return when the index has caught up with the chain, or does not soon."""
        ...

    def snapshot_now(self) -> Snapshot | None:
        """The index at the chain's tip; None while it has not followed it."""
        ...

    async def snapshot(self) -> Snapshot:
        """The index at the chain's tip. Raises IndexBehindError."""
        ...

    async def search(self, read: Callable[[Snapshot], Slices]) -> Slices:
        """What `read` finds in a snapshot, to be walked beside the event loop. Raises IndexBehindError."""
        ...


class RichCellRow(Protocol):
    """A live cell as the rich indexer has it; scripts are code hash, hash type and arguments end to end."""

    @property
    def id(self) -> int: ...
    @property
    def out_point(self) -> bytes: ...
    @property
    def number(self) -> int: ...
    @property
    def tx_index(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    @property
    def lock(self) -> bytes: ...
    @property
    def type_(self) -> bytes | None: ...
    @property
    def data(self) -> bytes: ...


class RichTxRow(Protocol):
    """A transaction with inputs and outputs, as the rich indexer has it."""

    @property
    def tx_hash(self) -> bytes: ...
    @property
    def number(self) -> int: ...
    @property
    def tx_index(self) -> int: ...
    @property
    def cells(self) -> Sequence[Io]: ...


class RichReader(Protocol):
    """One state of the rich indexer's tables. A page comes with the cursor of its last row. All raise QueryError."""

    def cells(self, page: Page, *, with_data: bool) -> tuple[Sequence[RichCellRow], bytes]:
        """Live cells."""
        ...

    def transactions(self, page: Page) -> tuple[Sequence[RichTxRow], bytes]:
        """As many transactions as have so many inputs and outputs, or a part of the last."""
        ...

    def grouped(self, page: Page) -> tuple[Sequence[RichTxRow], bytes]:
        """So many transactions."""
        ...

    def capacity(self, search: Search) -> tuple[int, int, bytes] | None:
        """The sum of all live cells, height and hash of the block that it is of; None without cells."""
        ...

    def spender(self, tx_hash: bytes, index: int) -> bytes | None:
        """The hash of the transaction that spends an output; None when the tables do not have it."""
        ...


class RichIndexerService(Protocol):
    """Cells and transactions by script or part of one (module RichIndexer)."""

    @property
    def options(self) -> IndexerOptions: ...

    def tip(self) -> tuple[int, bytes] | None: ...

    async def follow(self) -> None: ...

    async def search(self, read: Callable[[RichReader], T]) -> T:
        """What `read` makes of the tables at the chain's tip, in a thread. Raises QueryError, IndexBehindError."""
        ...


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
    stratum: StratumService | None = None
    testing: TestingService | None = None
    extra_well_known: WellKnownScripts = field(default_factory=WellKnownScripts)
    indexer: IndexerService | None = None
    rich_indexer: RichIndexerService | None = None
    lane: Lane = field(default_factory=lambda: Lane("rpc", READERS))
    """Runs calls that would block the event loop. The maker closes it."""
    version: str = ""
    """Of this program, as peers see it."""
    logs: LogControl | None = None
    """None where they are not the node's to command."""
    rejected_count: Callable[[], int] = lambda: 0
    """About how many transactions are remembered as refused."""
    overview: Overview = field(default_factory=Overview)
    """Of module Terminal."""
    room: AnswerRoom = field(default_factory=AnswerRoom)
    """For answers that clients have not taken yet."""
    kept: KeptTexts = field(default_factory=KeptTexts)
    """Answers that cannot change: blocks and headers by hash, committed transactions by the hashes of block and
    transaction, cells by out point as long as they are live."""
