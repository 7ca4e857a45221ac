"""A peer that has a chain and gives what it is asked for, as the reference does; and how it may be wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from consensus.types.blockchain import Block, Header, RawHeader, Transaction
from consensus.types.core import HeaderDigest
from consensus.types.extensions import FilteredBlock, MerkleProof, VerifiableHeader
from network.limits import LIGHT_CLIENT, RELAY, SYNC, ProtocolSpec
from network.messages.protocols import (
    LIGHT_CLIENT_MESSAGE,
    RELAY_MESSAGE,
    SYNC_MESSAGE,
    BlockTransactions,
    GetBlocksProof,
    GetBlockTransactions,
    GetHeaders,
    GetLastState,
    GetTransactionsProof,
    InIBD,
    SendBlocksProof,
    SendLastState,
    SendTransactionsProof,
)
from network.peer import Handler, Peer
from tests.support.chains.devchain import dev_consensus
from tests.support.network.clock import WALL_MS

GENESIS = dev_consensus().genesis_block
ZERO = bytes(32)


def header_on(parent: bytes, number: int, timestamp: int = WALL_MS) -> Header:
    body = RawHeader(
        version=0,
        compact_target=0x20010000,
        timestamp=timestamp,
        number=number,
        epoch=0,
        parent_hash=parent,
        transactions_root=ZERO,
        proposals_hash=ZERO,
        extra_hash=ZERO,
        dao=ZERO,
    )
    return Header(body=body, nonce=0)


def verifiable(header: Header) -> VerifiableHeader:
    root = HeaderDigest.parse(bytes(120))
    return VerifiableHeader(header=header, uncles_hash=ZERO, extension=None, parent_chain_root=root)


@dataclass
class Giver:
    """Answers by the bytes of a question. `tip`: None, the genesis block itself. Behind with its chain it does not
    relay; `transactions` are those that it gives."""

    genesis: Block = GENESIS
    tip: Header | None = field(default_factory=lambda: header_on(GENESIS.hash, 1))
    is_behind: bool = False
    transactions: Sequence[Transaction] | None = None
    asked: list[object] = field(default_factory=list)

    @property
    def tip_header(self) -> Header:
        return self.genesis.header if self.tip is None else self.tip

    def answer(self, protocol: ProtocolSpec, payload: bytes) -> Iterable[bytes]:
        if protocol is LIGHT_CLIENT:
            message = LIGHT_CLIENT_MESSAGE.parse(payload)
            self.asked.append(message)
            yield LIGHT_CLIENT_MESSAGE.pack(self._light(message))
        elif protocol is RELAY:
            question = RELAY_MESSAGE.parse(payload)
            assert isinstance(question, GetBlockTransactions)
            self.asked.append(question)
            if not self.is_behind and question.block_hash == self.genesis.hash:
                yield RELAY_MESSAGE.pack(self._by_place(question))

    def _light(self, message: object) -> SendLastState | SendBlocksProof | SendTransactionsProof:
        tip = verifiable(self.tip_header)
        match message:
            case GetLastState():
                return SendLastState(last_header=tip)
            case GetBlocksProof():
                return self._blocks_proof(message, tip)
            case GetTransactionsProof():
                return self._transactions_proof(message, tip)
        raise AssertionError(message)

    def _blocks_proof(self, message: GetBlocksProof, tip: VerifiableHeader) -> SendBlocksProof:
        assert message.last_hash != self.genesis.hash, "a question that has ended servers"
        if message.last_hash != self.tip_header.hash:
            return SendBlocksProof(last_header=tip, proof=[], headers=[], missing_block_hashes=[])
        found = [self.genesis.header] if self.genesis.hash in message.block_hashes else []
        missing = [each for each in message.block_hashes if each != self.genesis.hash]
        return SendBlocksProof(
            last_header=tip,
            proof=[],
            headers=found,
            missing_block_hashes=missing,
            blocks_uncles_hash=[ZERO] * len(found),
            blocks_extension=[None] * len(found),
        )

    def _transactions_proof(self, message: GetTransactionsProof, tip: VerifiableHeader) -> SendTransactionsProof:
        assert message.last_hash != self.genesis.hash, "a question that has ended servers"
        if message.last_hash != self.tip_header.hash:
            return SendTransactionsProof(last_header=tip, proof=[], filtered_blocks=[], missing_tx_hashes=[])
        given = self.genesis.transactions if self.transactions is None else self.transactions
        found = [tx for tx in given if tx.hash in message.tx_hashes]
        missing = [each for each in message.tx_hashes if each not in {tx.hash for tx in found}]
        block = FilteredBlock(
            header=self.genesis.header,
            witnesses_root=ZERO,
            transactions=found[::-1],  # in no order that means anything
            proof=MerkleProof(indices=[], lemmas=[]),
        )
        return SendTransactionsProof(
            last_header=tip,
            proof=[],
            filtered_blocks=[block] if found else [],
            missing_tx_hashes=missing,
            blocks_uncles_hash=[ZERO] if found else [],
            blocks_extension=[None] if found else [],
        )

    def _by_place(self, question: GetBlockTransactions) -> BlockTransactions:
        given = self.genesis.transactions if self.transactions is None else self.transactions
        found = [given[place] for place in question.indexes if place < len(given)]
        return BlockTransactions(block_hash=question.block_hash, transactions=found, uncles=[])

    def handlers(self) -> list[Handler]:
        """For a network of its own."""
        return [_Giving(self, protocol) for protocol in (SYNC, RELAY, LIGHT_CLIENT)]


class _Giving:
    def __init__(self, giver: Giver, protocol: ProtocolSpec) -> None:
        self._giver, self._protocol = giver, protocol

    @property
    def protocol(self) -> ProtocolSpec:
        return self._protocol

    def opened(self, peer: Peer) -> None:
        if self._protocol is SYNC:
            peer.send(
                SYNC, SYNC_MESSAGE.pack(GetHeaders(hash_stop=ZERO, block_locator_hashes=[self._giver.genesis.hash]))
            )

    def received(self, peer: Peer, payload: bytes) -> None:
        if self._protocol is SYNC:
            message = SYNC_MESSAGE.parse(payload)
            assert isinstance(message, InIBD)  # whoever asks for the genesis block here is banned
            self._giver.asked.append(message)
            return
        for answer in self._giver.answer(self._protocol, payload):
            peer.send(self._protocol, answer)

    def closed(self, peer: Peer) -> None:
        """Nothing is kept."""
