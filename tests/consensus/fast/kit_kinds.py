"""One valid transaction of each kind that the fast path knows, and what each becomes with one thing changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from consensus.rules.dao import maximum_withdraw
from consensus.types.blockchain import (
    DEP_TYPE_DEP_GROUP,
    HASH_TYPE_TYPE,
    OUT_POINT_VEC,
    CellDep,
    CellInput,
    CellOutput,
    OutPoint,
    Script,
    Transaction,
    WitnessArgs,
    out_point_key,
)
from consensus.types.core import EpochFraction
from tests.support.builders.blocks import CKB, a_consensus, a_dep, a_transaction, an_input, an_output, lock_script
from tests.support.chains.valid import ValidChain

T = TypeVar("T")

DAO = Script(code_hash=b"\xda" * 32, hash_type=HASH_TYPE_TYPE, args=b"")
NOT_DAO = Script(code_hash=b"\xda" * 32, hash_type=0, args=b"")
TOKEN = Script(code_hash=b"\x77" * 32, hash_type=HASH_TYPE_TYPE, args=b"owner")
RELATIVE, EPOCHS, SECONDS = 1 << 63, 1 << 61, 1 << 62
PLAIN, TYPED, DEPOSITS, CODES = 30, 6, 4, 2
CELL = 500 * CKB
MATURE = 13
"""Blocks after which cellbases pay."""
OLD = 20
"""Blocks after which the median time is that of the cells' block, nearly."""
SINCES = {
    "a height": 3,
    "an epoch": EPOCHS | EpochFraction(0, 1, 1000).pack(),
    "a time": SECONDS | 1_600_000_010,
    "blocks": RELATIVE | 2,
    "part of an epoch": RELATIVE | EPOCHS | EpochFraction(0, 1, 1000).pack(),
    "seconds": RELATIVE | SECONDS | 8,
}
"""They have passed in the block after `Kinds.propose`."""
OTHER_SINCES = (
    *(0, 1 << 60, 3 << 61, 1 << 40, EPOCHS, EPOCHS | 1, SECONDS | 1 << 40),
    *(EPOCHS | EpochFraction(0, 5, 5).pack(), EPOCHS | EpochFraction(0, 5, 0).pack()),
    *(RELATIVE, RELATIVE | 100, RELATIVE | EPOCHS | 1, RELATIVE | SECONDS | 1 << 20),
)  # fmt: skip
OTHER_TYPES = (None, TOKEN, DAO, NOT_DAO, TOKEN.replace(hash_type=3), TOKEN.replace(hash_type=6))


class Kinds:
    """A chain, and `transactions` that its next block may commit once they are proposed, each with cells of its own."""

    def __init__(self) -> None:
        self.chain = chain = ValidChain(a_consensus(cellbase_maturity_epochs=0, dao_type_hash=DAO.code_hash))
        chain.grow(MATURE)
        split = self._split()
        self.split_hash = chain.commit(split).hash
        keys = iter(split.output_keys())
        self.plain, self.typed, self.deposits, self.codes = (
            [next(keys) for _ in range(count)] for count in (PLAIN, TYPED, DEPOSITS, CODES)
        )
        self.group, self.bad_group = next(keys), next(keys)
        phase_one = [self._phase_one(deposit, CKB) for deposit in self.deposits[:2]]
        self.withdrawn_hash = chain.commit(*phase_one).hash
        self.withdrawing = [out_point_key(tx.hash, 0) for tx in phase_one]
        self.deposits = self.deposits[2:]
        chain.grow(OLD)
        self.transactions = dict(self._made())

    def propose(self, transactions: Sequence[Transaction]) -> None:
        """Let the next block commit these."""
        self.chain.attach(self.chain.next_block(proposals=sorted({tx.short_id for tx in transactions})))
        self.chain.grow(self.chain.consensus.proposal_window.closest - 1)

    def _split(self) -> Transaction:
        outputs = [an_output(CELL, lock_script(bytes([i]))) for i in range(PLAIN)]
        outputs += [an_output(CELL, lock_script(b"owner"), TOKEN if i % 2 else NOT_DAO) for i in range(TYPED)]
        outputs += [an_output(2 * CELL, lock_script(b"saver"), DAO)] * DEPOSITS
        outputs += [an_output(CELL)] * (CODES + 2)
        data = [b""] * PLAIN + [b"x" * 16] * TYPED + [bytes(8)] * DEPOSITS + [b"code 1", b"code 2"]
        group = OUT_POINT_VEC.pack([OutPoint.parse(self.chain.genesis_cell(i)) for i in (14, 15)])
        inputs = [an_input(self.chain.genesis_cell(i)) for i in range(4)]
        return a_transaction(inputs, outputs, [*data, group, b"no group"])

    def spend(
        self, keys: Sequence[bytes], outputs: Sequence[CellOutput] = (), since: int = 0, **more: object
    ) -> Transaction:
        """Spends cells into `outputs` and one with the rest."""
        total = sum(self._capacity(key) for key in keys) - CKB - sum(output.capacity for output in outputs)
        inputs = [an_input(key, since) for key in keys]
        return a_transaction(inputs, [*outputs, an_output(total, lock_script(b"rest"))], **more)  # type: ignore[arg-type]

    def _capacity(self, key: bytes) -> int:
        cell = self.chain.cell(key)
        assert cell is not None
        return cell.capacity

    def _phase_one(self, deposit: bytes, less: int = 0) -> Transaction:
        """`less` shannons than were deposited."""
        number = self.chain.headers[self.split_hash].number.to_bytes(8, "little")
        output = an_output(2 * CELL - less, lock_script(b"saver"), DAO)
        return a_transaction([an_input(deposit)], [output], [number], header_deps=[self.split_hash])

    def _phase_two(self, key: bytes) -> Transaction:
        cell, headers = self.chain.cell(key), [self.withdrawn_hash, self.split_hash]
        assert cell is not None
        deposited, withdrawn = (self.chain.headers[each] for each in reversed(headers))
        worth = maximum_withdraw(cell.output, 8, deposited, withdrawn)
        witness = WitnessArgs(lock=None, input_type=(1).to_bytes(8, "little"), output_type=None).raw
        return a_transaction([an_input(key)], [an_output(worth)], header_deps=headers, witnesses=[witness])

    def _made(self) -> Iterator[tuple[str, Transaction]]:
        plain, typed, genesis = iter(self.plain), iter(self.typed), self.chain.genesis_cell
        parent = self.spend([next(plain)], [an_output(200 * CKB)], witnesses=[b"signature"])
        yield "parent", parent
        yield "inputs", self.spend([next(plain), next(plain), next(plain)], witnesses=[b"s", b"", b"t"])
        yield "types", self.spend([next(typed), next(typed), next(plain)], [an_output(CELL, type_=TOKEN)] * 2)
        for name, since in SINCES.items():
            yield name, self.spend([next(plain), next(plain)], since=since)
        headers = [self.chain.blocks[number].hash for number in (0, 3, 14)]
        yield "headers", self.spend([next(plain)], header_deps=headers)
        code, other = (a_dep(key) for key in self.codes)
        yield "deps", self.spend([next(plain)], cell_deps=[code, other, a_dep(genesis(13))])
        group = a_dep(self.group, DEP_TYPE_DEP_GROUP)
        yield "groups", self.spend([next(plain)], cell_deps=[group, code, a_dep(genesis(14)), a_dep(self.group)])
        yield "child", self.spend_created(parent, 0, cell_deps=[code])
        yield "dep in the block", self.spend([next(plain)], cell_deps=[a_dep(out_point_key(parent.hash, 1)), code])
        yield "deposit", self.spend([next(plain), next(plain)], [an_output(200 * CKB, type_=DAO)])
        yield "first phase", self._phase_one(self.deposits[0])
        yield "second phase", self._phase_two(self.withdrawing[0])
        yield "deposit spent", self.spend([self.deposits[1], next(plain)], header_deps=[self.split_hash])
        yield "genesis", self.spend([genesis(8), next(plain)], since=2)
        cellbase = self.chain.blocks[MATURE].transactions[0]
        yield "cellbase", self.spend([out_point_key(cellbase.hash, 0)])
        yield "large", self.spend([next(plain)], witnesses=[bytes(5000)])

    def spend_created(self, parent: Transaction, index: int, **more: object) -> Transaction:
        """Spends an output of a transaction that waits."""
        left = parent.body.outputs[index].capacity - CKB
        inputs = [an_input(out_point_key(parent.hash, index))]
        return a_transaction(inputs, [an_output(left)], **more)  # type: ignore[arg-type]


# ---------------------------------------------------------------- changes


def changes(kinds: Kinds, transaction: Transaction) -> Iterator[Transaction]:
    """The transaction with one field of it changed, each in turn, or one item of a list lost or doubled."""
    body = transaction.body
    lists: dict[str, Sequence[Sequence[Any]]] = {
        "cell_deps": [_changed_deps(kinds, dep) for dep in body.cell_deps],
        "header_deps": [[bytes(32), kinds.chain.main[1], kinds.withdrawn_hash] for _ in body.header_deps],
        "inputs": [_changed_inputs(kinds, each) for each in body.inputs],
        "outputs": [_changed_outputs(output) for output in body.outputs],
        "outputs_data": [[data + b"+", bytes(8), b"\1" * 8] for data in body.outputs_data],
    }
    yield transaction.replace(body=body.replace(version=1))
    for name, per_item in lists.items():
        for items in _with_one_changed(getattr(body, name), per_item):
            yield transaction.replace(body=body.replace(**{name: items}))
    args = [WitnessArgs(lock=None, input_type=each, output_type=None).raw for each in (None, bytes(8), b"\2" * 8, b"")]
    for items in _with_one_changed(transaction.witnesses, [[b"", *args] for _ in transaction.witnesses]):
        yield transaction.replace(witnesses=items)


def _with_one_changed(items: Sequence[T], changed: Sequence[Sequence[T]]) -> Iterator[Sequence[T]]:
    for at, item in enumerate(items):
        for other in changed[at]:
            yield [*items[:at], other, *items[at + 1 :]]
        yield [*items[:at], *items[at + 1 :]]
        yield [*items[: at + 1], item, *items[at + 1 :]]


def _other_points(kinds: Kinds, key: bytes) -> list[OutPoint]:
    """The same index of no transaction, no output of the same, a spent cell, a deposit, one of the next phase, one of
    genesis."""
    keys = (bytes(32) + key[32:], key[:32] + b"\xff\0\0\0", kinds.chain.genesis_cell(0), kinds.deposits[1])
    return [OutPoint.parse(each) for each in (*keys, kinds.withdrawing[1], kinds.chain.genesis_cell(9))]


def _changed_deps(kinds: Kinds, dep: CellDep) -> list[CellDep]:
    others = [dep.replace(out_point=point) for point in _other_points(kinds, dep.out_point.raw)]
    return [*others, a_dep(kinds.bad_group, 1), *(dep.replace(dep_type=each) for each in (0, 1, 2))]


def _changed_inputs(kinds: Kinds, cell_input: CellInput) -> list[CellInput]:
    others = [cell_input.replace(previous_output=p) for p in _other_points(kinds, cell_input.previous_output.raw)]
    return [*others, *(cell_input.replace(since=since) for since in OTHER_SINCES)]


def _changed_outputs(output: CellOutput) -> list[CellOutput]:
    capacities = (output.capacity + CKB, output.capacity + CKB + 1, output.capacity - 1, 40 * CKB, 0, (1 << 64) - 1)
    locks = [output.lock.replace(hash_type=each) for each in (1, 3, 4, 6)]
    locks += [output.lock.replace(args=bytes(300)), output.lock.replace(code_hash=bytes(32))]
    return [
        *(output.replace(capacity=each) for each in capacities),
        *(output.replace(lock=lock) for lock in locks),
        *(output.replace(type_=type_) for type_ in OTHER_TYPES),
    ]
