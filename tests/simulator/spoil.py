"""Ways to spoil a valid block or transaction, one fault each. The plain rules say afterwards what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from consensus.errors import CkbError
from consensus.rules.hardfork import chain_root_is_required
from consensus.rules.header import median_time
from consensus.types.blockchain import Block, OutPoint, RawTransaction, Transaction, UncleBlock
from consensus.types.core import EpochFraction
from tests.simulator.rules import CKB, NOW_MS
from tests.simulator.state import State
from tests.simulator.transactions import RELATIVE, TransactionMaker, sign

Spoil = Callable[[Random, State, Block], Block | None]
"""The spoilt block, or None when this one cannot be spoilt so."""


def flipped(random: Random, data: bytes) -> bytes:
    """One bit changed."""
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def with_body(state: State, block: Block, transactions: Sequence[Transaction]) -> Block:
    """Other transactions, with the roots and, as far as it exists, the DAO field that go with them."""
    changed = block.replace(transactions=transactions).with_roots()
    try:
        return state.with_dao(changed)
    except CkbError:
        return changed


def with_cellbase(state: State, block: Block, **changes: object) -> Block:
    """Other parts of the cellbase's body."""
    cellbase = block.transactions[0]
    changed = cellbase.replace(body=cellbase.body.replace(**changes))
    return with_body(state, block, [changed, *block.transactions[1:]])


# ---------------------------------------------------------------- the header alone


def header_number(random: Random, state: State, block: Block) -> Block | None:
    return block.replace(header=block.header.with_fields(number=block.number + random.choice((-1, 1))))


def header_epoch(random: Random, state: State, block: Block) -> Block | None:
    number, index, length = EpochFraction.unpack(block.header.epoch)
    wrong = random.choice(
        ((number + 1, index, length), (number, index + 1, length), (number, index, length + 1), (0, 0, 0))
    )
    return block.replace(header=block.header.with_fields(epoch=EpochFraction(*wrong).pack()))


def header_target(random: Random, state: State, block: Block) -> Block | None:
    return block.replace(header=block.header.with_fields(compact_target=block.header.compact_target ^ 1))


def header_too_old(random: Random, state: State, block: Block) -> Block | None:
    median = median_time(state, state.hash, state.consensus.median_time_block_count)
    return block.replace(header=block.header.with_fields(timestamp=median))


def header_too_new(random: Random, state: State, block: Block) -> Block | None:
    return block.replace(header=block.header.with_fields(timestamp=NOW_MS + 15_001))


# ---------------------------------------------------------------- the body alone


def root(random: Random, state: State, block: Block) -> Block | None:
    name = random.choice(("transactions_root", "proposals_hash", "extra_hash"))
    wrong = flipped(random, getattr(block.header, name))
    return block.replace(header=block.header.with_fields(**{name: wrong}))


def proposals(random: Random, state: State, block: Block) -> Block | None:
    limit = state.consensus.max_block_proposals
    twice = [*block.proposals, bytes(10), bytes(10)]
    too_many = [index.to_bytes(10, "big") for index in range(limit + 1)]
    return block.replace(proposals=random.choice((twice, too_many))).with_roots()


def cellbase_form(random: Random, state: State, block: Block) -> Block | None:
    cellbase, rest = block.transactions[0], block.transactions[1:]
    wrong_input = cellbase.body.inputs[0].replace(since=block.number + 1)
    kinds: list[list[Transaction]] = [
        [cellbase, cellbase, *rest],
        [cellbase.replace(witnesses=[cellbase.witnesses[0][:-1]]), *rest],
        [cellbase.replace(witnesses=[*cellbase.witnesses, b""]), *rest],
        [cellbase.replace(body=cellbase.body.replace(inputs=[wrong_input])), *rest],
    ]
    return block.replace(transactions=random.choice(kinds)).with_roots()


def extension_size(random: Random, state: State, block: Block) -> Block | None:
    extension = random.choice((b"", (block.extension or b"") + bytes(97)))
    return block.replace(extension=extension).with_roots()


def transaction_alone(random: Random, state: State, block: Block) -> Block | None:
    if len(block.transactions) < 2:
        return None
    old = block.transactions[-1]
    body = old.body
    strange_lock = body.outputs[0].lock.replace(hash_type=random.choice((3, 6, 255)))
    choices: tuple[dict[str, Any], ...] = (
        {"version": 1},
        {"outputs_data": [*body.outputs_data, b""]},
        {"cell_deps": [*body.cell_deps, body.cell_deps[0]]},
        {"header_deps": [bytes(32), bytes(32)]},
        {"inputs": []},
        {"outputs": [], "outputs_data": []},
        {"outputs": [each.replace(lock=strange_lock) for each in body.outputs]},
    )
    changed = old.replace(body=body.replace(**random.choice(choices)))
    return block.replace(transactions=[*block.transactions[:-1], changed]).with_roots()


# ---------------------------------------------------------------- the context


def dao_field(random: Random, state: State, block: Block) -> Block:
    return block.replace(header=block.header.with_fields(dao=flipped(random, block.header.dao)))


def chain_root(random: Random, state: State, block: Block) -> Block | None:
    if not chain_root_is_required(state.consensus, state.epoch.number):
        return None
    extension = block.extension or b""
    return block.replace(extension=random.choice((flipped(random, extension[:32]), extension[:31], None))).with_roots()


def reward(random: Random, state: State, block: Block) -> Block | None:
    outputs = block.transactions[0].body.outputs
    if not outputs:
        extra = state.path[0].tip.transactions[0].body.outputs[-1].replace(capacity=100 * CKB)
        return with_cellbase(state, block, outputs=[extra], outputs_data=[b""])
    (due,) = outputs
    wrong = random.choice(
        (
            [due.replace(capacity=due.capacity + 1)],
            [due.replace(capacity=due.capacity - 1)],
            [due.replace(lock=due.lock.replace(args=due.lock.args + b"!"))],
            [],
        )
    )
    return with_cellbase(state, block, outputs=wrong, outputs_data=[b""] * len(wrong))


def spends_twice(random: Random, state: State, block: Block) -> Block | None:
    """Two transactions spend one cell; the second is not proposed, but resolving comes first."""
    if len(block.transactions) < 2:
        return None
    first = block.transactions[-1]
    body = first.body
    again = sign(body.replace(outputs=body.outputs[:1], outputs_data=body.outputs_data[:1], header_deps=[]))
    if again.hash == first.hash:
        again = sign(body.replace(header_deps=[state.hash]))
    return with_body(state, block, [*block.transactions, again])


def wrong_order(random: Random, state: State, block: Block) -> Block | None:
    """A child before its parent."""
    made = {tx.hash: tx for tx in block.transactions[1:]}
    if not any(each.previous_output.tx_hash in made for tx in made.values() for each in tx.body.inputs):
        return None
    return block.replace(transactions=[block.transactions[0], *list(made.values())[::-1]]).with_roots()


def not_proposed(random: Random, state: State, block: Block) -> Block | None:
    maker = TransactionMaker(random)
    cells = [cell for cell in maker.spendable(state) if cell.info is not None and not cell.info.is_cellbase]
    draft = maker.simple(cells)
    if draft is None:
        return None
    # An output of random args: nobody has ever proposed this transaction.
    output, data = draft.outputs[0]
    draft.outputs[0] = output.replace(lock=output.lock.replace(args=random.randbytes(8))), data
    spent = {each.previous_output.raw for tx in block.transactions for each in tx.body.inputs}
    if any(cell.out_point in spent for cell in draft.inputs):
        return None
    return with_body(state, block, [*block.transactions, draft.signed()])


def bad_uncle(random: Random, state: State, block: Block) -> Block | None:
    parent = state.tip
    if parent.number == 0:
        return None
    on_chain = UncleBlock(header=parent.header, proposals=parent.proposals)
    bare = UncleBlock(header=parent.header.with_fields(proposals_hash=bytes(32)), proposals=[])
    uncles = random.choice(
        (
            [on_chain],
            [bare.replace(header=bare.header.with_fields(parent_hash=random.randbytes(32)))],
            [bare.replace(header=bare.header.with_fields(number=parent.number + 1))],
            [bare.replace(header=bare.header.with_fields(compact_target=1))],
            [bare.replace(header=bare.header.with_fields(epoch=1 << 40 | 999))],
            [bare, bare],
            [bare, bare, bare],
        )
    )
    return block.replace(uncles=uncles).with_roots()


SPOILS: Sequence[Spoil] = (
    header_number, header_epoch, header_target, header_too_old, header_too_new,
    root, proposals, cellbase_form, extension_size, transaction_alone,
    dao_field, dao_field, chain_root, chain_root, reward, reward, reward, spends_twice, wrong_order, not_proposed,
    not_proposed, bad_uncle, bad_uncle,
)  # fmt: skip


# ---------------------------------------------------------------- transactions that no block may commit


def bad_transaction(
    random: Random, maker: TransactionMaker, state: State, strangers: Sequence[State]
) -> Transaction | None:
    """To be proposed now and committed by a spoilt block later. `strangers` are states of other branches."""
    draft = maker.simple(maker.spendable(state))
    if draft is None:
        return None
    good = draft.signed()
    return random.choice(_BAD)(random, good, strangers)


def _bad_signature(random: Random, good: Transaction, _: Sequence[State]) -> Transaction:
    return good.replace(witnesses=[flipped(random, good.witnesses[0]), *good.witnesses[1:]])


def _no_signature(random: Random, good: Transaction, _: Sequence[State]) -> Transaction:
    return good.replace(witnesses=[])


def _more_out_than_in(random: Random, good: Transaction, _: Sequence[State]) -> Transaction:
    richer = [each.replace(capacity=each.capacity + 200_000_000) for each in good.body.outputs]
    return sign(good.body.replace(outputs=richer))


def _too_small(random: Random, good: Transaction, _: Sequence[State]) -> Transaction:
    small = [each.replace(capacity=each.occupied_capacity(0) - 1) for each in good.body.outputs]
    return sign(good.body.replace(outputs=small))


def _unknown_input(random: Random, good: Transaction, _: Sequence[State]) -> Transaction:
    strange = good.body.inputs[0].replace(previous_output=OutPoint(tx_hash=random.randbytes(32), index=0))
    return sign(good.body.replace(inputs=[*good.body.inputs, strange]))


def _input_twice(random: Random, good: Transaction, _: Sequence[State]) -> Transaction:
    return sign(good.body.replace(inputs=[*good.body.inputs, good.body.inputs[0]]))


def _stranger_as_header_dep(random: Random, good: Transaction, strangers: Sequence[State]) -> Transaction:
    dep = random.choice(strangers).hash if strangers else random.randbytes(32)
    return sign(good.body.replace(header_deps=[dep]))


def _never_in_time(random: Random, good: Transaction, _: Sequence[State]) -> Transaction:
    since = random.choice((1_000_000, RELATIVE | 1_000_000, 1 << 60, 3 << 61))
    first = good.body.inputs[0].replace(since=since)
    return sign(good.body.replace(inputs=[first, *good.body.inputs[1:]]))


def _without_code(random: Random, good: Transaction, _: Sequence[State]) -> Transaction:
    return sign(good.body.replace(cell_deps=[]))


_BAD: Sequence[Callable[[Random, Transaction, Sequence[State]], Transaction]] = (
    _bad_signature, _no_signature, _more_out_than_in, _too_small, _unknown_input, _input_twice,
    _stranger_as_header_dep, _never_in_time, _without_code,
)  # fmt: skip


def false_body(random: Random, block: Block) -> Block:
    """Another body below a true header, so with the same hash: it may do the true block no harm."""
    last = block.transactions[-1]
    other: RawTransaction = last.body.replace(version=7)
    return random.choice(
        (
            block.replace(transactions=[*block.transactions, last]),
            block.replace(transactions=[*block.transactions[:-1], last.replace(body=other)]),
            block.replace(transactions=[*block.transactions[:-1], last.replace(witnesses=[*last.witnesses, b"w"])]),
            block.replace(proposals=[*block.proposals, b"0123456789"]),
            block.replace(extension=(block.extension or b"") + b"x"),
        )
    )
