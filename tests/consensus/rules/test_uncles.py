"""Uncles (RFC 20): for each rule one that just passes and one that just fails."""

from __future__ import annotations

import pytest

from consensus.params import PowFunc
from consensus.rules.pow import PowError
from consensus.rules.uncles import TooManyUnclesError, UncleError, UncleFault, verify_uncles
from consensus.types.blockchain import UncleBlock
from consensus.types.core import EpochFraction
from tests.support.builders.blocks import COMPACT_TARGET, a_consensus
from tests.support.chains.valid import ValidChain


@pytest.fixture
def chain() -> ValidChain:
    """Blocks 0 to 5 of epoch 0."""
    chain = ValidChain(a_consensus())
    chain.grow(5)
    return chain


def check(chain: ValidChain, *uncles: UncleBlock) -> None:
    verify_uncles(chain.consensus, chain.next_block(uncles=uncles), chain.next_epoch(), chain)


def assert_fault(fault: UncleFault, chain: ValidChain, *uncles: UncleBlock) -> str:
    with pytest.raises(UncleError) as caught:
        check(chain, *uncles)
    assert caught.value.fault is fault
    assert caught.value.uncle_hash == uncles[-1].hash
    return str(caught.value)


def with_header(uncle: UncleBlock, **fields: object) -> UncleBlock:
    return uncle.replace(header=uncle.header.with_fields(**fields))


def test_up_to_two_uncles_of_any_height(chain: ValidChain) -> None:
    check(chain)
    check(chain, chain.an_uncle(5), chain.an_uncle(1))
    with pytest.raises(TooManyUnclesError) as caught:
        check(chain, chain.an_uncle(3), chain.an_uncle(4), chain.an_uncle(5))
    assert str(caught.value) == "Block(Uncles(OverCount(max: 2, actual: 3)))"


def test_genesis_has_none(chain: ValidChain) -> None:
    block = chain.next_block(uncles=[chain.an_uncle(5)])
    with pytest.raises(TooManyUnclesError):
        verify_uncles(
            chain.consensus, block.replace(header=block.header.with_fields(number=0)), chain.next_epoch(), chain
        )


def test_target_and_epoch_are_the_blocks(chain: ValidChain) -> None:
    assert_fault(UncleFault.TARGET, chain, chain.an_uncle(5, compact_target=COMPACT_TARGET + 1))
    later = EpochFraction(1, 5, 1000).pack()
    assert_fault(UncleFault.EPOCH, chain, chain.an_uncle(5, epoch=later))


def test_only_the_number_of_the_epoch_counts(chain: ValidChain) -> None:
    check(chain, chain.an_uncle(5, epoch=EpochFraction(0, 999, 1000).pack(), version=7, dao=b"\x07" * 32))


def test_it_is_lower_than_the_block(chain: ValidChain) -> None:
    twin = chain.an_uncle(5, number=6, parent_hash=chain.blocks[5].hash)
    assert_fault(UncleFault.NUMBER, chain, twin)
    chain.grow(1)
    check(chain, twin)


def test_its_parent_is_on_the_main_chain(chain: ValidChain) -> None:
    assert_fault(UncleFault.DESCENDANT, chain, chain.an_uncle(5, parent_hash=b"\x05" * 32))
    assert_fault(UncleFault.DESCENDANT, chain, chain.an_uncle(5, parent_hash=chain.blocks[3].hash))


def test_a_stored_parent_off_the_main_chain_is_not_enough(chain: ValidChain) -> None:
    side = chain.blocks[4].replace(header=chain.blocks[4].header.with_fields(timestamp=1))
    chain.store(side, chain.tip_epoch())
    assert_fault(UncleFault.DESCENDANT, chain, chain.an_uncle(5, parent_hash=side.hash))


def test_its_parent_may_be_an_uncle_of_the_main_chain(chain: ValidChain) -> None:
    older = chain.an_uncle(4)
    younger = chain.an_uncle(5, parent_hash=older.hash)
    assert_fault(UncleFault.DESCENDANT, chain, younger)
    chain.attach(chain.next_block(uncles=[older]))
    check(chain, younger)
    assert_fault(UncleFault.DESCENDANT, chain, with_header(younger, number=6))


def test_its_parent_may_be_an_earlier_uncle_of_the_block(chain: ValidChain) -> None:
    older = chain.an_uncle(4)
    younger = chain.an_uncle(5, parent_hash=older.hash)
    check(chain, older, younger)
    with pytest.raises(UncleError) as caught:
        check(chain, younger, older)
    assert caught.value.fault is UncleFault.DESCENDANT
    assert_fault(UncleFault.DESCENDANT, chain, chain.an_uncle(3), chain.an_uncle(5, parent_hash=chain.an_uncle(3).hash))


def test_no_uncle_twice(chain: ValidChain) -> None:
    uncle = chain.an_uncle(4)
    text = assert_fault(UncleFault.DUPLICATE, chain, uncle, uncle)
    assert text == f"Block(Uncles(Duplicate(Byte32(0x{uncle.hash.hex()}))))"
    chain.attach(chain.next_block(uncles=[uncle]))
    text = assert_fault(UncleFault.DOUBLE_INCLUSION, chain, uncle)
    assert text == f"Block(Uncles(DoubleInclusion(Byte32(0x{uncle.hash.hex()}))))"


def test_a_main_block_is_not_an_uncle(chain: ValidChain) -> None:
    main = UncleBlock(header=chain.blocks[4].header, proposals=[])
    assert_fault(UncleFault.DOUBLE_INCLUSION, chain, main)


def test_proposals_limit_and_duplicates(chain: ValidChain) -> None:
    ids = [i.to_bytes(10, "big") for i in range(1501)]
    check(chain, chain.an_uncle(5, ids[:1500]))
    assert_fault(UncleFault.PROPOSALS_LIMIT, chain, chain.an_uncle(5, ids))
    assert_fault(UncleFault.DUPLICATE_PROPOSAL, chain, chain.an_uncle(5, [ids[0], ids[1], ids[0]]))


def test_it_is_solved() -> None:
    chain = ValidChain(a_consensus(pow_func=PowFunc.EAGLESONG))
    chain.grow(2)
    # One hash in 256 meets the target, so some of a few nonces do and some do not.
    solved = set()
    for nonce in range(3000):
        uncle = with_header(chain.an_uncle(2), nonce=nonce)
        try:
            check(chain, uncle)
        except PowError:
            solved.add(False)
        else:
            solved.add(True)
        if solved == {True, False}:
            return
    pytest.fail(f"all nonces gave {solved}")
