"""The answer of module Terminal. Figures of the machine are plain numbers, those of the chain hex texts."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from ckb_node.jsonrpc_types.hex_text import uint_text
from ckb_node.txpool.views import PoolInfo
from network.peer_info import RemoteNode


class DiskJson(Struct, frozen=True):
    """A mounted disk; sizes in bytes."""

    total_space: int
    available_space: int
    is_removable: bool


class DiskUsageJson(Struct, frozen=True):
    """Bytes that the node has read and written: in all, and since the last look."""

    total_written_bytes: int
    written_bytes: int
    total_read_bytes: int
    read_bytes: int


class NetworkInterfaceJson(Struct, frozen=True):
    """Bytes through an interface of the machine: in all, and since the last look."""

    interface_name: str
    received: int
    total_received: int
    transmitted: int
    total_transmitted: int


class GlobalJson(Struct, frozen=True):
    """The machine; CPU use in percent."""

    total_memory: int
    used_memory: int
    global_cpu_usage: float
    disks: list[DiskJson]
    networks: list[NetworkInterfaceJson]


class SysInfoJson(Struct, frozen=True, rename={"global_": "global"}):
    """The machine and this process; CPU use in percent of one processor, memory in bytes."""

    global_: GlobalJson
    cpu_usage: float
    disk_usage: DiskUsageJson
    memory: int
    virtual_memory: int


class MiningInfoJson(Struct, frozen=True):
    """Difficulty of the epoch, and the hash rate of the epoch before."""

    difficulty: str
    hash_rate: str


class TerminalPoolInfoJson(Struct, frozen=True):
    """The pool; `committing` are in the block template."""

    pending: str
    proposed: str
    orphan: str
    committing: str
    total_recent_reject_num: str
    total_tx_size: str
    total_tx_cycles: str
    max_tx_pool_size: str
    last_txs_updated_at: str


class CellsInfoJson(Struct, frozen=True):
    """All live cells; capacity in shannons."""

    estimate_live_cells_num: str
    total_occupied_capacities: str


class PeerInfoJson(Struct, frozen=True):
    """A peer; 0 ms when it was not measured."""

    peer_id: int
    is_outbound: bool
    latency_ms: str
    address: str


class NetworkInfoJson(Struct, frozen=True):
    """The connected peers."""

    connected_peers: str
    outbound_peers: str
    inbound_peers: str
    peers: list[PeerInfoJson]


class OverviewJson(Struct, frozen=True):
    """The node at a glance."""

    sys: SysInfoJson
    mining: MiningInfoJson
    pool: TerminalPoolInfoJson
    cells: CellsInfoJson
    network: NetworkInfoJson
    version: str


def terminal_pool_json(info: PoolInfo, committing: int, rejected: int) -> TerminalPoolInfoJson:
    """The pool."""
    return TerminalPoolInfoJson(
        pending=uint_text(info.pending),
        proposed=uint_text(info.proposed),
        orphan=uint_text(info.orphan),
        committing=uint_text(committing),
        total_recent_reject_num=uint_text(rejected),
        total_tx_size=uint_text(info.total_tx_size),
        total_tx_cycles=uint_text(info.total_tx_cycles),
        max_tx_pool_size=uint_text(info.max_tx_pool_size),
        last_txs_updated_at=uint_text(info.last_txs_updated_at),
    )


def network_info_json(peers: Sequence[RemoteNode]) -> NetworkInfoJson:
    """The peers."""
    outbound = sum(peer.is_outbound for peer in peers)
    return NetworkInfoJson(
        uint_text(len(peers)),
        uint_text(outbound),
        uint_text(len(peers) - outbound),
        [
            PeerInfoJson(
                peer.session_id,
                peer.is_outbound,
                uint_text(peer.last_ping_duration or 0),
                peer.addresses[0].address if peer.addresses else "",
            )
            for peer in peers
        ],
    )
