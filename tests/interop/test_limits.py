"""Rules with an edge: proposal window, maturity of cellbases, uncles' places, sizes, cycles, times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.types.blockchain import CellInput, CellOutput, OutPoint, RawTransaction, Transaction
from tests.interop.kit_block import block_of, uncle_of
from tests.interop.kit_chain import Mirror, mirror_of
from tests.interop.kit_hash import header_hash
from tests.interop.kit_json import Json, packed_block
from tests.interop.kit_mirror import assert_same_chain, tip_hash
from tests.interop.kit_sign import Single, signed
from tests.interop.kit_verdict import block_with, common_verdict, same_verdict
from tests.support.builders.wallet import CKB, sighash_dep
from tests.support.nodes.reference import CELLS, pair_of_nodes, spec_text

pytestmark = pytest.mark.timeout(900)

CLOSEST, FARTHEST = 2, 10
MAX_BYTES, START_BYTES = 20_000, 1000


def verdict(mirror: Mirror, **content: object) -> bool:
    """Of a block with this content on the tip."""
    return same_verdict(mirror, block_with(mirror, mirror.filled(**content) | {"uncles": []}))  # type: ignore[arg-type]


def test_the_proposal_window(mirror: Mirror) -> None:
    mirror.mine(2)
    payment = mirror.transfer(mirror.alice, mirror.bob.wallet.lock, 100 * CKB)
    assert not verdict(mirror, commit=[payment])
    assert not verdict(mirror, commit=[payment], propose=[payment])
    mirror.mine(propose=[payment])
    seen = []
    for distance in range(1, FARTHEST + 3):
        if verdict(mirror, commit=[payment]):
            seen.append(distance)
        mirror.mine()
    assert seen == list(range(CLOSEST, FARTHEST + 1))
    assert_same_chain(mirror.pair)


def cellbase_spender(mirror: Mirror, number: int) -> Transaction:
    """Spends the reward in a block, which is Alice's."""
    block = packed_block(mirror.source.call("get_block_by_number", hex(number), "0x0"))
    cellbase = block.transactions[0]
    output = cellbase.body.outputs[0]
    body = RawTransaction(
        version=0,
        cell_deps=[sighash_dep(mirror.consensus)],
        header_deps=[],
        inputs=[CellInput(since=0, previous_output=OutPoint(tx_hash=cellbase.hash, index=0))],
        outputs=[CellOutput(capacity=output.capacity - CKB, lock=output.lock, type_=None)],
        outputs_data=[b""],
    )
    return signed(body, [(Single(mirror.alice.wallet), [0])])


@pytest.mark.parametrize("maturity", [1, 2])
def test_rewards_ripen(tmp_path: Path, direction: str, maturity: int) -> None:
    with pair_of_nodes(tmp_path, spec_text(Path(CELLS), cellbase_maturity=maturity)) as pair:
        mirror = mirror_of(pair, direction)
        first = 14
        mirror.mine(first)
        spender = cellbase_spender(mirror, first)
        ripe_at = []
        for _ in range(maturity * 10 + 4):
            mirror.mine(propose=[spender])
            if verdict(mirror, commit=[spender]):
                ripe_at.append(mirror.source.tip() + 1)
        assert ripe_at
        assert ripe_at == list(range(ripe_at[0], mirror.source.tip() + 2))
        assert ripe_at[0] == first + maturity * 10
        assert_same_chain(pair)


def test_where_uncles_may_come_from(mirror: Mirror) -> None:
    """Depths, epochs, uncles of uncles, uncles twice."""
    mirror.mine(2)
    found: list[Json] = []
    for _ in range(14):
        template = mirror.template() | {"uncles": []}
        mirror.mine(uncles=[])
        found.append(uncle_of(mirror, template, 500))
    inside = []
    for uncle in found:
        block = block_of(mirror.template() | {"uncles": []}) | {"uncles": [uncle]}
        if same_verdict(mirror, block):
            inside.append(int(uncle["header"]["number"], 16))
    # Of this epoch only.
    assert inside == [10, 11, 12, 13, 14, 15, 16]
    first, second = found[-2:]
    assert same_verdict(mirror, block_of(mirror.template()) | {"uncles": [first, second]})
    assert same_verdict(mirror, block_of(mirror.template()) | {"uncles": [second, first]})
    assert not same_verdict(mirror, block_of(mirror.template()) | {"uncles": [first, first]})
    # A child of an uncle that the chain does not hold, and of one that it does.
    child_header = second["header"] | {"parent_hash": header_hash(first["header"])}
    child = {"header": child_header, "proposals": []}
    assert not same_verdict(mirror, block_of(mirror.template()) | {"uncles": [child]})
    assert same_verdict(mirror, block_of(mirror.template()) | {"uncles": [first, child]})
    assert not same_verdict(mirror, block_of(mirror.template()) | {"uncles": [child, first]})
    mirror.copy(_submitted(mirror, block_of(mirror.template()) | {"uncles": [first]}))
    assert same_verdict(mirror, block_of(mirror.template()) | {"uncles": [child]})
    assert not same_verdict(mirror, block_of(mirror.template()) | {"uncles": [first]})
    assert_same_chain(mirror.pair)


def _submitted(mirror: Mirror, block: Json) -> str:
    answer: str = mirror.source.call("submit_block", "0x0", block)
    return answer


def test_times(mirror: Mirror) -> None:
    """Later than the median of 37, and not far in the future."""
    start = 1_600_000_000_000
    for step in range(45):
        mirror.mine(current_time=hex(start + step * 1000))
    median = int(mirror.source.call("get_block_median_time", tip_hash(mirror.source)), 16)
    assert median == start + (44 - 18) * 1000
    for time_ms, good in ((median - 1, False), (median, False), (median + 1, True), (median + 1_000_000, True)):
        block = block_of(mirror.template() | {"uncles": [], "current_time": hex(time_ms)})
        assert same_verdict(mirror, block) is good
    assert_same_chain(mirror.pair)


@pytest.fixture
def narrow(tmp_path: Path, direction: str) -> Iterator[Mirror]:
    """A chain of small blocks."""
    text = spec_text(Path(CELLS), max_block_bytes=MAX_BYTES, max_block_cycles=3_500_000, max_block_proposals_limit=5)
    with pair_of_nodes(tmp_path, text) as pair:
        yield mirror_of(pair, direction)


def test_sizes_and_cycles(narrow: Mirror) -> None:
    mirror = narrow
    payments = [mirror.transfer(mirror.alice, mirror.bob.wallet.lock, 100 * CKB) for _ in range(5)]
    mirror.mine(propose=payments)
    mirror.mine()
    # Each transfer takes about 1.6 million cycles. The words differ: ours stops at what is left for a transaction.
    for count in range(1, 6):
        block = block_with(mirror, mirror.filled(commit=payments[:count]) | {"uncles": []})
        is_good, theirs, ours = common_verdict(mirror, block)
        assert is_good is (count <= 2)
        assert is_good or "ExceededMaximumCycles" in theirs
        assert is_good or "ExceededMaximumCycles" in ours
    ids = ["0x" + number.to_bytes(10, "little").hex() for number in range(1, 8)]
    assert verdict(mirror, proposals=ids[:5])
    assert not verdict(mirror, proposals=ids[:6])
    spare = MAX_BYTES - _block_size_with(mirror, _filler(mirror, START_BYTES)) + START_BYTES
    fillers = [_filler(mirror, size) for size in (spare, spare + 1)]
    mirror.mine(propose=fillers)
    mirror.mine()
    assert [verdict(mirror, commit=[filler]) for filler in fillers] == [True, False]
    assert_same_chain(mirror.pair)


def _filler(mirror: Mirror, size: int) -> Transaction:
    """A transaction of Bob's with an output of so many bytes; his purse stays as it is."""
    output = CellOutput(capacity=2 * MAX_BYTES * CKB, lock=mirror.bob.wallet.lock, type_=None)
    return mirror.spend(replace(mirror.bob), [output], [bytes(size)])


def _block_size_with(mirror: Mirror, transaction: Transaction) -> int:
    """Bytes of a block with just this transaction, proposed before."""
    mirror.mine(propose=[transaction])
    mirror.mine()
    view = mirror.make(mirror.filled(commit=[transaction]) | {"uncles": []})
    size = len(packed_block(mirror.source.call("get_block", view, "0x0")).raw)
    mirror.source.call("truncate", mirror.source.call("get_tip_header")["parent_hash"])
    return size
