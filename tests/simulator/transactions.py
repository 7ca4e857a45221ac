"""Random transactions of every kind that forks treat differently, valid at the state they are made for, or later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from consensus.rules.dao import is_withdrawing, maximum_withdraw
from consensus.rules.resolve import cell_of_output
from consensus.rules.transaction import is_mature
from consensus.types.blockchain import (
    DEP_TYPE_CODE,
    DEP_TYPE_DEP_GROUP,
    HASH_TYPE_DATA,
    HASH_TYPE_DATA1,
    HASH_TYPE_DATA2,
    HASH_TYPE_TYPE,
    OUT_POINT_VEC,
    CellDep,
    CellInput,
    CellOutput,
    OutPoint,
    RawTransaction,
    Script,
    Transaction,
    WitnessArgs,
)
from consensus.types.core import CellMeta, EpochFraction
from tests.simulator.rules import CKB, DAO, TOY_LOCK, code_point, lock, yes_script
from tests.simulator.state import State

FEES = (0, 1, 9, 1000, 123_456_789)
RELATIVE, BY_EPOCH, BY_TIME = 1 << 63, 1 << 61, 1 << 62
HASH_TYPES = (HASH_TYPE_TYPE, HASH_TYPE_TYPE, HASH_TYPE_DATA, HASH_TYPE_DATA1, HASH_TYPE_DATA2)
SMALLEST = 500 * CKB
"""Cells with less are not split any more."""

Output = tuple[CellOutput, bytes]


@dataclass
class Draft:
    """A transaction in the making."""

    inputs: list[CellMeta]
    outputs: list[Output]
    sinces: list[int] = field(default_factory=list)
    header_deps: list[bytes] = field(default_factory=list)
    extra_deps: list[tuple[bytes, int]] = field(default_factory=list)
    input_types: dict[int, bytes] = field(default_factory=dict)
    """`input_type` of the witnesses of some inputs."""
    code_deps: Sequence[tuple[bytes, int]] = tuple((code_point(i), DEP_TYPE_CODE) for i in range(3))

    def signed(self) -> Transaction:
        """With a witness for every input."""
        sinces = self.sinces or [0] * len(self.inputs)
        body = RawTransaction(
            version=0,
            cell_deps=[_dep(*dep) for dep in dict.fromkeys((*self.code_deps, *self.extra_deps))],
            header_deps=self.header_deps,
            inputs=[
                CellInput(since=since, previous_output=OutPoint.trusted(cell.out_point))
                for cell, since in zip(self.inputs, sinces, strict=True)
            ],
            outputs=[output for output, _ in self.outputs],
            outputs_data=[data for _, data in self.outputs],
        )
        return sign(body, self.input_types)


def sign(body: RawTransaction, input_types: dict[int, bytes] | None = None) -> Transaction:
    """What the toy lock wants: the transaction's hash in the witness of every input."""
    tx_hash = Transaction(body=body, witnesses=[]).hash
    types = input_types or {}
    witnesses = [
        WitnessArgs(lock=tx_hash, input_type=types.get(index), output_type=None).raw
        for index in range(len(body.inputs))
    ]
    return Transaction(body=body, witnesses=witnesses)


def _dep(out_point: bytes, dep_type: int) -> CellDep:
    return CellDep(out_point=OutPoint.trusted(out_point), dep_type=dep_type)


Kind = Callable[["TransactionMaker", State, list[CellMeta]], Draft | None]


class TransactionMaker:
    """Makes transactions for states of one tree; `known` has all of them, whatever branch they were made for."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.known: dict[bytes, Transaction] = {}

    def make(self, state: State) -> Transaction | None:
        """A new transaction for the blocks after `state`; None when the state has nothing for the kind that was drawn.

        It may spend outputs of transactions that wait.
        """
        cells = self.spendable(state)
        if self.random.random() < 0.25:
            cells = self._waiting_cells(state) or cells
        if not cells:
            return None
        draft = self.random.choice(KINDS)(self, state, cells)
        if draft is None:
            return None
        transaction = draft.signed()
        self.known[transaction.hash] = transaction
        return transaction

    def spendable(self, state: State) -> list[CellMeta]:
        """Live cells with the toy lock; those of cellbases may be too young still, now and then."""
        epoch, maturity = EpochFraction.unpack(state.tip.header.epoch), state.consensus.cellbase_maturity_epochs
        return [
            cell
            for cell in state.cells.values()
            if is_toy_lock(cell.output.lock) and (is_mature(cell, epoch, maturity) or self.random.random() < 0.1)
        ]

    def _waiting_cells(self, state: State) -> list[CellMeta]:
        waiting = [tx for tx in list(self.known.values())[-20:] if tx.hash not in state.infos]
        cells = (cell_of_output(tx, key, None) for tx in waiting for key in tx.output_keys())
        return [cell for cell in cells if cell is not None and is_toy_lock(cell.output.lock)]

    # ------------------------------------------------------------ parts

    def pick(self, cells: list[CellMeta], most: int = 3) -> list[CellMeta]:
        """Some cells that are not withdrawing: those want more than a signature."""
        plain = [cell for cell in cells if not is_dao(cell)]
        return self.random.sample(plain, min(len(plain), self.random.randint(1, most)))

    def outputs(
        self, total: int, types: Sequence[Script | None] = (None,), data: Sequence[bytes] = (b"",)
    ) -> list[Output]:
        """Outputs with these types and data; what is left of `total` goes into the last."""
        random, made, left = self.random, [], total
        for index, (type_, content) in enumerate(zip(types, data, strict=True)):
            owner = lock(random.randrange(4), random.choice(HASH_TYPES))
            bare = CellOutput(capacity=0, lock=owner, type_=type_)
            least = bare.occupied_capacity(len(content))
            share = left if index + 1 == len(types) else min(left, least + random.randrange(max(left // 2, 1)))
            made.append((bare.replace(capacity=share), content))
            left -= share
        return made

    def simple(self, cells: list[CellMeta]) -> Draft | None:
        """Some inputs to one to three outputs of random types and data."""
        random, inputs = self.random, self.pick(cells)
        if not inputs:
            return None
        count = random.randint(1, 3) if sum(cell.capacity for cell in inputs) > 3 * SMALLEST else 1
        types = [
            random.choice((None, None, yes_script(random.choice(HASH_TYPES), random.randbytes(2))))
            for _ in range(count)
        ]
        data = [
            random.choice((b"", b"", random.randbytes(8), bytes(8), random.randbytes(65), random.randbytes(200)))
            for _ in types
        ]
        return Draft(inputs, self.outputs(self._after_fee(inputs), types, data))

    def _after_fee(self, inputs: Sequence[CellMeta]) -> int:
        return sum(cell.capacity for cell in inputs) - self.random.choice(FEES)

    # ------------------------------------------------------------ kinds

    def transfer(self, state: State, cells: list[CellMeta]) -> Draft | None:
        return self.simple(cells)

    def timed(self, state: State, cells: list[CellMeta]) -> Draft | None:
        """With a since of any kind, which passes now, soon, or not on this branch."""
        draft = self.simple(cells)
        if draft is not None:
            draft.sinces = [self._since(state, cell) for cell in draft.inputs]
        return draft

    def _since(self, state: State, cell: CellMeta) -> int:
        random, header = self.random, state.tip.header
        epoch = EpochFraction.unpack(header.epoch)
        if random.random() < 0.5 or cell.info is None:
            later = random.randint(-2, 5)
            match random.randrange(3):
                case 0:
                    return max(state.number + later, 0)
                case 1:
                    length = max(epoch.length, 1)
                    return (
                        BY_EPOCH
                        | EpochFraction(epoch.number, min(max(epoch.index + later, 0), length - 1), length).pack()
                    )
                case _:
                    return BY_TIME | header.timestamp // 1000 + later * 4
        match random.randrange(3):
            case 0:
                return RELATIVE | max(state.number - cell.info.block_number + random.randint(-2, 4), 0)
            case 1:
                return RELATIVE | BY_EPOCH | EpochFraction(random.randint(0, 1), random.randint(0, 2), 3).pack()
            case _:
                return RELATIVE | BY_TIME | random.randint(0, 20)

    def with_header_dep(self, state: State, cells: list[CellMeta]) -> Draft | None:
        """Names a block of this branch: on others without it, it does not resolve."""
        draft = self.simple(cells)
        if draft is not None:
            depth = self.random.choice((0, 0, 1, 3, 9))
            draft.header_deps = [state.path[max(state.number - depth, 0)].hash]
        return draft

    def dep_group(self, state: State, cells: list[CellMeta]) -> Draft | None:
        """Makes a cell that lists the code cells; or, where there is one, uses it in their place."""
        groups = [cell for cell in state.cells.values() if is_dep_group(cell)]
        if groups and self.random.random() < 0.6:
            draft = self.simple(cells)
            if draft is not None:
                draft.code_deps = [(self.random.choice(groups).out_point, DEP_TYPE_DEP_GROUP)]
            return draft
        inputs = self.pick(cells)
        if sum(cell.capacity for cell in inputs) < 3 * SMALLEST:
            return None
        points = [OutPoint.trusted(code_point(index)) for index in range(3)]
        return Draft(inputs, self.outputs(self._after_fee(inputs), (None, None), (OUT_POINT_VEC.pack(points), b"")))

    def code_cell(self, state: State, cells: list[CellMeta]) -> Draft | None:
        """Deploys the toy lock once more; or names such a copy beside the first."""
        copies = [
            cell for cell in state.cells.values() if cell.data_size == len(TOY_LOCK) and is_toy_lock(cell.output.lock)
        ]
        if copies and self.random.random() < 0.7:
            draft = self.simple(cells)
            if draft is not None:
                draft.extra_deps = [(self.random.choice(copies).out_point, DEP_TYPE_CODE)]
            return draft
        inputs = [cell for cell in cells if cell.capacity > (len(TOY_LOCK) + 1000) * CKB and not is_dao(cell)][:1]
        return Draft(inputs, self.outputs(self._after_fee(inputs), (None,), (TOY_LOCK,))) if inputs else None

    def deposit(self, state: State, cells: list[CellMeta]) -> Draft | None:
        inputs = self.pick(cells)
        if sum(cell.capacity for cell in inputs) < 3 * SMALLEST:
            return None
        return Draft(inputs, self.outputs(self._after_fee(inputs), (DAO, None), (bytes(8), b"")))

    def start_withdrawal(self, state: State, cells: list[CellMeta]) -> Draft | None:
        """Phase 1: the deposit's block is a header dep, its number the new data."""
        deposits = [cell for cell in cells if is_dao(cell) and cell.info is not None and not any(cell.data)]
        if not deposits:
            return None
        cell = self.random.choice(deposits)
        info = cell.info
        assert info is not None
        output = CellOutput(capacity=cell.capacity, lock=cell.output.lock, type_=DAO)
        draft = Draft([cell], [(output, info.block_number.to_bytes(8, "little"))], header_deps=[info.block_hash])
        others = self.pick(cells, 1)
        if others:
            draft.inputs += others
            draft.outputs += self.outputs(self._after_fee(others))
        return draft

    def withdraw(self, state: State, cells: list[CellMeta]) -> Draft | None:
        """Phase 2: what the deposit earned comes out."""
        ready = [cell for cell in cells if cell.info is not None and is_withdrawing(state.consensus, cell)]
        if not ready:
            return None
        cell = self.random.choice(ready)
        info = cell.info
        assert info is not None
        number = int.from_bytes(cell.data, "little")
        if number >= info.block_number:
            return None
        deposited, requested = state.path[number].tip.header, state.path[info.block_number].tip.header
        worth = maximum_withdraw(cell.output, cell.data_size, deposited, requested)
        headers = [requested.hash, deposited.hash]
        self.random.shuffle(headers)
        at = headers.index(deposited.hash).to_bytes(8, "little")
        outputs = self.outputs(worth - self.random.choice(FEES))
        return Draft([cell], outputs, header_deps=headers, input_types={0: at})

    def reads_a_cell(self, state: State, cells: list[CellMeta]) -> Draft | None:
        """A live cell as dep, perhaps its own input; dead where another branch spent it."""
        draft = self.simple(cells)
        if draft is not None:
            draft.extra_deps = [(self.random.choice(cells).out_point, DEP_TYPE_CODE)]
        return draft

    def other_witness(self, state: State, cells: list[CellMeta]) -> Draft | None:
        """A known transaction with more in its witnesses: the same hash, another block content."""
        if self.known:
            old = self.random.choice(list(self.known.values()))
            self.known[old.hash] = old.replace(witnesses=[*old.witnesses, self.random.randbytes(3)])
        return None


def is_toy_lock(script: Script) -> bool:
    return script.code_hash in {lock(0, hash_type).code_hash for hash_type in (HASH_TYPE_TYPE, HASH_TYPE_DATA)}


def is_dao(cell: CellMeta) -> bool:
    return cell.output.type_ == DAO


def is_dep_group(cell: CellMeta) -> bool:
    return cell.data_size == 4 + 3 * 36 and is_toy_lock(cell.output.lock)


KINDS: Sequence[Kind] = (
    TransactionMaker.transfer,
    TransactionMaker.transfer,
    TransactionMaker.transfer,
    TransactionMaker.timed,
    TransactionMaker.with_header_dep,
    TransactionMaker.dep_group,
    TransactionMaker.code_cell,
    TransactionMaker.deposit,
    TransactionMaker.start_withdrawal,
    TransactionMaker.start_withdrawal,
    TransactionMaker.withdraw,
    TransactionMaker.withdraw,
    TransactionMaker.reads_a_cell,
    TransactionMaker.other_witness,
)
