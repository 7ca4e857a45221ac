"""The node's view of the network while it has no peers: its own identity, bans, and how far the chain is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ckb_node.chain.initial_download import InitialDownload, has_enough_work
from ckb_node.chain.service import ChainService
from ckb_node.runtime.bounded import BoundedMap
from ckb_node.runtime.tasks import Fault
from ckb_node.sync import state
from network import peer_info
from network.identity import Identity

MAX_BANS = 10_000
FAULT_PRIORITY = 20
FAULT_NOTICE_MS = 60_000


class LocalNet:
    """Satisfies ckb_node.rpc.services.NetService."""

    def __init__(
        self,
        chain: ChainService,
        identity: Identity,
        version: str,
        now_ms: Callable[[], int],
        faults: Callable[[], Sequence[Fault]] = tuple,
    ) -> None:
        """`faults`: parts of the node that do not work now."""
        self._chain, self._identity, self._version, self._now_ms = chain, identity, version, now_ms
        self._faults = faults
        self._bans: BoundedMap[str, peer_info.BannedAddress] = BoundedMap(max_count=MAX_BANS)
        self._is_active = True
        self._download = InitialDownload()

    def local_node(self) -> peer_info.LocalNode:
        return peer_info.LocalNode(version=self._version, node_id=self._identity.peer_id, active=self._is_active)

    def peers(self) -> Sequence[peer_info.RemoteNode]:
        return []

    def banned(self) -> Sequence[peer_info.BannedAddress]:
        """Bans that have not run out."""
        now = self._now_ms()
        for address in [address for address, ban in self._bans.items() if ban.ban_until <= now]:
            self._bans.pop(address)
        return list(self._bans.values())

    def ban(self, address: str, until: int, reason: str) -> None:
        """Ban an IP address or network until a time (ms); the oldest ban leaves when there are too many."""
        self._bans.put(address, peer_info.BannedAddress(address, until, reason, self._now_ms()))

    def unban(self, address: str) -> None:
        self._bans.pop(address)

    def clear_bans(self) -> None:
        self._bans.clear()

    def is_initial_block_download(self) -> bool:
        """The tip is older than a day; once it was not, never again in this run."""
        return self._download.is_on(self._chain.view().tip_header().timestamp, self._now_ms())

    def sync_state(self) -> state.SyncState:
        consensus, view = self._chain.consensus, self._chain.view()
        tip = view.tip_header()
        ext = view.block_ext(tip.hash)
        work = 0 if ext is None else ext.total_difficulty
        return state.SyncState(
            ibd=self.is_initial_block_download(),
            assume_valid_target_reached=self._chain.assume_valid.is_reached,
            assume_valid_target=self._chain.assume_valid.last,
            min_chain_work_reached=has_enough_work(work, consensus.min_chain_work),
            min_chain_work=consensus.min_chain_work,
            best_known_block_number=tip.number,
            best_known_block_timestamp=tip.timestamp,
            orphan_blocks_count=self._chain.orphan_count,
            inflight_blocks_count=0,
            unverified_tip_number=tip.number,
            unverified_tip_hash=tip.hash,
            tip_number=tip.number,
            tip_hash=tip.hash,
            fast_time=1000,
            normal_time=1250,
            low_time=1500,
        )

    def set_active(self, *, active: bool) -> None:
        self._is_active = active

    def add_node(self, address: str) -> None:
        """Nothing dials yet."""

    def remove_node(self, peer_id: str) -> None:
        """Nobody is connected yet."""

    def ping_peers(self) -> None:
        """Nobody is connected yet."""

    def alerts(self) -> Sequence[peer_info.AlertMessage]:
        """No developer's notice has come; what does not work in this node is told the same way."""
        notice_until = self._now_ms() + FAULT_NOTICE_MS
        return [
            peer_info.AlertMessage(at, FAULT_PRIORITY, notice_until, f"{fault.name} does not work: {fault.reason}")
            for at, fault in enumerate(self._faults(), start=1)
        ]
