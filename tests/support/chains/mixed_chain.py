"""Transactions as the public chains have them, for benchmarks and tests: not only transfers.

`MixedMaker(maker, count)` commits the cells that they spend, then `batches(per_block)` makes and signs them, the same
ones each time. All scripts succeed, here and in the reference: the standard lock, NervosDAO, type IDs, and two programs
of ours, a token and one that always succeeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from itertools import cycle
from random import Random

from consensus.chainspec.genesis_build import OUTPUT_DAO
from consensus.crypto.hashing import ckb_hash_concat, data_hash
from consensus.lookup import require
from consensus.params import TYPE_ID_CODE_HASH
from consensus.rules.dao import maximum_withdraw
from consensus.types.blockchain import (
    DEP_TYPE_CODE,
    DEP_TYPE_DEP_GROUP,
    HASH_TYPE_DATA1,
    HASH_TYPE_TYPE,
    CellDep,
    CellInput,
    CellOutput,
    Header,
    OutPoint,
    Script,
    Transaction,
)
from consensus.types.core import EpochFraction, epoch_number
from tests.support.builders.wallet import CKB
from tests.support.chains.long_chain import CELL_CAPACITY, FEE, ChainMaker, Output, a_body
from tests.support.vm.script_programs import Program
from tests.support.vm.token_program import AMOUNT_SIZE, token_code


class Kind(Enum):
    """What is special about a transaction."""

    PLAIN = "a transfer"
    TOKEN = "a payment of tokens"
    TYPED = "a cell with another type script"
    DAO = "deposit, first or second phase of a withdrawal"
    SINCE = "a since that has passed"
    HEADERS = "header deps"
    GROUPS = "a second dep group"
    CHILD = "its parent is in the same block"
    DATA = "data of 10 to 100 kB"


PER_MILLE = {
    Kind.TOKEN: 180, Kind.TYPED: 70, Kind.DAO: 50, Kind.SINCE: 50, Kind.HEADERS: 50, Kind.GROUPS: 50, Kind.CHILD: 40,
    Kind.DATA: 13,
}  # fmt: skip
"""Of all transactions, as on the public chains; the rest are plain."""

CHILD_CAPACITY = 300 * CKB
"""Least change of a transaction that has a child."""
TYPED_CAPACITY = 500 * CKB
DATA_CAPACITY = 101_000 * CKB
TYPED_DATA_SIZE = 200
TOKENS = 1_000_000
MULTISIG_GROUP = 1
"""Index of its dep group in the second genesis transaction."""
DEPOSITS_PER_FAN = 60
"""The official script of NervosDAO looks at 64 outputs."""
LOCK_EPOCHS = 180
"""A deposit in NervosDAO is locked for a multiple of them."""
RELATIVE, IN_EPOCHS, IN_SECONDS = 1 << 63, 1 << 61, 1 << 62
SINCES = (1, RELATIVE | 1, RELATIVE | IN_EPOCHS | 1 << 24 | 2 << 40, IN_SECONDS | 10, RELATIVE | IN_SECONDS | 2)
"""A height; blocks, half an epoch; a time, some seconds."""
AGE = 20
"""Blocks that all cells are old at least."""
BATCH = 200
"""Transactions of a block that only prepares."""


def always_true_code() -> bytes:
    """An ELF file."""
    program = Program()
    program.exit(0)
    return program.elf()


class MixedMaker:
    """Makes `count` transactions of the mix for the chain of `maker`."""

    def __init__(
        self, maker: ChainMaker, count: int, per_mille: Mapping[Kind, int] = PER_MILLE, seed: int = 11
    ) -> None:
        """Commits their cells, in many hundred blocks: see LOCK_EPOCHS. Those that are not in `per_mille` are plain."""
        self.maker, self.consensus, self.lock = maker, maker.consensus, maker.alice.lock
        self._random = Random(seed)
        self.kinds = self._kinds(count, per_mille)
        counts = {kind: self.kinds.count(kind) for kind in Kind}
        self._codes = self._deploy(token_code(), always_true_code())
        self._token = Script(code_hash=data_hash(token_code()), hash_type=HASH_TYPE_DATA1, args=self.lock.hash)
        self._dao = Script(code_hash=self.consensus.dao_type_hash or b"", hash_type=HASH_TYPE_TYPE, args=b"")
        self._dao_dep = _code_dep(self.consensus.genesis_block.transactions[0].hash, OUTPUT_DAO)
        self._tokens = maker.outputs(counts[Kind.TOKEN], self._minted, [self._codes[0]])
        self._typed = maker.outputs((counts[Kind.TYPED] + 1) // 2, self._with_type_id)
        self._always = maker.outputs(counts[Kind.TYPED] // 2, self._with_always_true, [self._codes[1]])
        self._wide = maker.cells(counts[Kind.DATA], DATA_CAPACITY)
        self._cells = maker.cells(count)
        self._dao_transactions = self._prepare_dao(counts[Kind.DAO])
        for _ in range(AGE):
            maker.add()
        self._sinces, self._headers = cycle(SINCES), self._some_headers()
        self._makers = {
            Kind.TOKEN: self._pay_tokens, Kind.TYPED: self._pass_on_type, Kind.DAO: self._use_dao,
            Kind.SINCE: self._wait, Kind.HEADERS: self._name_headers, Kind.GROUPS: self._name_groups,
            Kind.DATA: self._write,
        }  # fmt: skip

    def batches(self, per_block: int) -> list[list[Transaction]]:
        """All transactions, by blocks. A child stands behind its parent."""
        batches: list[list[Transaction]] = []
        for first in range(0, len(self.kinds), per_block):
            batch: list[Transaction] = []
            for kind in self.kinds[first : first + per_block]:
                is_child = kind is Kind.CHILD and batch and batch[-1].body.outputs[-1].capacity >= CHILD_CAPACITY
                batch.append(self._child(batch[-1]) if is_child else self._next(kind))
            batches.append(batch)
        return batches

    def _kinds(self, count: int, per_mille: Mapping[Kind, int]) -> list[Kind]:
        kinds = [kind for kind, share in per_mille.items() for _ in range(round(count * share / 1000))]
        kinds += [Kind.PLAIN] * (count - len(kinds))
        self._random.shuffle(kinds)
        return kinds

    def _next(self, kind: Kind) -> Transaction:
        make = self._makers.get(kind)
        return self._spend([self._input()], [self._paid()], CELL_CAPACITY) if make is None else make()

    # ------------------------------------------------------------ cells

    def _deploy(self, *codes: bytes) -> list[CellDep]:
        outputs = [(CellOutput(capacity=(len(code) + 100) * CKB, lock=self.lock, type_=None), code) for code in codes]
        points = self.maker.outputs(len(codes), lambda _input, index: outputs[index])
        return [CellDep(out_point=point, dep_type=DEP_TYPE_CODE) for point in points]

    def _minted(self, _input: CellInput, _index: int) -> Output:
        return self._typed_output(self._token), TOKENS.to_bytes(AMOUNT_SIZE, "little")

    def _with_type_id(self, first_input: CellInput, index: int) -> Output:
        args = ckb_hash_concat(first_input.raw, index.to_bytes(8, "little"))
        type_id = Script(code_hash=TYPE_ID_CODE_HASH, hash_type=HASH_TYPE_TYPE, args=args)
        return self._typed_output(type_id), bytes(TYPED_DATA_SIZE)

    def _with_always_true(self, _input: CellInput, index: int) -> Output:
        args = index.to_bytes(20, "little")
        type_ = Script(code_hash=data_hash(always_true_code()), hash_type=HASH_TYPE_DATA1, args=args)
        return self._typed_output(type_), bytes(TYPED_DATA_SIZE)

    def _typed_output(self, type_: Script) -> CellOutput:
        return CellOutput(capacity=TYPED_CAPACITY, lock=self.lock, type_=type_)

    def _prepare_dao(self, count: int) -> list[Callable[[], Transaction]]:
        """Makers of so many transactions: a third each of deposits, first and second phases. The latter are unlocked
        when this returns."""
        third, deposit = count // 3, (self._dao_output(), bytes(8))
        deposits = self.maker.outputs(2 * third, lambda _input, _index: deposit, [self._dao_dep], DEPOSITS_PER_FAN)
        early, later = deposits[:third], deposits[third:]
        phase_one = [self._phase_one(point) for point in early]
        self.maker.add_in_two_phases([phase_one[at : at + BATCH] for at in range(0, third, BATCH)])
        unlocked = epoch_number(self.maker.reader.tip_header().epoch) + LOCK_EPOCHS
        while epoch_number(self.maker.reader.tip_header().epoch) <= unlocked:
            self.maker.add()
        withdrawing = [OutPoint(tx_hash=tx.hash, index=0) for tx in phase_one]
        makers: list[Callable[[], Transaction]] = [self._deposit] * (count - 2 * third)
        makers += [partial(self._phase_one, point) for point in later]
        makers += [partial(self._phase_two, *points) for points in zip(early, withdrawing, strict=True)]
        self._random.shuffle(makers)
        return makers

    def _some_headers(self) -> list[bytes]:
        reader = self.maker.reader
        tip = reader.tip_header().number
        return [require(reader.main_hash(number), "main chain hash", number) for number in range(tip - 20, tip)]

    # ------------------------------------------------------------ transactions

    def _input(self, since: int = 0) -> CellInput:
        """An unspent cell of CELL_CAPACITY."""
        return CellInput(since=since, previous_output=self._cells.pop()[0])

    def _spend(
        self,
        inputs: Sequence[CellInput],
        outputs: Sequence[Output],
        total: int,
        deps: Sequence[CellDep] = (),
        header_deps: Sequence[bytes] = (),
        input_type: bytes | None = None,
    ) -> Transaction:
        """Signed; what is left of `total`, the worth of the inputs, is the change, the last output."""
        rest = total - FEE - sum(output.capacity for output, _ in outputs)
        change = CellOutput(capacity=rest, lock=self.lock, type_=None), b""
        body = a_body(self.consensus, inputs, [*outputs, change], deps, header_deps)
        return self.maker.alice.sign(body, input_type)

    def _paid(self, capacity: int = CELL_CAPACITY * 2 // 5) -> Output:
        return CellOutput(capacity=capacity, lock=self.maker.miner, type_=None), b""

    def _child(self, parent: Transaction) -> Transaction:
        """Spends half the parent's change."""
        index = len(parent.body.outputs) - 1
        change = parent.body.outputs[index].capacity
        spent = CellInput(since=0, previous_output=OutPoint(tx_hash=parent.hash, index=index))
        return self._spend([spent], [self._paid(change // 2)], change)

    def _pay_tokens(self) -> Transaction:
        amount = self._random.randrange(TOKENS)
        type_ = self._token
        outputs = [
            (CellOutput(capacity=part, lock=lock, type_=type_), tokens.to_bytes(AMOUNT_SIZE, "little"))
            for part, lock, tokens in (
                (200 * CKB, self.maker.miner, amount), (TYPED_CAPACITY - 200 * CKB, self.lock, TOKENS - amount)
            )
        ]  # fmt: skip
        spent = CellInput(since=0, previous_output=self._tokens.pop())
        return self._spend([spent, self._input()], outputs, TYPED_CAPACITY + CELL_CAPACITY, [self._codes[0]])

    def _pass_on_type(self) -> Transaction:
        is_type_id = len(self._typed) > len(self._always)
        point = (self._typed if is_type_id else self._always).pop()
        before = require(self.maker.reader.cell(point.raw), "cell", point.raw).output
        output = before.replace(lock=self.maker.miner), self._random.randbytes(TYPED_DATA_SIZE)
        spent = [CellInput(since=0, previous_output=point), self._input()]
        deps = [] if is_type_id else [self._codes[1]]
        return self._spend(spent, [output], TYPED_CAPACITY + CELL_CAPACITY, deps)

    def _wait(self) -> Transaction:
        return self._spend([self._input(next(self._sinces))], [self._paid()], CELL_CAPACITY)

    def _name_headers(self) -> Transaction:
        headers = self._random.sample(self._headers, self._random.choice((1, 2)))
        return self._spend([self._input()], [self._paid()], CELL_CAPACITY, header_deps=headers)

    def _name_groups(self) -> Transaction:
        group = OutPoint(tx_hash=self.consensus.genesis_block.transactions[1].hash, index=MULTISIG_GROUP)
        deps = [CellDep(out_point=group, dep_type=DEP_TYPE_DEP_GROUP)]
        return self._spend([self._input()], [self._paid()], CELL_CAPACITY, deps)

    def _write(self) -> Transaction:
        point, capacity = self._wide.pop()
        data = self._random.randbytes(self._random.randint(10_000, 100_000))
        output = CellOutput(capacity=DATA_CAPACITY - 500 * CKB, lock=self.lock, type_=None), data
        return self._spend([CellInput(since=0, previous_output=point)], [output], capacity)

    # ------------------------------------------------------------ NervosDAO

    def _use_dao(self) -> Transaction:
        return self._dao_transactions.pop()()

    def _dao_output(self, capacity: int = CELL_CAPACITY) -> CellOutput:
        return CellOutput(capacity=capacity, lock=self.lock, type_=self._dao)

    def _deposit(self) -> Transaction:
        deposit = self._dao_output(CELL_CAPACITY // 2), bytes(8)
        return self._spend([self._input()], [deposit], CELL_CAPACITY, [self._dao_dep])

    def _phase_one(self, deposit: OutPoint) -> Transaction:
        header = self._header_of(deposit)
        inputs = [CellInput(since=0, previous_output=deposit), self._input()]
        outputs = [(self._dao_output(), header.number.to_bytes(8, "little"))]
        return self._spend(inputs, outputs, 2 * CELL_CAPACITY, [self._dao_dep], [header.hash])

    def _phase_two(self, deposit: OutPoint, withdrawing: OutPoint) -> Transaction:
        deposited, withdrawn = self._header_of(deposit), self._header_of(withdrawing)
        worth = maximum_withdraw(self._dao_output(), 8, deposited, withdrawn)
        begun = EpochFraction.unpack(deposited.epoch)
        since = IN_EPOCHS | begun._replace(number=begun.number + LOCK_EPOCHS).pack()
        spent, headers = CellInput(since=since, previous_output=withdrawing), [deposited.hash, withdrawn.hash]
        return self._spend([spent], [self._paid()], worth, [self._dao_dep], headers, input_type=bytes(8))

    def _header_of(self, point: OutPoint) -> Header:
        """Of the block that committed a cell, spent or not."""
        info = require(self.maker.reader.transaction_info(point.tx_hash), "transaction", point.tx_hash)
        return require(self.maker.reader.header(info.block_hash), "header", info.block_hash)


def _code_dep(tx_hash: bytes, index: int) -> CellDep:
    return CellDep(out_point=OutPoint(tx_hash=tx_hash, index=index), dep_type=DEP_TYPE_CODE)
