"""Peers that told of a block which breaks a rule: whether they must have known, and then they are banned.

A node verifies what becomes its tip. What has no more work than its tip it keeps unverified and tells of all the same,
as it may become an uncle. So an honest peer may tell of an invalid block while its main chain leads elsewhere and has
as much work. That is what a peer has to show when nothing here has as much, by headers; the reference bans it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import structlog

from ckb_node.chain.events import ChainChanged
from ckb_node.runtime.bounded import BoundedMap
from ckb_node.sync.chain import KnownTip, SyncChain
from ckb_node.sync.peers import SyncPeer, SyncPeers
from consensus.crypto.difficulty import compact_to_difficulty
from consensus.types.blockchain import Header
from network.peer import Peer, Scheduler, Timer
from network.peers.penalties import Misbehaviour, apply_penalty
from storage.chain_store import ChainView

__all__ = ["LOOKS", "Suspects"]

log = structlog.get_logger("sync")

LOOK_SECONDS: Final = 1.0
LOOKS: Final = 10
"""A suspect has so many seconds to show its main chain; those in which this process stood still do not count."""
MAX_SUSPECTS: Final = 512
"""Peers with invalid branches; the first ones go free."""


class _Verdict(Enum):
    GUILTY = auto()
    """Its main chain leads to the block, or a look at the block alone shows that it is invalid."""
    MAY_BE_HONEST = auto()
    UNKNOWN = auto()
    """It has shown nothing with as much work, so far."""


@dataclass(frozen=True, slots=True)
class _Bad:
    """An invalid block; `root` is the lowest one below it that is known to be invalid, or itself."""

    root: bytes
    root_number: int
    work: int
    """Of its branch."""


@dataclass(slots=True)
class _Suspect:
    peer: Peer
    bad: _Bad
    detail: str
    looks: int = 0


class Suspects:
    """Of one node, while its network runs."""

    def __init__(
        self, chain: SyncChain, peers: SyncPeers, scheduler: Scheduler, ask_headers: Callable[[SyncPeer], None]
    ) -> None:
        self._chain: Final = chain
        self._peers: Final = peers
        self._scheduler: Final = scheduler
        self._ask_headers: Final = ask_headers
        self._suspects: Final[BoundedMap[tuple[int, bytes], _Suspect]] = BoundedMap(max_count=MAX_SUSPECTS)
        """By session and root."""
        self._timer: Timer | None = None
        chain.listen(self._on_change)

    def __len__(self) -> int:
        """Peers that have to show something, once for each invalid branch of which they told."""
        return len(self._suspects)

    def accuse(self, peer: Peer, header: Header, detail: str) -> None:
        """The peer has told of a block that breaks a rule: its own doing, not ours."""
        detail = f"0x{header.hash.hex()}: {detail}"
        with self._chain.view() as view:
            bad = _find_bad(view, header)
            verdict = _Verdict.GUILTY if bad is None else self._judge(peer, bad, view)
            if bad is not None and verdict is _Verdict.UNKNOWN and bad.work <= _best_work(view):
                verdict = _Verdict.MAY_BE_HONEST
        if bad is None or verdict is not _Verdict.UNKNOWN:
            _settle(peer, verdict, detail)
        else:
            self._suspect(peer, bad, detail)

    def _suspect(self, peer: Peer, bad: _Bad, detail: str) -> None:
        """Once for each root: blocks on it, whose targets nobody has checked, cost their teller nothing."""
        key = peer.session_id, bad.root
        known = self._suspects.get(key)
        if known is None:
            self._suspects.put(key, _Suspect(peer, bad, detail))
            self._ask(peer)
            self._wait()
        elif bad.work > known.bad.work:
            known.bad = bad

    def stop(self) -> None:
        """The network ends."""
        if self._timer is not None:
            self._timer.cancel()

    def _on_change(self, change: ChainChanged) -> None:
        """Headers that `truncate` has deleted would look as if they stood on an invalid block."""
        if not change.is_cut:
            return
        with self._chain.view() as view:
            known, target = view.known_headers(), change.new_tip.number
            for peer in self._peers:
                peer.forget_shown(lambda tip: tip.number > target and known.header(tip.hash) is None)

    def _ask(self, peer: Peer) -> None:
        sync_peer = self._peers.get(peer.session_id)
        if sync_peer is not None:
            self._ask_headers(sync_peer)

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self._scheduler.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        for key, suspect in list(self._suspects.items()):
            suspect.looks += 1
            with self._chain.view() as view:
                verdict = self._judge(suspect.peer, suspect.bad, view)
            if verdict is not _Verdict.UNKNOWN or suspect.looks >= LOOKS:
                self._suspects.pop(key)
                _settle(suspect.peer, verdict, suspect.detail)
            else:
                self._ask(suspect.peer)
        if self._suspects:
            self._wait()

    def _judge(self, peer: Peer, bad: _Bad, view: ChainView) -> _Verdict:
        sync_peer = self._peers.get(peer.session_id)
        return _Verdict.UNKNOWN if sync_peer is None else _judge(view, sync_peer.shown, bad)


def _settle(peer: Peer, verdict: _Verdict, detail: str) -> None:
    if verdict is _Verdict.MAY_BE_HONEST:
        log.debug("a peer told of an invalid block, perhaps unverified", peer=peer.peer_id, block=detail)
    else:
        apply_penalty(peer, Misbehaviour.SYNC_401_INVALID_BLOCK, detail)


def _find_bad(view: ChainView, header: Header) -> _Bad | None:
    """None of a block that was refused for itself, without a look at its place: honest nodes tell of no such."""
    ext = view.block_ext(header.hash)
    if ext is not None:
        return _Bad(header.hash, header.number, ext.total_difficulty)
    parent = view.block_ext(header.parent_hash)
    if parent is None or parent.verified is not False:
        return None
    work = parent.total_difficulty + compact_to_difficulty(header.compact_target)
    return _Bad(header.parent_hash, header.number - 1, work)


def _judge(view: ChainView, shown: Iterable[KnownTip], bad: _Bad) -> _Verdict:
    """By the ends of the main chain that a peer has shown. Of those, what is not known any more stood on an invalid
    block."""
    known, verdict = view.known_headers(), _Verdict.UNKNOWN
    for tip in shown:
        leads_up = tip.number >= bad.root_number
        ancestor = known.ancestor_hash(tip.hash, bad.root_number) if leads_up else None
        if leads_up and ancestor in (None, bad.root):
            return _Verdict.GUILTY
        if tip.total_difficulty >= bad.work:
            verdict = _Verdict.MAY_BE_HONEST
    return verdict


def _best_work(view: ChainView) -> int:
    """The most that is known here: of a stored block, or of a header."""
    known = view.known_headers()
    return known.total_difficulty(known.best_header().hash) or 0
