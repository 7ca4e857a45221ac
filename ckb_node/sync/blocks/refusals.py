"""Who gave a block that breaks a rule is banned, whichever way the block came and however late it shows. A body that is
not its header's is its giver's own doing: no node keeps such a block, nor gives it away."""

from __future__ import annotations

from typing import Final

from ckb_node.chain.events import BlockDecided
from ckb_node.sync.blame import is_senders_fault
from ckb_node.sync.chain import SyncChain
from ckb_node.sync.peers import SyncPeers
from ckb_node.sync.suspects import Suspects
from consensus.rules.block import BodyMismatchError
from network.peers.penalties import Misbehaviour, apply_penalty

__all__ = ["Refusals"]


class Refusals:
    """Sources of blocks are session ids. What fails on our side is no refusal, and costs nobody anything."""

    def __init__(self, chain: SyncChain, peers: SyncPeers, suspects: Suspects) -> None:
        self._peers: Final = peers
        self._suspects: Final = suspects
        chain.listen_decided(self._decided)

    def _decided(self, decided: BlockDecided) -> None:
        error = decided.error
        if error is None or not is_senders_fault(error):
            return
        header = decided.block.header
        for source in decided.sources:
            peer = self._peers.get(source) if isinstance(source, int) else None
            if peer is None:
                continue
            if isinstance(error, BodyMismatchError):  # says nothing of the block with this hash
                apply_penalty(peer.peer, Misbehaviour.SYNC_401_INVALID_BLOCK, f"0x{header.hash.hex()}: {error}")
            else:
                self._suspects.accuse(peer.peer, header, str(error))
