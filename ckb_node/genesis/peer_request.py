"""Asks one peer for the genesis block, in a handful of messages. No I/O.

Sync is of no use for it: whoever asks for the genesis block by GetBlocks is banned. The light-client protocol proves
what is on the chain of a tip that has a parent, so it gives the header for the hash, and transactions for theirs, which
are public knowledge of the public chains. On other chains the relay protocol gives the transactions: it fills in what a
compact block lacks, for any stored block, and leaves out places that the block does not have. A peer that is behind
with its own chain answers the first kind of questions only.

Nothing but the block's hash is relied on, so no proof is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from consensus.chainspec.genesis_build import GenesisRecipe
from consensus.chainspec.spec import ChainSpec
from consensus.errors import CkbError, MoleculeError
from consensus.types.blockchain import Block, Header, Transaction
from network.limits import LIGHT_CLIENT, RELAY, ProtocolSpec
from network.messages.protocols import (
    LIGHT_CLIENT_MESSAGE,
    RELAY_MESSAGE,
    BlockTransactions,
    GetBlocksProof,
    GetBlockTransactions,
    GetLastState,
    GetTransactionsProof,
    SendBlocksProof,
    SendLastState,
    SendTransactionsProof,
)
from network.peer import Peer, Scheduler, Timer

ANSWER_SECONDS: Final = 20.0
"""For each answer: mainnet's cellbase has 1.2 MB."""
MAX_BYTES: Final = 32 << 20
"""Of all answers of one peer."""
MAX_TRANSACTIONS: Final = 1024
MAX_NEW_TIPS: Final = 3
"""How often the peer's tip may have changed between its two answers."""
OLD_TIP_MS: Final = 24 * 60 * 60 * 1000
"""From here on a peer does not answer by relay."""


@dataclass(frozen=True, slots=True)
class WantedGenesis:
    """`published`: the hashes of all its transactions, in their order, where those are known. `recipe`: the header's
    fields, where the chain spec has them."""

    spec: ChainSpec
    hash: bytes
    published: Sequence[bytes] = ()

    def block(self, header: Header | None, transactions: Sequence[Transaction]) -> Block | None:
        """The block of these transactions if it is the wanted one. Without a header, one made of the chain spec's."""
        header = header or self._header_of_spec(transactions)
        if header is None:
            return None
        block = Block(header=header, uncles=[], transactions=list(transactions), proposals=[]).with_roots()
        return block if block.hash == self.hash else None

    def _header_of_spec(self, transactions: Sequence[Transaction]) -> Header | None:
        recipe = self.spec.genesis
        if not isinstance(recipe, GenesisRecipe):
            return None
        try:
            dao = self.spec.issuance.dao_field(transactions)
        except (CkbError, ArithmeticError):
            return None
        return recipe.header(dao)


class GenesisRequest:
    """One peer's part. `on_end` is told the block, or why there is none; once."""

    def __init__(
        self, peer: Peer, wanted: WantedGenesis, scheduler: Scheduler, on_end: Callable[[Block | str], None]
    ) -> None:
        self._peer, self._wanted, self._scheduler, self._on_end = peer, wanted, scheduler, on_end
        self._timer: Timer | None = None
        self._waits_for = ""
        self._is_over = False
        self._bytes = 0
        self._new_tips = 0
        self._tip: Header | None = None
        self._header: Header | None = None
        self._transactions: list[Transaction] = []
        self._asked: Sequence[int] = ()
        """Places of the transactions that the peer has been asked for by relay."""
        self._asks_by_hash = False

    @property
    def progress(self) -> str:
        """What has come so far, and what is waited for."""
        return f"{self._waits_for}, {self._bytes:,} bytes so far"

    def start(self) -> None:
        """Ask the first question on whatever protocol is open."""
        if self._peer.version_of(LIGHT_CLIENT) is not None:
            self._send(LIGHT_CLIENT, LIGHT_CLIENT_MESSAGE.pack(GetLastState(subscribe=b"\0")), "its tip")
        elif self._peer.version_of(RELAY) is not None and isinstance(self._wanted.spec.genesis, GenesisRecipe):
            self._ask_by_place()
        else:
            self._fail("it serves no light clients")

    def closed(self) -> None:
        """The connection or a protocol has ended."""
        self._fail(f"it left while asked for {self._waits_for}")

    def cancel(self) -> None:
        """Another peer was faster; nobody is told."""
        self._is_over = True
        self._stop_timer()

    # ------------------------------------------------------------ answers

    def received(self, protocol: ProtocolSpec, payload: bytes) -> None:
        """A message of one of the two protocols; what was not asked for is left."""
        if self._is_over:
            return
        self._bytes += len(payload)
        if self._bytes > MAX_BYTES:
            self._fail(f"it sent more than {MAX_BYTES:,} bytes")
            return
        try:
            self._take(protocol, payload)
        except (MoleculeError, CkbError) as error:
            self._fail(f"its answer cannot be read: {str(error)[:200]}")

    def _take(self, protocol: ProtocolSpec, payload: bytes) -> None:
        union = LIGHT_CLIENT_MESSAGE if protocol is LIGHT_CLIENT else RELAY_MESSAGE
        match union.parse(payload):
            case SendLastState() as answer if self._tip is None:
                self._take_tip(answer.last_header.header)
            case SendBlocksProof() as answer if self._tip is not None and self._header is None:
                self._take_header(answer)
            case SendTransactionsProof() as answer if self._asks_by_hash:
                self._take_by_hash(answer)
            case BlockTransactions() as answer if self._asked and answer.block_hash == self._wanted.hash:
                self._take_by_place(answer.transactions)

    def _take_tip(self, tip: Header) -> None:
        self._tip = tip
        if tip.number == 0:  # a proof on it, and some nodes end when they are asked for one
            self._fail("it has no block but the genesis block itself, so it cannot give it; ask again when it has one")
            return
        question = GetBlocksProof(last_hash=tip.hash, block_hashes=[self._wanted.hash])
        self._send(LIGHT_CLIENT, LIGHT_CLIENT_MESSAGE.pack(question), "the header")

    def _take_header(self, answer: SendBlocksProof) -> None:
        headers = answer.headers
        if len(headers) == 1 and headers[0].hash == self._wanted.hash:
            self._header = headers[0]
            self._ask_for_transactions()
        elif not headers and not answer.missing_block_hashes and self._has_new_tip():
            self._take_tip(answer.last_header.header)
        else:
            self._fail("its chain has another genesis block")

    def _has_new_tip(self) -> bool:
        """The tip that we named is none any more: try the one that the answer has."""
        self._new_tips += 1
        return self._new_tips <= MAX_NEW_TIPS

    def _ask_for_transactions(self) -> None:
        if self._wanted.published and self._tip is not None:
            self._asks_by_hash = True
            question = GetTransactionsProof(last_hash=self._tip.hash, tx_hashes=list(self._wanted.published))
            self._send(LIGHT_CLIENT, LIGHT_CLIENT_MESSAGE.pack(question), "the transactions")
        elif self._peer.version_of(RELAY) is not None:
            self._ask_by_place()
        else:
            self._fail("it does not relay blocks, and the hashes of this chain's first transactions are not known")

    def _take_by_hash(self, answer: SendTransactionsProof) -> None:
        found = {tx.hash: tx for block in answer.filtered_blocks for tx in block.transactions}
        published = self._wanted.published
        if all(tx_hash in found for tx_hash in published):
            self._transactions = [found[tx_hash] for tx_hash in published]
            if not self._is_complete():
                self._fail("the transactions that it gave do not make the block")
        elif not answer.filtered_blocks and not answer.missing_tx_hashes and self._has_new_tip():
            self._tip = answer.last_header.header
            self._ask_for_transactions()
        else:
            self._fail("it does not have the transactions")

    # ------------------------------------------------------------ by relay

    def _ask_by_place(self) -> None:
        """One transaction, one more, then as many as there are already: the first may be a megabyte."""
        have = len(self._transactions)
        if have >= MAX_TRANSACTIONS:
            self._fail(f"{have} transactions do not make the block")
            return
        self._asked = range(have, have + max(1, have))
        question = GetBlockTransactions(block_hash=self._wanted.hash, indexes=list(self._asked), uncle_indexes=[])
        self._send(RELAY, RELAY_MESSAGE.pack(question), f"transaction {have} and on")

    def _take_by_place(self, transactions: Sequence[Transaction]) -> None:
        asked, self._asked = len(self._asked), ()
        if len(transactions) > asked:
            self._fail("it sent transactions that were not asked for")
            return
        self._transactions += transactions
        if self._is_complete():
            return
        if len(transactions) < asked:
            self._fail(f"its {len(self._transactions)} transactions do not make the block")
        else:
            self._ask_by_place()

    # ------------------------------------------------------------ questions and the end

    def _is_complete(self) -> bool:
        block = self._wanted.block(self._header, self._transactions)
        if block is None:
            return False
        self._end(block)
        return True

    def _send(self, protocol: ProtocolSpec, message: bytes, waits_for: str) -> None:
        self._waits_for = waits_for
        self._stop_timer()
        if self._peer.send(protocol, message):
            self._timer = self._scheduler.call_later(ANSWER_SECONDS, self._timed_out)
        else:
            self._fail(f"{protocol.config_name} is closed")

    def _timed_out(self) -> None:
        reason = f"it did not send {self._waits_for} within {ANSWER_SECONDS:.0f} s"
        if self._asked and self._tip is not None:
            age_ms = self._scheduler.wall_ms() - self._tip.timestamp
            if age_ms > OLD_TIP_MS:
                days = age_ms / OLD_TIP_MS
                reason += f"; its last block is {days:.0f} days old, and a node that is so far behind does not relay"
        self._fail(reason)

    def _fail(self, reason: str) -> None:
        self._end(reason)

    def _end(self, result: Block | str) -> None:
        if not self._is_over:
            self._is_over = True
            self._stop_timer()
            self._on_end(result)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
