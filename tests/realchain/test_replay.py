"""The first blocks of the public chains, verified in full on their real genesis blocks: mainnet to 99, testnet to 15.

Work, epochs, uncles, commitments, two-step proposals, scripts with exact cycles, fees, rewards, DAO fields: each block
is accepted, and none of its neighbours is in which one of these differs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from struct import pack, unpack

import pytest

from ckb_node.chain.events import Verdict
from consensus.errors import CkbError
from consensus.params import PowFunc
from consensus.rules.block import CellbaseError
from consensus.rules.block_contextual import DaoFieldMismatchError
from consensus.rules.epoch import EpochTargetMismatchError
from consensus.rules.pow import PowError
from consensus.rules.two_phase import NotProposedError
from consensus.rules.verify_block import BlockTransactionError
from consensus.types.blockchain import Block, Transaction
from tests.realchain.cycles import CYCLES
from tests.realchain.kinds import MAINNET, TESTNET
from tests.realchain.kit_replay import new_chain
from tests.realchain.public import PublicChain
from tests.realchain.vectors import FIRST_BLOCKS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("network", [MAINNET, TESTNET])
def test_the_first_blocks_are_accepted(chains: dict[str, PublicChain], network: str) -> None:
    store, writer = new_chain(chains[network].consensus)
    blocks = [real.block for real in FIRST_BLOCKS[network]]
    for block in blocks:
        with pytest.raises(PowError):
            writer.process(block.replace(header=block.header.with_fields(nonce=block.header.nonce ^ 1)))
        assert writer.process(block) is Verdict.BEST
        assert writer.process(block) is Verdict.KNOWN
    with store.view() as view:
        assert view.tip_header() == blocks[-1].header
        for block in blocks:
            ext = view.block_ext(block.hash)
            assert ext is not None
            assert ext.verified
            assert ext.cycles is not None
            assert list(ext.cycles) == [CYCLES[tx.hash.hex()][0] for tx in block.transactions[1:]]
            assert list(ext.txs_sizes or ()) == [tx.raw_size + 4 for tx in block.transactions[1:]]
        last = view.block_ext(blocks[-1].hash)
        assert last is not None
        assert last.total_uncles_count == {MAINNET: 0, TESTNET: 6}[network]


# ---------------------------------------------------------------- neighbours, on chains that ask for no work


def with_dao(position: int) -> Callable[[Block], Block]:
    """One shannon more in a part of the field."""

    def change(block: Block) -> Block:
        parts = list(unpack("<4Q", block.header.dao))
        parts[position] += 1
        return block.replace(header=block.header.with_fields(dao=pack("<4Q", *parts)))

    return change


def with_cellbase_output(block: Block, **changes: object) -> Block:
    cellbase = block.transactions[0]
    output = cellbase.body.outputs[0].replace(**changes)
    changed = Transaction(body=cellbase.body.replace(outputs=[output]), witnesses=cellbase.witnesses)
    return block.replace(transactions=[changed, *block.transactions[1:]]).with_roots()


def with_reward(by: int) -> Callable[[Block], Block]:
    return lambda block: with_cellbase_output(block, capacity=block.transactions[0].body.outputs[0].capacity + by)


def with_another_miner(block: Block) -> Block:
    lock = block.transactions[0].body.outputs[0].lock
    return with_cellbase_output(block, lock=lock.replace(args=bytes(len(lock.args))))


def with_target(block: Block) -> Block:
    return block.replace(header=block.header.with_fields(compact_target=block.header.compact_target + 1))


def with_signature_changed(block: Block) -> Block:
    *others, last = block.transactions
    witness = bytearray(last.witnesses[0])
    witness[-30] ^= 1
    changed = Transaction(body=last.body, witnesses=[bytes(witness), *last.witnesses[1:]])
    return block.replace(transactions=[*others, changed]).with_roots()


def is_any(_: Block) -> bool:
    return True


def pays(block: Block) -> bool:
    return bool(block.transactions[0].body.outputs)


def spends(block: Block) -> bool:
    return len(block.transactions) > 1


NEIGHBOURS: list[tuple[Callable[[Block], Block], type[CkbError], Callable[[Block], bool]]] = [
    *((with_dao(position), DaoFieldMismatchError, is_any) for position in range(4)),
    (with_reward(1), CellbaseError, pays),
    (with_reward(-1), CellbaseError, pays),
    (with_another_miner, CellbaseError, pays),
    (with_target, EpochTargetMismatchError, is_any),
    (with_signature_changed, BlockTransactionError, spends),
]


@pytest.mark.parametrize(("network", "refused"), [(MAINNET, 99 * 5 + 88 * 3 + 25), (TESTNET, 15 * 5 + 4 * 3)])
def test_their_neighbours_are_refused(chains: dict[str, PublicChain], network: str, refused: int) -> None:
    _, writer = new_chain(replace(chains[network].consensus, pow_func=PowFunc.DUMMY))
    tried = 0
    for real in FIRST_BLOCKS[network]:
        for change, error, applies in NEIGHBOURS:
            if applies(real.block):
                with pytest.raises(error):
                    writer.process(change(real.block))
                tried += 1
        assert writer.process(real.block) is Verdict.BEST
    assert tried == refused


def test_a_transaction_comes_no_earlier_than_it_was_proposed(chains: dict[str, PublicChain]) -> None:
    """Transactions of block 11, proposed by 9: block 10 is too early for them, and 11 the first for which it is not."""
    _, writer = new_chain(replace(chains[MAINNET].consensus, pow_func=PowFunc.DUMMY))
    blocks = [real.block for real in FIRST_BLOCKS[MAINNET][:11]]
    for block in blocks[:9]:
        writer.process(block)
    early = blocks[9].replace(transactions=[blocks[9].transactions[0], *blocks[10].transactions[1:]]).with_roots()
    with pytest.raises(NotProposedError):
        writer.process(early)
    assert [writer.process(block) for block in blocks[9:]] == [Verdict.BEST] * 2
