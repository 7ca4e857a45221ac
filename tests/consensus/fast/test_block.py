"""The fast path decides as the plain rules do: on ordinary and odd transactions, on spoilt blocks, on spoilt bytes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import fields
from itertools import accumulate, pairwise
from random import Random
from struct import Struct

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from consensus.codec.tx_layout import MAX_LEARNT, TxLayout, TxLayouts, learn_layout
from consensus.crypto.hashing import ckb_hash
from consensus.errors import MoleculeError
from consensus.types.blockchain import (
    HASH_TYPE_TYPE,
    TX_LAYOUTS,
    Block,
    CellbaseWitness,
    Script,
    Transaction,
    out_point_key,
)
from consensus.types.tx_slice import TxSlice
from tests.consensus.fast.kit_agree import agree, block_with, is_valid
from tests.support.builders.blocks import (
    CKB,
    GENESIS_CELL_CAPACITY,
    GENESIS_CELLS,
    a_cellbase,
    a_consensus,
    a_dep,
    a_transaction,
    an_input,
    an_output,
    lock_script,
)
from tests.support.chains.valid import ValidChain
from tests.support.fuzz import examples

DAO = Script(code_hash=b"\xda" * 32, hash_type=HASH_TYPE_TYPE, args=b"")
OTHER_TYPE = Script(code_hash=b"\x77" * 32, hash_type=0, args=b"type")
ABSOLUTE_NUMBER, RELATIVE_EPOCH = 5, 1 << 63 | 1 << 61 | 1 << 40


class Maker:
    """Random transactions over the genesis cells: most ordinary, some odd, some wrong."""

    def __init__(self, chain: ValidChain, random: Random) -> None:
        self.chain, self.random = chain, random
        self.cells = [(chain.genesis_cell(i), GENESIS_CELL_CAPACITY) for i in range(GENESIS_CELLS)]

    def transactions(self, count: int, oddity: float) -> list[Transaction]:
        """In an order that usually is valid; outputs of one may be spent by the next."""
        made = []
        for _ in range(count):
            spent = [
                self.cells.pop(self.random.randrange(len(self.cells))) for _ in range(self.random.choice((1, 1, 2)))
            ]
            transaction = self._spending(spent, oddity)
            made.append(transaction)
            if self.random.random() < oddity:
                output = transaction.body.outputs[0]
                self.cells.append((out_point_key(transaction.hash, 0), output.capacity))
        return made

    def _spending(self, spent: list[tuple[bytes, int]], oddity: float) -> Transaction:
        pick = self.random.choice

        def is_odd() -> bool:
            return self.random.random() < oddity

        total = sum(capacity for _, capacity in spent) - CKB
        types = [pick((None, DAO, OTHER_TYPE)) if is_odd() else None for _ in range(pick((1, 2, 3)))]
        share = total // len(types) + (is_odd() and pick((0, 0, CKB)))
        locks = [
            lock_script(bytes(pick((0, 20))), pick((0, 1, 2, 3, 4, 6)) if is_odd() and is_odd() else 0) for _ in types
        ]
        outputs = [an_output(share, lock, type_) for lock, type_ in zip(locks, types, strict=True)]
        if is_odd() and is_odd():
            outputs.append(an_output(pick((10, 61)) * CKB))
        data = [bytes(8) if type_ is DAO else pick((b"", b"x" * 70)) for type_ in types]
        data += [b""] * (len(outputs) - len(types) - (is_odd() and is_odd() and is_odd()))
        since = pick((0, ABSOLUTE_NUMBER, RELATIVE_EPOCH, 1 << 60)) if is_odd() and is_odd() else 0
        inputs = [an_input(point, since) for point, _ in spent]
        if is_odd() and is_odd() and is_odd():
            inputs.append(inputs[0])
        deps = [a_dep(self.chain.genesis_cell(pick((0, 1))), 0) for _ in range(pick((0, 1, 2)) if is_odd() else 0)]
        headers = [pick((self.chain.consensus.genesis_hash, bytes(32)))] if is_odd() and is_odd() else []
        version = int(is_odd() and is_odd() and is_odd())
        return a_transaction(
            inputs, outputs, data, cell_deps=deps, header_deps=headers, witnesses=[b"w"] * pick((0, 1)), version=version
        )


def candidate(chain: ValidChain, random: Random, oddity: float) -> Block:
    """A block on a chain that proposed its transactions, mostly."""
    transactions = Maker(chain, random).transactions(random.randrange(4), oddity)
    forgotten = random.random() < oddity / 4
    chain.attach(chain.next_block(proposals=sorted({tx.short_id for tx in transactions[forgotten:]})))
    chain.grow(chain.consensus.proposal_window.closest - 1)
    if random.random() < oddity / 4:
        random.shuffle(transactions)
    if transactions and random.random() < oddity / 8:
        transactions.append(transactions[0])
    return block_with(chain, transactions)


@pytest.mark.fuzz
@hypothesis_settings(max_examples=examples(60), deadline=None)
@given(seed=st.integers(0, 1 << 32), oddity=st.sampled_from((0.0, 0.1, 0.4)))
def test_blocks_of_any_transactions(seed: int, oddity: float) -> None:
    random = Random(seed)
    chain = ValidChain(a_consensus(cellbase_maturity_epochs=0))
    chain.grow(random.choice((0, 12)))
    verdict = agree(chain, candidate(chain, random, oddity))
    assert is_valid(verdict) or oddity > 0


HEADER_SPOILS: dict[str, object] = {
    "dao": bytes(32), "number": 7, "epoch": 3, "compact_target": 1, "parent_hash": bytes(32),
    "transactions_root": bytes(32), "proposals_hash": b"\1" * 32, "extra_hash": bytes(32),
}  # fmt: skip


@pytest.mark.parametrize("field", HEADER_SPOILS)
def test_spoilt_headers(field: str) -> None:
    chain = ValidChain(a_consensus())
    chain.grow(12)
    block = chain.next_block()
    spoilt = block.replace(header=block.header.with_fields(**{field: HEADER_SPOILS[field]}))
    assert not is_valid(agree(chain, spoilt))


def spoilt_bodies(chain: ValidChain) -> dict[str, Block]:
    """Blocks with one thing wrong, their roots in order."""
    block = chain.next_block()
    cellbase, number = block.transactions[0], block.number
    out = cellbase.body.outputs[0]

    def with_cellbase(transaction: Transaction) -> Block:
        return block.replace(transactions=[transaction]).with_roots()

    def with_output(**changes: object) -> Block:
        return with_cellbase(a_cellbase(number, [out.replace(**changes)]))

    return {
        "since": with_cellbase(a_cellbase(number + 1, [out])),
        "reward": with_output(capacity=out.capacity + 1),
        "target": with_output(lock=lock_script(b"thief")),
        "type": with_output(type_=OTHER_TYPE),
        "lock": with_output(lock=lock_script(b"miner", 3)),
        "outputs": with_cellbase(a_cellbase(number, [out, out])),
        "nothing": with_cellbase(a_cellbase(number)),
        "witness": with_cellbase(a_cellbase(number, [out], b"?")),
        "no witness": with_cellbase(cellbase.replace(witnesses=[])),
        "data": with_cellbase(cellbase.replace(body=cellbase.body.replace(outputs_data=[b"x"]))),
        "version": with_cellbase(cellbase.replace(body=cellbase.body.replace(version=1))),
        "two": block.replace(transactions=[cellbase, a_cellbase(number, [out], cellbase.witnesses[0])]).with_roots(),
        "another": block.replace(transactions=[cellbase, a_cellbase(number + 1, [out])]).with_roots(),
        "none": block.replace(transactions=[]).with_roots(),
        "proposal twice": block.replace(proposals=[b"1" * 10] * 2).with_roots(),
        "no extension": block.replace(extension=None).with_roots(),
        "empty extension": block.replace(extension=b"").with_roots(),
        "long extension": block.replace(extension=bytes(97)).with_roots(),
        "wrong root": block.replace(extension=bytes(32)).with_roots(),
    }


def test_spoilt_bodies() -> None:
    chain = ValidChain(a_consensus())
    chain.grow(12)
    for name, block in spoilt_bodies(chain).items():
        assert not is_valid(agree(chain, block)), name


def test_limits() -> None:
    chain = ValidChain(a_consensus(max_block_proposals=1))
    assert not is_valid(agree(chain, chain.next_block(proposals=[b"1" * 10, b"2" * 10])))
    size = chain.next_block().raw_size
    for limit in (size, size - 1):
        tight = ValidChain(a_consensus(max_block_bytes=limit))
        assert is_valid(agree(tight, tight.next_block())) == (limit == size)


def test_young_cellbase_outputs_and_uncles() -> None:
    chain = ValidChain(a_consensus(cellbase_maturity_epochs=1))
    chain.grow(13)
    cellbase = chain.blocks[-1].transactions[0]
    spend = a_transaction([an_input(out_point_key(cellbase.hash, 0))], [an_output(100 * CKB)])
    chain.attach(chain.next_block(proposals=[spend.short_id]))
    chain.grow(1)
    assert not is_valid(agree(chain, chain.next_block([spend])))
    assert is_valid(agree(chain, chain.next_block(uncles=[chain.an_uncle(chain.tip_header().number)])))


@pytest.mark.parametrize("blocks", [0, 12])
def test_a_transaction_shaped_as_a_cellbase_without_outputs(blocks: int) -> None:
    """What passes for the cellbase passes for nothing else: it alone may lack outputs."""
    chain = ValidChain(a_consensus())
    witness = CellbaseWitness(lock=lock_script(bytes(3000)), message=b"").raw
    burning = a_transaction([an_input(chain.genesis_cell(0))], [], witnesses=[witness])
    for number in range(1, blocks + 1):
        cellbase = chain.next_cellbase()
        chain.attach(chain.next_block(cellbase=cellbase.replace(witnesses=[witness]) if number == 4 else cellbase))
    chain.attach(chain.next_block(proposals=[burning.short_id]))
    chain.grow(1)
    cellbase = chain.next_cellbase().replace(witnesses=[witness])
    assert not cellbase.body.outputs
    assert is_valid(agree(chain, chain.next_block(cellbase=cellbase)))
    assert not is_valid(agree(chain, chain.next_block([burning], cellbase=cellbase)))


# ---------------------------------------------------------------- layouts


def spoilt(raw: bytes, random: Random) -> bytes:
    """The bytes with a few of them changed, or cut, or longer."""
    changed = bytearray(raw)
    for _ in range(random.choice((1, 1, 2))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    size = random.choice((len(raw),) * 8 + (len(raw) - 1, len(raw) + 1))
    return bytes(changed[:size]).ljust(size, b"\0")


def passes(check: Callable[[bytes], object], raw: bytes) -> bool:
    try:
        check(raw)
    except MoleculeError:
        return False
    return True


def test_of_one_vector_not_all_new_layouts_are_derived() -> None:
    layouts = TxLayouts(Transaction.check)
    plain = a_transaction([an_input(bytes(36))], [an_output(1)])
    raws = [Transaction(body=plain.body, witnesses=[bytes(size)]).raw for size in range(MAX_LEARNT + 20)]
    bounds = list(accumulate(map(len, raws), initial=0))
    found = layouts.check_all(b"".join(raws), bounds)
    assert [(start, end) for start, end, _ in found] == list(pairwise(bounds))
    assert [layout is not None for _, _, layout in found] == [True] * MAX_LEARNT + [False] * 20
    again = layouts.check_all(b"".join(raws), bounds)
    assert all(layout is not None for _, _, layout in again), "the rest is derived the next time"
    with pytest.raises(MoleculeError):
        layouts.check_all(b"".join([*raws[:-1], raws[-1][:-4]]), [*bounds[:-1], bounds[-1] - 4])


@pytest.mark.fuzz
@hypothesis_settings(max_examples=examples(60), deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_shapes_pass_what_the_plain_check_passes(seed: int) -> None:
    random = Random(seed)
    layouts = TxLayouts(Transaction.check, limit=8, per_size=2)
    maker = Maker(ValidChain(a_consensus()), random)
    for transaction in maker.transactions(3, 0.5):
        raw = transaction.raw
        for candidate_raw in (raw, raw, *(spoilt(raw, random) for _ in range(40))):
            assert passes(lambda b: layouts.check(b, 0, len(b)), candidate_raw) == passes(
                Transaction.parse, candidate_raw
            )


@pytest.mark.parametrize(("witnesses", "is_kept"), [(14, True), (15, False)])
def test_shapes_of_many_parts_are_not_kept(witnesses: int, is_kept: bool) -> None:
    """An output and its data count too. Nobody fills the memory with hundreds of empty parts."""
    checked: list[int] = []
    layouts = TxLayouts(lambda buf, start, end, compatible: checked.append(end), most_parts=16)
    raw = a_transaction(witnesses=[b""] * witnesses).raw
    assert layouts.of(raw, 0, len(raw)).expected == layouts.of(raw, 0, len(raw)).expected
    assert len(checked) == (1 if is_kept else 2)


def facts_of(layout: TxLayout) -> list[object]:
    """All that a layout says, readers by their formats."""
    values = [getattr(layout, each.name) for each in fields(TxLayout) if each.name != "verdicts"]
    return [value.format if isinstance(value, Struct) else value for value in values]


@pytest.mark.parametrize("seed", range(3))
def test_a_shape_fits_only_what_has_all_its_facts(seed: int) -> None:
    """So what a rule decides from a layout holds for every transaction that fits. Each bit of some is changed."""
    for transaction in Maker(ValidChain(a_consensus()), Random(seed)).transactions(2, 0.5):
        raw = transaction.raw
        layout, fitting = learn_layout(raw), 0
        for bit in range(8 * len(raw)):
            at, mask = bit // 8, 1 << bit % 8
            changed = raw[:at] + bytes([raw[at] ^ mask]) + raw[at + 1 :]
            if layout.fits(changed, 0):
                assert passes(Transaction.parse, changed), bit
                assert facts_of(learn_layout(changed)) == facts_of(layout), bit
                fitting += 1
        assert 0 < fitting < 8 * len(raw)


def test_readers_of_many_inputs_are_not_kept() -> None:
    """One of 13,000, as a block may hold, takes nearly a megabyte; whoever sends blocks chooses how many there are."""
    tracemalloc.start()
    for inputs in range(2000, 2040):
        raw = a_transaction([an_input(bytes(36))] * inputs).raw
        assert len(TxSlice(raw, 0, len(raw), TX_LAYOUTS.of(raw, 0, len(raw))).consumed) == inputs
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 1 << 20


@pytest.mark.fuzz
@hypothesis_settings(max_examples=examples(40), deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_flat_transactions_read_what_views_read(seed: int) -> None:
    random = Random(seed)
    for transaction in Maker(ValidChain(a_consensus()), random).transactions(4, 0.5):
        before = bytes(random.randrange(50))
        raw = before + transaction.raw
        tx_slice = TxSlice(raw, len(before), len(raw), TX_LAYOUTS.of(raw, len(before), len(raw)))
        body = transaction.body
        layout = tx_slice.layout
        assert (tx_slice.raw, tx_slice.start, layout.size) == (transaction.raw, len(before), len(transaction.raw))
        assert (tx_slice.hash, tx_slice.witness_hash) == (transaction.hash, ckb_hash(transaction.raw))
        assert list(tx_slice.consumed) == [each.previous_output.raw for each in body.inputs]
        assert list(tx_slice.sinces) == [each.since for each in body.inputs]
        assert layout.version == body.version
        assert layout.dep_types == tuple(dep.dep_type for dep in body.cell_deps)
        assert (layout.header_deps, layout.input_count) == (len(body.header_deps), len(body.inputs))
        assert (tx_slice.packed_cell_deps, tx_slice.header_deps) == (
            b"".join(dep.raw for dep in body.cell_deps), list(body.header_deps)
        )  # fmt: skip
        assert [tx_slice.raw[a:b] for a, b in layout.outputs] == [output.raw for output in body.outputs]
        assert [tx_slice.raw[a:b] for a, b in layout.data] == list(body.outputs_data)
        assert [tx_slice.raw[a:b] for a, b in layout.witnesses] == list(transaction.witnesses)
        assert list(layout.capacities.unpack_from(tx_slice.raw)) == [output.capacity for output in body.outputs]
        assert layout.lock_hash_types == tuple(output.lock.hash_type for output in body.outputs)
        assert layout.type_hash_types == tuple(o.type_.hash_type for o in body.outputs if o.type_ is not None)
        if len(body.outputs) == len(body.outputs_data):
            pairs = zip(body.outputs, body.outputs_data, strict=True)
            occupied = [output.occupied_capacity_by_parts(len(data)) for output, data in pairs]
            assert (list(layout.occupied), layout.occupied_in_all) == (occupied, sum(occupied))
