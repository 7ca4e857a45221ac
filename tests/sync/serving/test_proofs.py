"""Proofs, checked as a light client checks them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from random import Random
from typing import Any, TypeVar

import pytest

from ckb_node.sync.serving import proofs
from ckb_node.sync.serving.errors import RefusedQuestion, UnansweredQuestion
from consensus.codec.molecule import Composite
from consensus.crypto.hashing import ckb_hash, ckb_hash_concat
from consensus.crypto.merkle import TreeProof, merkle_root, proof_root
from consensus.rules.mmr import digest_hash, leaf_digest
from consensus.rules.mmr_proof import proven_root
from consensus.types.blockchain import Header
from consensus.types.core import HeaderDigest
from consensus.types.extensions import FilteredBlock, VerifiableHeader
from network.ckb_wire.compression import compress
from network.limits import LIGHT_CLIENT
from network.messages.protocols import (
    LIGHT_CLIENT_MESSAGE,
    GetBlocksProof,
    GetLastStateProof,
    GetTransactionsProof,
    SendBlocksProof,
    SendLastStateProof,
    SendTransactionsProof,
)
from network.peers.penalties import Misbehaviour
from storage.chain_store import ChainView
from tests.sync.serving.kit_chain import FORK_AT, HEIGHT, StoredChain, stored_chain

M = TypeVar("M", bound=Composite)
MALFORMED = Misbehaviour.LIGHT_CLIENT_400_MALFORMED


@pytest.fixture(scope="module")
def chain() -> StoredChain:
    return stored_chain()


@pytest.fixture
def view(chain: StoredChain) -> Iterator[ChainView]:
    with chain.store.view() as view:
        yield view


def finish(answer: Generator[None, None, M]) -> M:
    """The message, as it comes over the wire."""
    while True:
        try:
            next(answer)
        except StopIteration as end:
            message: M = end.value
            read = LIGHT_CLIENT_MESSAGE.parse(LIGHT_CLIENT_MESSAGE.pack(message))
            assert isinstance(read, type(message))
            return read


def check_verifiable(header: VerifiableHeader) -> None:
    """Its extra hash commits to the uncles, and to the chain root."""
    extra = header.uncles_hash
    if header.extension is not None:
        extra = ckb_hash_concat(extra, ckb_hash(header.extension))
        assert header.extension[:32] == digest_hash(header.parent_chain_root.raw)
    assert header.header.extra_hash == extra


def check_proof(last: VerifiableHeader, headers: Sequence[Header], proof: Sequence[HeaderDigest]) -> None:
    check_verifiable(last)
    if not headers:
        assert not proof
        return
    leaves = {header.number: leaf_digest(header) for header in headers}
    nodes = [node.raw for node in proof]
    assert proven_root(last.header.number, leaves, nodes) == last.parent_chain_root.raw


def is_tip_alone(chain: StoredChain, message: SendLastStateProof | SendBlocksProof | SendTransactionsProof) -> bool:
    """The base form of the answer, with nothing but the tip."""
    check_verifiable(message.last_header)
    if isinstance(message, SendLastStateProof):
        counts = [len(message.headers)]
    elif isinstance(message, SendBlocksProof):
        counts = [len(message.headers), len(message.missing_block_hashes)]
        assert message.blocks_extension is message.blocks_uncles_hash is None
    else:
        counts = [len(message.filtered_blocks), len(message.missing_tx_hashes)]
        assert message.blocks_extension is message.blocks_uncles_hash is None
    return message.last_header.header == chain.tip.header and not any([len(message.proof), *counts])


def state_question(
    chain: StoredChain, last: int, start: int, last_n: int, boundary: int = 1 << 200, difficulties: Sequence[int] = ()
) -> GetLastStateProof:
    return GetLastStateProof(
        last_hash=chain.blocks[last].hash,
        start_hash=chain.blocks[start].hash,
        start_number=start,
        last_n_blocks=last_n,
        difficulty_boundary=boundary,
        difficulties=difficulties,
    )


def numbers(message: SendLastStateProof) -> list[int]:
    return [header.header.number for header in message.headers]


def test_the_tip(chain: StoredChain, view: ChainView) -> None:
    message = finish(proofs.last_state(view))
    assert message.last_header.header == chain.tip.header
    check_verifiable(message.last_header)


def test_the_tip_of_a_chain_of_one_block() -> None:
    chain = stored_chain(0)
    with chain.store.view() as view:
        message = finish(proofs.last_state(view))
        assert message.last_header.header.number == 0
        assert message.last_header.parent_chain_root.raw == bytes(120)


# The last state


@pytest.mark.parametrize("last", [1, 2, 3, 7, 8, 64, 65, HEIGHT])
def test_all_blocks_of_a_short_way(chain: StoredChain, view: ChainView, last: int) -> None:
    for start in (0, last // 2, last - 1, last):
        message = finish(proofs.last_state_proof(view, state_question(chain, last, start, 500)))
        assert numbers(message) == list(range(start, last))
        check_proof(message.last_header, [each.header for each in message.headers], message.proof)
        for header in message.headers:
            if header.header.number:
                check_verifiable(header)


def test_samples(chain: StoredChain, view: ChainView) -> None:
    totals = {block.number: view.block_ext(block.hash) for block in chain.blocks}
    total = {number: ext.total_difficulty for number, ext in totals.items() if ext is not None}
    difficulties = [total[30] - 1, total[30] + 1, total[61]]
    message = finish(proofs.last_state_proof(view, state_question(chain, 110, 10, 5, total[90], difficulties)))
    assert numbers(message) == [30, 31, 61, *range(90, 110)]
    check_proof(message.last_header, [each.header for each in message.headers], message.proof)


def test_blocks_before_an_abandoned_branch(chain: StoredChain, view: ChainView) -> None:
    question = state_question(chain, 110, FORK_AT + 2, 20).replace(start_hash=chain.branch[1].hash)
    message = finish(proofs.last_state_proof(view, question))
    assert numbers(message) == [*range(FORK_AT - 18, FORK_AT + 2), *range(FORK_AT + 2, 110)]
    check_proof(message.last_header, [each.header for each in message.headers], message.proof)


@pytest.mark.parametrize(
    ("question", "cost"),
    [
        ({"difficulties": [5, 5]}, Misbehaviour.LIGHT_CLIENT_410_INVALID_REQUEST),
        ({"difficulties": [5], "boundary": 5}, Misbehaviour.LIGHT_CLIENT_410_INVALID_REQUEST),
        ({"difficulties": [1]}, Misbehaviour.LIGHT_CLIENT_410_INVALID_REQUEST),
        ({"last_n": 3}, Misbehaviour.LIGHT_CLIENT_413_BAD_DIFFICULTY_BOUNDARY),
    ],
)
def test_questions_that_cost(chain: StoredChain, view: ChainView, question: dict[str, Any], cost: Misbehaviour) -> None:
    values: dict[str, Any] = {"last": 100, "start": 50, "last_n": 100} | question
    with pytest.raises(RefusedQuestion) as caught:
        finish(proofs.last_state_proof(view, state_question(chain, **values)))
    assert caught.value.misbehaviour is cost


@pytest.mark.parametrize("start", [51, HEIGHT, HEIGHT + 1, HEIGHT + 2, (1 << 64) - 1])
def test_a_range_above_its_end_is_no_fault(chain: StoredChain, view: ChainView, start: int) -> None:
    question = state_question(chain, 50, 1, 5).replace(start_number=start)
    with pytest.raises(UnansweredQuestion):
        finish(proofs.last_state_proof(view, question))


def test_a_low_boundary_asks_for_no_more_than_a_message_holds(
    chain: StoredChain, view: ChainView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All blocks from the boundary on belong to the answer, however few the client says to want."""
    monkeypatch.setattr(proofs, "MAX_HEADERS", 50)
    finish(proofs.last_state_proof(view, state_question(chain, 110, 60, 0, boundary=0)))
    for start in (0, 59):
        answer = proofs.last_state_proof(view, state_question(chain, 110, start, 0, boundary=0))
        with pytest.raises(UnansweredQuestion):
            finish(answer)


def test_what_a_frame_holds_is_answered(chain: StoredChain, view: ChainView) -> None:
    """So many headers do not go into a frame, however well they are compressed: no answer is missed."""
    message = finish(proofs.last_state_proof(view, state_question(chain, HEIGHT, 1, 0, boundary=0)))
    frame = compress(LIGHT_CLIENT_MESSAGE.pack(message))
    assert frame is not None
    assert len(frame) / len(message.headers) * proofs.MAX_HEADERS > LIGHT_CLIENT.max_frame


@pytest.mark.parametrize("start", [0, 1, 5])
def test_the_genesis_block_as_the_last(chain: StoredChain, view: ChainView, start: int) -> None:
    assert is_tip_alone(chain, finish(proofs.last_state_proof(view, state_question(chain, 0, start, 5))))


@pytest.mark.parametrize(
    ("last_n", "difficulties", "is_allowed"),
    [
        (500, 0, True),
        (499, 2, True),
        (0, 1000, True),
        (500, 1, False),
        (501, 0, False),
        (0, 1001, False),
        (1 << 63, 0, False),
        ((1 << 64) - 1, 0, False),
    ],
)
def test_most_samples(chain: StoredChain, last_n: int, difficulties: int, is_allowed: bool) -> None:
    question = state_question(chain, 50, 1, last_n, difficulties=range(difficulties))
    if is_allowed:
        proofs.refuse_excess(question)
        return
    with pytest.raises(RefusedQuestion) as caught:
        proofs.refuse_excess(question)
    assert caught.value.misbehaviour is MALFORMED


# Blocks


def blocks_question(chain: StoredChain, last: int, hashes: Sequence[bytes]) -> GetBlocksProof:
    return GetBlocksProof(last_hash=chain.blocks[last].hash, block_hashes=hashes)


def test_blocks(chain: StoredChain, view: ChainView) -> None:
    rng = Random(2)
    for _ in range(50):
        last = rng.randrange(2, HEIGHT + 1)
        found = [chain.blocks[number] for number in rng.sample(range(last), k=rng.randrange(1, min(last, 20)))]
        missing = [rng.randbytes(32), chain.branch[0].hash][: rng.randrange(3)]
        hashes = [block.hash for block in found] + missing
        message = finish(proofs.blocks_proof(view, blocks_question(chain, last, hashes)))
        assert [header.hash for header in message.headers] == [block.hash for block in found]
        assert message.missing_block_hashes == missing
        check_proof(message.last_header, message.headers, message.proof)
        check_extras(message, message.headers)


def check_extras(message: SendBlocksProof | SendTransactionsProof, headers: Sequence[Header]) -> None:
    uncles, extensions = message.blocks_uncles_hash, message.blocks_extension
    assert uncles is not None
    assert extensions is not None
    for header, uncle_hash, extension in zip(headers, uncles, extensions, strict=True):
        extra = uncle_hash if extension is None else ckb_hash_concat(uncle_hash, ckb_hash(extension))
        assert header.extra_hash == extra


def test_no_block_is_found(chain: StoredChain, view: ChainView) -> None:
    message = finish(proofs.blocks_proof(view, blocks_question(chain, 9, [bytes(32)])))
    assert message.missing_block_hashes == [bytes(32)]
    assert (message.blocks_extension, message.blocks_uncles_hash) == ([], [])
    check_proof(message.last_header, [], message.proof)


@pytest.mark.parametrize("above", [50, 51, HEIGHT])
def test_a_block_that_is_not_below(chain: StoredChain, view: ChainView, above: int) -> None:
    hashes = [chain.blocks[3].hash, chain.blocks[above].hash]
    error = RefusedQuestion if above == 50 else UnansweredQuestion
    with pytest.raises(error):
        finish(proofs.blocks_proof(view, blocks_question(chain, 50, hashes)))


def test_a_block_twice(chain: StoredChain, view: ChainView) -> None:
    with pytest.raises(RefusedQuestion) as caught:
        finish(proofs.blocks_proof(view, blocks_question(chain, 50, [b"\1" * 32, b"\1" * 32])))
    assert caught.value.misbehaviour is MALFORMED


@pytest.mark.parametrize(("count", "is_allowed"), [(0, False), (1, True), (1000, True), (1001, False)])
def test_how_many_at_once(count: int, is_allowed: bool) -> None:
    hashes = [bytes(32)] * count
    for question in (
        GetBlocksProof(last_hash=bytes(32), block_hashes=hashes),
        GetTransactionsProof(last_hash=bytes(32), tx_hashes=hashes),
    ):
        if is_allowed:
            proofs.refuse_excess(question)
            continue
        with pytest.raises(RefusedQuestion) as caught:
            proofs.refuse_excess(question)
        assert caught.value.misbehaviour is MALFORMED


def test_an_unknown_last_block(chain: StoredChain, view: ChainView) -> None:
    for last_hash in (bytes(32), chain.branch[-1].hash, chain.blocks[0].hash):
        question = blocks_question(chain, 1, [chain.blocks[3].hash] * 2).replace(last_hash=last_hash)
        assert is_tip_alone(chain, finish(proofs.blocks_proof(view, question)))
        transactions = GetTransactionsProof(last_hash=last_hash, tx_hashes=[bytes(32)])
        assert is_tip_alone(chain, finish(proofs.transactions_proof(view, transactions)))
        state = state_question(chain, 1, 1, 1).replace(last_hash=last_hash)
        assert is_tip_alone(chain, finish(proofs.last_state_proof(view, state)))


# Transactions


def transactions_question(chain: StoredChain, last: int, hashes: Sequence[bytes]) -> GetTransactionsProof:
    return GetTransactionsProof(last_hash=chain.blocks[last].hash, tx_hashes=hashes)


def check_filtered(block: FilteredBlock) -> None:
    """The transactions are in it."""
    tree = TreeProof(tuple(block.proof.indices), tuple(block.proof.lemmas))
    root = proof_root(tree, [tx.hash for tx in block.transactions])
    assert merkle_root([root, block.witnesses_root]) == block.header.transactions_root


def test_transactions(chain: StoredChain, view: ChainView) -> None:
    rng = Random(4)
    for _ in range(50):
        last = rng.randrange(2, HEIGHT + 1)
        below = [tx for block, tx in chain.transactions() if block.number < last]
        found = rng.sample(below, k=rng.randrange(1, min(30, len(below))))
        missing = [rng.randbytes(32) for _ in range(rng.randrange(3))]
        missing += [tx.hash for tx in chain.branch[0].transactions[: rng.randrange(2)]]
        hashes = [tx.hash for tx in found] + missing
        rng.shuffle(hashes)
        message = finish(proofs.transactions_proof(view, transactions_question(chain, last, hashes)))
        got = [tx for block in message.filtered_blocks for tx in block.transactions]
        assert sorted(tx.hash for tx in got) == sorted(tx.hash for tx in found)
        assert {tx.raw for tx in got} == {tx.raw for tx in found}, "with their witnesses"
        assert message.missing_tx_hashes == [each for each in hashes if each in missing]
        headers = [block.header for block in message.filtered_blocks]
        check_proof(message.last_header, headers, message.proof)
        check_extras(message, headers)
        for block in message.filtered_blocks:
            check_filtered(block)


def test_no_transaction_is_found(chain: StoredChain, view: ChainView) -> None:
    message = finish(proofs.transactions_proof(view, transactions_question(chain, 9, [bytes(32)])))
    assert (message.filtered_blocks, message.missing_tx_hashes) == ([], [bytes(32)])
    assert (message.blocks_extension, message.blocks_uncles_hash) == ([], [])


@pytest.mark.parametrize("number", [50, 51])
def test_a_transaction_that_is_not_below(chain: StoredChain, view: ChainView, number: int) -> None:
    hashes = [chain.blocks[3].transactions[0].hash, chain.blocks[number].transactions[0].hash]
    with pytest.raises(UnansweredQuestion):
        finish(proofs.transactions_proof(view, transactions_question(chain, 50, hashes)))


def test_a_transaction_twice(chain: StoredChain, view: ChainView) -> None:
    """Of a block of one transaction this stops the reference."""
    alone = next(block for block in chain.blocks[1:] if len(block.transactions) == 1)
    many = next(block for block in chain.blocks if len(block.transactions) > 5)
    for block in (alone, many):
        tx = block.transactions[-1]
        message = finish(proofs.transactions_proof(view, transactions_question(chain, HEIGHT, [tx.hash, tx.hash])))
        (filtered,) = message.filtered_blocks
        assert [each.hash for each in filtered.transactions] == [tx.hash] * 2


def test_transactions_that_no_message_holds(
    chain: StoredChain, view: ChainView, monkeypatch: pytest.MonkeyPatch
) -> None:
    tx = chain.blocks[3].transactions[0]
    monkeypatch.setattr(proofs, "MAX_TRANSACTIONS_BYTES", 2 * tx.raw_size)
    finish(proofs.transactions_proof(view, transactions_question(chain, 50, [tx.hash] * 2)))
    with pytest.raises(UnansweredQuestion):
        finish(proofs.transactions_proof(view, transactions_question(chain, 50, [tx.hash] * 3)))
