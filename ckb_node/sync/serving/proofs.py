"""Answers to light clients' questions for proofs: of a tip, of blocks, of transactions (RFC 44).

Each is worked out in slices: it yields wherever it may be interrupted, and returns the message. Whatever happens to
the chain meanwhile, one answer sees one state of it. Which questions are refused, and at which cost, is as in the
reference. Some that stop it do no harm here: with the genesis block as the last one the tip is told, as with unknown
blocks, since there is no chain before it; of a range that begins above its end nothing is said.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final, TypeVar

from ckb_node.sync.serving.errors import RefusedQuestion, UnansweredQuestion
from ckb_node.sync.serving.proved_chain import ProvedChain
from ckb_node.sync.serving.sampling import (
    MAX_SAMPLES,
    BadDifficulties,
    BoundaryNotFound,
    SampledBlocks,
    StartAboveLast,
    sample_blocks,
)
from consensus.crypto.merkle import build_loose_proof, merkle_root
from consensus.lookup import require
from consensus.types.blockchain import Block, Header, uncles_hash
from consensus.types.extensions import FilteredBlock, MerkleProof, VerifiableHeader
from network.limits import LIGHT_CLIENT, MAX_UNCOMPRESSED
from network.messages.protocols import (
    GetBlocksProof,
    GetLastStateProof,
    GetTransactionsProof,
    SendBlocksProof,
    SendLastState,
    SendLastStateProof,
    SendTransactionsProof,
)
from network.peers.penalties import Misbehaviour
from storage.block_extra import BlockExtra
from storage.chain_state import ChainState

__all__ = [
    "MAX_HEADERS",
    "MAX_ITEMS",
    "blocks_proof",
    "last_state",
    "last_state_proof",
    "refuse_excess",
    "transactions_proof",
]

MAX_ITEMS: Final = 1000
"""Blocks or transactions of one question."""
MAX_LAST_BLOCKS: Final = MAX_SAMPLES // 2
MAX_HEADERS: Final = LIGHT_CLIENT.max_frame // 240
"""Of a proof of the last state. Of each header some 240 bytes cannot be compressed, so that no frame holds more. The
question does not tell how many they are: all blocks from its boundary on."""
MAX_TRANSACTIONS_BYTES: Final = MAX_UNCOMPRESSED
"""Of all transactions of an answer; nobody could receive more."""

M = TypeVar("M")
Answer = Generator[None, None, M]
ProofQuestion = GetLastStateProof | GetBlocksProof | GetTransactionsProof


def refuse_excess(question: ProofQuestion) -> None:
    """What is seen without the chain. Raises RefusedQuestion."""
    malformed = Misbehaviour.LIGHT_CLIENT_400_MALFORMED
    if isinstance(question, GetLastStateProof):
        last_n = question.last_n_blocks
        if last_n > MAX_LAST_BLOCKS or len(question.difficulties) + 2 * last_n > MAX_SAMPLES:
            raise RefusedQuestion(malformed, "too many samples")
        return
    items = question.block_hashes if isinstance(question, GetBlocksProof) else question.tx_hashes
    if not 0 < len(items) <= MAX_ITEMS:
        raise RefusedQuestion(malformed, f"{len(items)} items")


def last_state(state: ChainState) -> Answer[SendLastState]:
    """The tip."""
    yield
    return SendLastState(last_header=_tip(state))


def last_state_proof(state: ChainState, question: GetLastStateProof) -> Answer[SendLastStateProof]:
    """That the client's chain leads to the asked tip, shown by the last blocks and by samples.

    Raises RefusedQuestion, UnansweredQuestion, StorageError, ChainDataError.
    """
    last = _last_header(state, question.last_hash)
    if last is None:
        return SendLastStateProof(last_header=_tip(state), proof=[], headers=[])
    chain = ProvedChain(state)
    numbers = yield from _sampled(state, chain, last, question)
    headers: list[VerifiableHeader] = []
    for number in numbers:
        headers.append(chain.header(chain.hash_at(number)))
        yield
    proof = yield from chain.prove(last.number, numbers)
    return SendLastStateProof(last_header=chain.header(last.hash), proof=proof, headers=headers)


def blocks_proof(state: ChainState, question: GetBlocksProof) -> Answer[SendBlocksProof]:
    """That blocks are below the asked one, or that they are not on the main chain. Raises as `last_state_proof`."""
    last = _last_header(state, question.last_hash)
    if last is None:
        return SendBlocksProof(last_header=_tip(state), proof=[], headers=[], missing_block_hashes=[])
    hashes = list(question.block_hashes)
    if len({*hashes, last.hash}) <= len(hashes):
        raise RefusedQuestion(Misbehaviour.LIGHT_CLIENT_400_MALFORMED, "a block twice")
    chain = ProvedChain(state)
    extras, missing = [], []
    for block_hash in hashes:
        if not state.is_main(block_hash):
            missing.append(block_hash)
            continue
        extra = chain.extra_of(block_hash)
        _check_below(last, extra.header.number)
        extras.append(extra)
        yield
    proof = yield from chain.prove(last.number, [extra.header.number for extra in extras])
    return SendBlocksProof(
        last_header=chain.header(last.hash),
        proof=proof,
        headers=[extra.header for extra in extras],
        missing_block_hashes=missing,
        blocks_uncles_hash=[extra.uncles_hash for extra in extras],
        blocks_extension=[extra.extension for extra in extras],
    )


def transactions_proof(state: ChainState, question: GetTransactionsProof) -> Answer[SendTransactionsProof]:
    """That transactions are in blocks below the asked one, or not on the main chain. Raises as `last_state_proof`."""
    last = _last_header(state, question.last_hash)
    if last is None:
        return SendTransactionsProof(last_header=_tip(state), proof=[], filtered_blocks=[], missing_tx_hashes=[])
    places, missing = yield from _places(state, last, question.tx_hashes)
    chain = ProvedChain(state)
    filtered: list[FilteredBlock] = []
    extras: list[BlockExtra] = []
    for block_hash, indices in places.items():
        block = require(state.block(block_hash), "block", block_hash)
        yield
        filtered.append(_filtered(block, indices))
        # A header of its own, since that of the block keeps all of the block's bytes.
        header = Header.trusted(block.header.raw)
        extras.append(BlockExtra(header, uncles_hash(block.uncles), block.extension))
        yield
    proof = yield from chain.prove(last.number, [extra.header.number for extra in extras])
    return SendTransactionsProof(
        last_header=chain.header(last.hash),
        proof=proof,
        filtered_blocks=filtered,
        missing_tx_hashes=missing,
        blocks_uncles_hash=[extra.uncles_hash for extra in extras],
        blocks_extension=[extra.extension for extra in extras],
    )


def _tip(state: ChainState) -> VerifiableHeader:
    return ProvedChain(state).header(state.tip_header().hash)


def _last_header(state: ChainState, last_hash: bytes) -> Header | None:
    """Header of the asked last block; None when it is not on the main chain, or the genesis block."""
    header = state.header(last_hash)
    if header is None or not header.number or state.main_hash(header.number) != last_hash:
        return None
    return header


def _check_below(last: Header, number: int) -> None:
    if number >= last.number:
        raise UnansweredQuestion(f"block {number} is not below block {last.number}")


def _sampled(state: ChainState, chain: ProvedChain, last: Header, question: GetLastStateProof) -> Answer[list[int]]:
    start = question.start_number
    asked = SampledBlocks(
        tip=state.tip_header().number,
        start=start,
        last=last.number,
        last_n=question.last_n_blocks,
        boundary=question.difficulty_boundary,
        difficulties=list(question.difficulties),
        is_on_branch=start > 0 and (start > last.number or state.main_hash(start) != question.start_hash),
    )
    numbers: list[int] = []
    try:
        for number in sample_blocks(asked, chain.total_difficulty):
            numbers.append(number)
            if len(numbers) > MAX_HEADERS:
                raise UnansweredQuestion(f"more than {MAX_HEADERS} headers, which no message holds")
            yield
    except BadDifficulties as error:
        raise RefusedQuestion(Misbehaviour.LIGHT_CLIENT_410_INVALID_REQUEST, str(error)) from None
    except BoundaryNotFound as error:
        raise RefusedQuestion(Misbehaviour.LIGHT_CLIENT_413_BAD_DIFFICULTY_BOUNDARY, str(error)) from None
    except StartAboveLast as error:
        raise UnansweredQuestion(str(error)) from None
    return numbers


def _places(
    state: ChainState, last: Header, hashes: Sequence[bytes]
) -> Answer[tuple[dict[bytes, list[int]], list[bytes]]]:
    """For each block the transactions that are asked of it, both in the order of the question; those that are on no
    block of the main chain."""
    places: dict[bytes, list[int]] = {}
    missing, size = [], 0
    for tx_hash in hashes:
        record = state.transaction_record(tx_hash)
        if record is None:
            missing.append(tx_hash)
            continue
        _check_below(last, record.block_number)
        size += record.length
        places.setdefault(record.block_hash, []).append(record.tx_index)
        yield
    if size > MAX_TRANSACTIONS_BYTES:
        raise UnansweredQuestion(f"the transactions have {size} bytes, more than a message may have")
    return places, missing


def _filtered(block: Block, indices: Sequence[int]) -> FilteredBlock:
    transactions = block.transactions
    proof = build_loose_proof([tx.hash for tx in transactions], indices)
    return FilteredBlock(
        header=block.header,
        witnesses_root=merkle_root([tx.witness_hash for tx in transactions]),
        transactions=[transactions[index] for index in indices],
        proof=MerkleProof(indices=proof.indices, lemmas=proof.lemmas),
    )
