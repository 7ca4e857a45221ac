"""Random transactions for the DAO script: deposits, requests and withdrawals at the edges of what is allowed."""

from __future__ import annotations

from dataclasses import replace

from consensus.types.blockchain import Header
from consensus.types.core import EpochFraction
from tests.scripts.comparison import by_type, named_deps
from tests.scripts.random_locks import DEPS, LIMIT, Source, chance, plain_witness, spoilt_bytes
from tests.support.builders.mock_transactions import CKB, DAO, Cell, Mock, header, witness

TYPE = by_type(DAO)
PERIOD = 180
ABSOLUTE_EPOCH = 0x20
RATE = 10**16
NUMBERS = [0, 1, 2, 1554, 1555, 2**32, 2**63, 2**64 - 1]


def number(value: int) -> bytes:
    return (value % 2**64).to_bytes(8, "little")


def random_epoch(source: Source, at_least: int = 0) -> EpochFraction:
    length = source.choice([1, 2, 7, 1000, 1800, 65535])
    index = source.choice([0, length // 2, length - 1, source.randrange(length)])
    if chance(source, 0.02):
        index, length = source.choice([(0, 0), (5, 5), (7, 3), (1, 0)])
    return EpochFraction(min(at_least + source.choice([0, 1, 5, 179, 180, 181, 360]), 2**24 - 1), index, length)


def random_rate(source: Source) -> int:
    if chance(source, 0.05):
        return source.choice([0, 1, 2**63, 2**64 - 1])
    return RATE + source.randrange(RATE // 10)


def random_number(source: Source) -> int:
    return source.choice(NUMBERS) if chance(source, 0.1) else source.randrange(1, 10_000)


def random_capacity(source: Source) -> int:
    if chance(source, 0.08):
        return source.choice([0, 1, 61 * CKB, 82 * CKB, 102 * CKB, 146 * CKB, 2**63, 2**64 - 1, 2**64 - 1000 * CKB])
    return source.randrange(110, 5000) * CKB + source.randrange(CKB)


def unlock_since(source: Source, deposit: EpochFraction, request: EpochFraction) -> int:
    """The first moment at which the deposit is free, or one near it, or another kind of since."""
    later = request.index * deposit.length > deposit.index * request.length
    epochs = max(0, request.number - deposit.number) + later
    end = deposit.number + -(-epochs // PERIOD) * PERIOD + source.choice([0, 0, 0, 0, 1, -1, PERIOD, -PERIOD])
    index, length = deposit.index, deposit.length
    if chance(source, 0.3):
        length = source.choice([0, 1, 2, length * 2, 65535])
        index = source.choice([0, 1, index * 2, index * 2 - 1, index * 2 + 1, length])
    flags = ABSOLUTE_EPOCH if chance(source, 0.95) else source.choice([0, 0x40, 0x60, 0xA0, 0x21, 255])
    return (flags << 56 | (length % 65536) << 40 | (index % 65536) << 24 | end % 2**24) % 2**64


def input_witness(source: Source, index: int) -> bytes:
    """One that names a header dep."""
    field = number(index)
    if chance(source, 0.06):
        field = source.choice([b"", bytes(4), field + b"\0", field[:7], number(index + 256), number(2**63 + index)])
    sizes = [LIMIT - 40, LIMIT - 32, LIMIT - 31] if chance(source, 0.03) else [0, 65, 65]
    lock = None if chance(source, 0.5) else source.randbytes(source.choice(sizes))
    made = witness(lock, field, plain_witness(source) if chance(source, 0.1) else None)
    return spoilt_bytes(source, made) if chance(source, 0.05) else made


class Builder:
    """A transaction that grows input by input."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.inputs: list[Cell] = []
        self.outputs: list[Cell] = []
        self.witnesses: list[bytes] = []
        self.headers: list[Header] = []
        self.balance = 0
        """Capacity that the outputs may still take."""

    def header(self, epoch: EpochFraction) -> Header:
        made = header(random_number(self.source), epoch.pack(), random_rate(self.source))
        if not chance(self.source, 0.03):
            self.headers.append(made)
        return made

    def index_of(self, block: Header) -> int:
        if block not in self.headers or chance(self.source, 0.03):
            return self.source.choice([0, 1, 2, 3, 200])
        return self.headers.index(block)

    def plain(self) -> None:
        capacity = random_capacity(self.source)
        self.inputs.append(Cell(capacity=capacity))
        self.witnesses.append(b"")
        self.balance += capacity

    def request(self) -> None:
        """Phase 1, mostly with its withdrawing cell at the same index."""
        source, capacity = self.source, random_capacity(self.source)
        block = self.header(random_epoch(source))
        self.inputs.append(Cell(type_=TYPE, capacity=capacity, data=bytes(8), header=block))
        self.witnesses.append(b"")
        while len(self.outputs) + 1 < len(self.inputs):
            self.output()
        stated = block.body.number if chance(source, 0.95) else random_number(source)
        paid = capacity if chance(source, 0.95) else capacity + source.choice([-1, 1])
        output = Cell(type_=TYPE, capacity=paid % 2**64, data=number(stated))
        if chance(source, 0.05):
            output = replace(output, type_=None, data=b"")
        if chance(source, 0.95):
            self.outputs.append(output)

    def withdrawal(self) -> None:
        """Phase 2; its compensation goes to the balance."""
        source, capacity = self.source, random_capacity(self.source)
        deposited = random_epoch(source)
        requested = random_epoch(source, max(0, deposited.number - source.choice([0, 0, 0, 1])))
        deposit, request = self.header(deposited), self.header(requested)
        stated = deposit.body.number if chance(source, 0.95) else random_number(source)
        since = unlock_since(source, deposited, requested)
        cell = Cell(type_=TYPE, capacity=capacity, data=number(stated), since=since, header=request)
        if chance(source, 0.03):
            cell = replace(cell, header=None)
        self.inputs.append(cell)
        self.witnesses.append(input_witness(source, self.index_of(deposit)))
        occupied = cell.output().occupied_capacity(8)
        rates = [int.from_bytes(block.body.dao[8:16], "little") for block in (deposit, request)]
        self.balance += occupied + (max(0, capacity - occupied)) * rates[1] // max(1, rates[0])

    def output(self) -> None:
        """A new deposit or a plain cell of a part of the balance."""
        source = self.source
        capacity = source.randrange(max(1, self.balance // 2)) if self.balance > 0 else 0
        self.balance -= capacity
        made = Cell(capacity=capacity % 2**64)
        if chance(source, 0.4):
            data = (
                bytes(8) if chance(source, 0.9) else source.choice([b"", bytes(7), bytes(9), number(1), number(2**63)])
            )
            made = replace(made, type_=TYPE, data=data)
        self.outputs.append(made)


def random_dao(source: Source) -> Mock:
    """A few inputs of all kinds, outputs that take all of the compensation, a shannon less or a shannon more."""
    made = Builder(source)
    for _ in range(source.choice([1, 1, 2, 2, 3, 4])):
        source.choice([made.plain, made.request, made.withdrawal, made.withdrawal])()
    for _ in range(source.choice([0, 1, 1, 2, 3])):
        made.output()
    if chance(source, 0.8):
        rest = made.balance + source.choice([0, 0, 0, 1, -1, -1000])
        if 0 <= rest < 2**64:
            made.outputs.append(Cell(capacity=rest))
    if chance(source, 0.12):
        many = source.choice([62, 63, 64, 64, 65, 66, 130]) - len(made.outputs)
        filler = [Cell(capacity=0, type_=TYPE, data=bytes(8)) if chance(source, 0.1) else Cell(capacity=0)]
        made.outputs += filler * max(0, many)
    if chance(source, 0.1):
        source.shuffle(made.headers)
    witnesses = made.witnesses
    if chance(source, 0.05):
        del witnesses[source.randrange(len(witnesses) + 1) :]
    mock = Mock(made.inputs, made.outputs, witnesses, deps=named_deps(DEPS), header_deps=made.headers)
    return with_args(mock, source) if chance(source, 0.04) else mock


def with_args(mock: Mock, source: Source) -> Mock:
    """The same with args, which the script refuses."""
    other = by_type(DAO, source.randbytes(source.choice([1, 20, LIMIT - 54, LIMIT - 53, LIMIT - 52, 33000])))

    def change(cells: list[Cell]) -> list[Cell]:
        return [replace(cell, type_=other) if cell.type_ == TYPE else cell for cell in cells]

    return replace(mock, inputs=change(list(mock.inputs)), outputs=change(list(mock.outputs)))
