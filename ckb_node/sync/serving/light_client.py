"""The light client protocol, as its server (RFC 44): the tip, proofs, and the new tip to those who have subscribed.

Different from the reference, subscribers hear of each new tip, not only of blocks that are relayed or submitted, and
when it is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Final

import structlog

from ckb_node.chain.events import ChainChanged
from ckb_node.sync.serving.answers import Answers
from ckb_node.sync.serving.chain import ServedChain
from ckb_node.sync.serving.errors import RefusedQuestion
from ckb_node.sync.serving.pace import Work
from ckb_node.sync.serving.proofs import (
    MAX_HEADERS,
    blocks_proof,
    last_state,
    last_state_proof,
    refuse_excess,
    transactions_proof,
)
from ckb_node.sync.serving.proved_chain import ProvedChain
from consensus.errors import MoleculeError
from consensus.lookup import ChainDataError
from network.limits import LIGHT_CLIENT, ProtocolSpec
from network.messages.protocols import (
    LIGHT_CLIENT_MESSAGE,
    GetBlocksProof,
    GetLastState,
    GetLastStateProof,
    GetTransactionsProof,
    SendLastState,
)
from network.peer import Peer, Scheduler, Timer
from network.peers.penalties import Misbehaviour, apply_penalty
from storage.chain_store import ChainView
from storage.errors import StorageError

__all__ = ["LightClientServer"]

log = structlog.get_logger("serving")

QUESTIONS: Final = (GetLastState, GetLastStateProof, GetBlocksProof, GetTransactionsProof)

PUSH_SECONDS: Final = 0.2
"""Between two tips that subscribers are told. Of many blocks at once they hear of the last."""

TIP_PRICE: Final = 0.000_5
HEADER_PRICE: Final = 0.000_3
TRANSACTION_PRICE: Final = 0.001
"""Seconds for each, about: a header with its chain root, a transaction with a block of its own. How many headers prove
the last state is not known from the question: it has the price of the most."""


class LightClientServer:
    """Satisfies network.peer.Handler."""

    def __init__(self, chain: ServedChain, scheduler: Scheduler, answers: Answers) -> None:
        self._chain, self._scheduler, self._answers = chain, scheduler, answers
        self._subscribers: Final[dict[int, Peer]] = {}
        self._told: bytes | None = None
        """Hash of the block that subscribers were told last."""
        self._told_at = -PUSH_SECONDS
        self._push: Timer | None = None
        chain.listen(self._on_change)

    @property
    def protocol(self) -> ProtocolSpec:
        return LIGHT_CLIENT

    @property
    def subscribers(self) -> int:
        """Peers that are told each new tip."""
        return len(self._subscribers)

    def opened(self, peer: Peer) -> None:
        """Clients ask first."""

    def received(self, peer: Peer, payload: bytes) -> None:
        kind = LIGHT_CLIENT_MESSAGE.item_class(payload)
        if kind is not None and kind not in QUESTIONS:  # not decoded: it may be large
            apply_penalty(peer, Misbehaviour.LIGHT_CLIENT_401_UNEXPECTED, kind.__name__)
            return
        try:
            message = LIGHT_CLIENT_MESSAGE.parse(payload)
        except MoleculeError:
            apply_penalty(peer, Misbehaviour.LIGHT_CLIENT_UNDECODABLE)
            return
        try:
            self._ask(peer, message)
        except RefusedQuestion as error:
            apply_penalty(peer, error.misbehaviour, error.detail)

    def closed(self, peer: Peer) -> None:
        self._subscribers.pop(peer.session_id, None)
        self._answers.closed(peer, LIGHT_CLIENT)

    def stop(self) -> None:
        """Nobody is told anything any more."""
        self._subscribers.clear()
        if self._push is not None:
            self._push.cancel()

    def _ask(self, peer: Peer, message: object) -> None:
        """Raises RefusedQuestion."""
        match message:
            case GetLastState():
                self._subscribe(peer, message.subscribe)
                self._work(peer, last_state, TIP_PRICE)
            case GetLastStateProof():
                refuse_excess(message)
                self._work(peer, partial(last_state_proof, question=message), MAX_HEADERS * HEADER_PRICE)
            case GetBlocksProof():
                refuse_excess(message)
                price = len(message.block_hashes) * HEADER_PRICE
                self._work(peer, partial(blocks_proof, question=message), price)
            case GetTransactionsProof():
                refuse_excess(message)
                price = len(message.tx_hashes) * TRANSACTION_PRICE
                self._work(peer, partial(transactions_proof, question=message), price)

    def _work(self, peer: Peer, answer: Callable[[ChainView], Generator[None, None, Any]], price: float) -> None:
        self._answers.ask(peer, LIGHT_CLIENT, _packed(answer), price)

    def _subscribe(self, peer: Peer, flag: bytes) -> None:
        """Until the protocol is closed. Raises RefusedQuestion."""
        if flag not in (b"\0", b"\1"):
            raise RefusedQuestion(Misbehaviour.LIGHT_CLIENT_400_MALFORMED, "subscribe is no truth value")
        if flag == b"\1":
            self._subscribers[peer.session_id] = peer

    def _on_change(self, _change: ChainChanged) -> None:
        """Whoever made the block, and however it came: it is told when clients can ask for its proof."""
        if self._push is None and self._subscribers:
            wait = self._told_at + PUSH_SECONDS - self._scheduler.now()
            self._push = self._scheduler.call_later(max(0.0, wait), self._push_tip)

    def _push_tip(self) -> None:
        self._push = None
        try:
            with self._chain.view() as view:
                tip = view.tip_header().hash
                if tip == self._told or not self._subscribers:
                    return
                message = LIGHT_CLIENT_MESSAGE.pack(SendLastState(last_header=ProvedChain(view).header(tip)))
        except (StorageError, ChainDataError) as error:
            log.warning("light clients are not told the tip", error=str(error))
            return
        self._told, self._told_at = tip, self._scheduler.now()
        for peer in list(self._subscribers.values()):
            peer.send(LIGHT_CLIENT, message)


def _packed(answer: Callable[[ChainView], Generator[None, None, Any]]) -> Work:
    def work(view: ChainView) -> Generator[None, None, bytes | None]:
        message = yield from answer(view)
        return LIGHT_CLIENT_MESSAGE.pack(message)

    return work
