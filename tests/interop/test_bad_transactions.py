"""Transactions, good and bad, each in a block of its own: both programs must come to the same verdict.

They are proposed all at once, so that nothing but themselves is in question.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from consensus.crypto.hashing import data_hash
from consensus.types.blockchain import (
    DEP_TYPE_CODE,
    DEP_TYPE_DEP_GROUP,
    HASH_TYPE_TYPE,
    CellDep,
    CellInput,
    CellOutput,
    OutPoint,
    RawTransaction,
    Script,
    Transaction,
    WitnessArgs,
)
from tests.interop.kit_chain import Mirror
from tests.interop.kit_content import code_dep, deploy, out_points
from tests.interop.kit_dao import dao_dep, dao_script
from tests.interop.kit_json import sent_block
from tests.interop.kit_mirror import assert_same_chain
from tests.interop.kit_programs import exits_with
from tests.interop.kit_sign import Single, signed
from tests.interop.kit_verdict import block_with, same_verdict
from tests.support.builders.wallet import CKB, sighash_dep

pytestmark = pytest.mark.timeout(900)

VALUE = 1000 * CKB
NULL = OutPoint(tx_hash=bytes(32), index=0xFFFF_FFFF)
UNKNOWN = OutPoint(tx_hash=b"\x77" * 32, index=0)
Case = tuple[str, Sequence[Transaction]]


class Workshop:
    """Makes transactions that each spend a cell of Alice's."""

    def __init__(self, mirror: Mirror, cells: int) -> None:
        self.mirror, self.wallet = mirror, mirror.alice.wallet
        self.code = deploy(mirror, exits_with(0), exits_with(3), b"", b"\x01" * 100)
        output = CellOutput(capacity=VALUE, lock=self.wallet.lock, type_=None)
        funding = mirror.spend(mirror.alice, [output] * cells)
        mirror.commit(funding)
        self.cells = out_points(funding, cells)
        self.used = 0

    def cell(self) -> OutPoint:
        self.used += 1
        return self.cells[self.used - 1]

    def make(self, *, sign: bool = True, witnesses: list[bytes] | None = None, **changes: Any) -> Transaction:
        """A transfer to oneself with these members changed."""
        body = RawTransaction(
            version=0,
            cell_deps=[sighash_dep(self.mirror.consensus)],
            header_deps=[],
            inputs=[CellInput(since=0, previous_output=self.cell())] if "inputs" not in changes else [],
            outputs=[CellOutput(capacity=VALUE - CKB, lock=self.wallet.lock, type_=None)],
            outputs_data=[b""],
        ).replace(**changes)
        if witnesses is not None:
            return Transaction(body=body, witnesses=witnesses)
        if not sign or not body.inputs:
            return Transaction(body=body, witnesses=[b""])
        return signed(body, [(Single(self.wallet), range(len(body.inputs)))])

    def output(self, capacity: int = VALUE - CKB, **changes: Any) -> CellOutput:
        return CellOutput(capacity=capacity, lock=self.wallet.lock, type_=None).replace(**changes)

    def outputs(self, *outputs: CellOutput, data: Sequence[bytes] | None = None, **changes: Any) -> Transaction:
        contents = [b""] * len(outputs) if data is None else list(data)
        return self.make(outputs=list(outputs), outputs_data=contents, **changes)

    def locked(self, code: bytes, hash_type: int, args: bytes = b"") -> Script:
        return Script(code_hash=data_hash(code), hash_type=hash_type, args=args)


def form_cases(shop: Workshop) -> Iterator[Case]:
    yield "good", [shop.make()]
    yield "version 1", [shop.make(version=1)]
    yield "no inputs", [shop.make(inputs=[])]
    yield "no outputs", [shop.outputs()]
    yield "null input", [shop.make(inputs=[CellInput(since=0, previous_output=NULL)], sign=False)]
    yield (
        "null input, two witnesses",
        [shop.make(inputs=[CellInput(since=0, previous_output=NULL)], witnesses=[b"", b""])],
    )
    cell = CellInput(since=0, previous_output=shop.cell())
    yield "null input beside", [shop.make(inputs=[cell, CellInput(since=0, previous_output=NULL)])]
    yield "input twice", [shop.make(inputs=[cell, cell])]
    yield "input twice, other since", [shop.make(inputs=[cell, cell.replace(since=1)])]
    yield "unknown input", [shop.make(inputs=[CellInput(since=0, previous_output=UNKNOWN)])]
    yield "index beyond", [shop.make(inputs=[CellInput(since=0, previous_output=shop.cells[0].replace(index=9999))])]
    yield "more data than outputs", [shop.make(outputs_data=[b"", b""])]
    yield "less data than outputs", [shop.make(outputs_data=[])]


def amount_cases(shop: Workshop) -> Iterator[Case]:
    yield "all spent", [shop.outputs(shop.output(VALUE))]
    yield "one too much", [shop.outputs(shop.output(VALUE + 1))]
    yield "sum overflows", [shop.outputs(*[shop.output((1 << 64) - 1)] * 2)]
    yield "occupied exactly", [shop.outputs(shop.output(61 * CKB))]
    yield "occupied less one", [shop.outputs(shop.output(61 * CKB - 1))]
    yield "data occupied exactly", [shop.outputs(shop.output(71 * CKB), data=[bytes(10)])]
    yield "data occupied less one", [shop.outputs(shop.output(71 * CKB - 1), data=[bytes(10)])]
    yield "no capacity", [shop.outputs(shop.output(0))]


def script_cases(shop: Workshop) -> Iterator[Case]:
    for hash_type in (0, 1, 2, 4, 6, 8, 254):
        lock = Script(code_hash=b"\x11" * 32, hash_type=hash_type, args=b"")
        yield f"lock of hash type {hash_type}", [shop.outputs(shop.output(lock=lock))]
        yield f"type of hash type {hash_type}", [shop.outputs(shop.output(type_=lock))]
    good, bad = exits_with(0), exits_with(3)
    for hash_type in (0, 2, 4):
        for name, code, place in (("good", good, 0), ("bad", bad, 1), ("empty", b"", 2), ("no ELF", b"\x01" * 100, 3)):
            script = shop.locked(code, hash_type)
            deps = [sighash_dep(shop.mirror.consensus), code_dep(shop.code[place])]
            yield (
                f"{name} type script of hash type {hash_type}",
                [shop.outputs(shop.output(type_=script), cell_deps=deps)],
            )
    yield (
        "type id, wrong args",
        [shop.outputs(shop.output(type_=Script(code_hash=TYPE_ID, hash_type=HASH_TYPE_TYPE, args=b"\x01" * 32)))],
    )
    yield (
        "type id, short args",
        [shop.outputs(shop.output(type_=Script(code_hash=TYPE_ID, hash_type=HASH_TYPE_TYPE, args=b"\x01" * 31)))],
    )
    yield (
        "type id as lock",
        [shop.outputs(shop.output(lock=Script(code_hash=TYPE_ID, hash_type=HASH_TYPE_TYPE, args=b"\x01" * 32)))],
    )
    yield (
        "type id as data",
        [shop.outputs(shop.output(type_=Script(code_hash=TYPE_ID, hash_type=2, args=b"\x01" * 32)))],
    )


TYPE_ID = bytes.fromhex("00000000000000000000000000000000000000000000000000545950455f4944")


def witness_cases(shop: Workshop) -> Iterator[Case]:
    empty = WitnessArgs(lock=bytes(65), input_type=None, output_type=None).raw
    for name, witnesses in (
        ("no witness", []),
        ("empty witness", [b""]),
        ("garbage", [b"\x01\x02"]),
        ("zeros", [empty]),
        ("a tail", [empty + b"\0"]),
        ("short signature", [WitnessArgs(lock=bytes(64), input_type=None, output_type=None).raw]),
    ):
        yield name, [shop.make(witnesses=list(witnesses))]
    good = shop.make()
    yield "another witness behind", [Transaction(body=good.body, witnesses=[*good.witnesses, b""])]
    more = shop.make()
    spoilt = more.witnesses[0][:-1] + bytes([more.witnesses[0][-1] ^ 4])
    yield "bad recovery id", [Transaction(body=more.body, witnesses=[spoilt])]


def dep_cases(shop: Workshop) -> Iterator[Case]:
    lock = sighash_dep(shop.mirror.consensus)
    plain = [lock, code_dep(shop.code[0])]
    yield "code dep", [shop.make(cell_deps=plain)]
    yield "dep twice", [shop.make(cell_deps=[*plain, plain[1]])]
    yield (
        "dep as code and as group",
        [shop.make(cell_deps=[*plain, CellDep(out_point=shop.code[0], dep_type=DEP_TYPE_DEP_GROUP)])],
    )
    yield "group as code", [shop.make(cell_deps=[lock.replace(dep_type=DEP_TYPE_CODE)])]
    yield "group twice as code and group", [shop.make(cell_deps=[lock, lock.replace(dep_type=DEP_TYPE_CODE)])]
    yield "no deps", [shop.make(cell_deps=[])]
    yield "unknown dep", [shop.make(cell_deps=[lock, code_dep(UNKNOWN)])]
    yield "null dep", [shop.make(cell_deps=[lock, code_dep(NULL)])]
    for place, name in ((2, "empty group"), (3, "bad group")):
        yield name, [shop.make(cell_deps=[lock, CellDep(out_point=shop.code[place], dep_type=DEP_TYPE_DEP_GROUP)])]
    spending = shop.cell()
    yield (
        "its own input as dep",
        [shop.make(inputs=[CellInput(since=0, previous_output=spending)], cell_deps=[lock, code_dep(spending)])],
    )
    first = shop.make()
    made = OutPoint(tx_hash=first.hash, index=0)
    reader = shop.make(cell_deps=[lock, code_dep(made)])
    yield "a dep of the block", [first, reader]
    yield "a dep of later in the block", [reader, first]
    yield "a dep of nowhere", [reader]
    spender = shop.make(inputs=[CellInput(since=0, previous_output=made)], outputs=[shop.output(VALUE - 2 * CKB)])
    yield "spent in the block", [first, spender]
    yield "read, then spent", [first, reader, spender]
    yield "spent, then read", [first, spender, reader]
    taken = shop.cell()
    reads = shop.make(cell_deps=[lock, code_dep(taken)])
    takes = shop.make(inputs=[CellInput(since=0, previous_output=taken)])
    yield "old cell read, then spent", [reads, takes]
    yield "old cell spent, then read", [takes, reads]
    again = shop.make(inputs=[CellInput(since=0, previous_output=taken)], outputs=[shop.output(VALUE - 3 * CKB)])
    yield "spent twice", [takes, again]


def header_cases(shop: Workshop, fork: bytes) -> Iterator[Case]:
    source = shop.mirror.source
    tip = int(source.call("get_tip_block_number"), 16)
    for name, number in (("genesis", 0), ("first", 1), ("tip", tip)):
        block_hash = bytes.fromhex(source.call("get_block_hash", hex(number))[2:])
        yield f"header dep {name}", [shop.make(header_deps=[block_hash])]
        yield f"header dep {name} twice", [shop.make(header_deps=[block_hash, block_hash])]
    yield "header dep unknown", [shop.make(header_deps=[b"\x77" * 32])]
    yield "header dep fork", [shop.make(header_deps=[fork])]


RELATIVE = 1 << 63


def since_cases(shop: Workshop, height: int, epoch: int, median_s: int) -> Iterator[Case]:
    """`height` is that of the block that commits them."""
    block, epochs, time, fourth = 0, 1 << 61, 2 << 61, 3 << 61
    length = 10
    fraction = length << 40
    values = {
        "block": [block | height + by for by in (-1, 0, 1)],
        "relative block": [RELATIVE | block | by for by in (0, 1, 2, 3, 4, 5, 10, 1000)],
        "epoch": [
            epochs | fraction | (height % length + by) << 24 | epoch
            for by in (-1, 0, 1)
            if height % length + by < length
        ],
        "epoch without fraction": [epochs | epoch + by for by in (0, 1)],
        "epoch, no well-formed fraction": [epochs | 1 << 24 | epoch, epochs | fraction | length << 24 | epoch - 1],
        "relative epoch": [RELATIVE | epochs | fraction | by << 24 for by in (0, 1, 2, 3, 4)],
        "relative epochs": [RELATIVE | epochs | by for by in (0, 1, 2)],
        "relative bad epoch": [RELATIVE | epochs | 5 << 24, RELATIVE | epochs | fraction | 11 << 24],
        "time": [time | median_s + by for by in (-1, 0, 1, 1000)],
        "relative time": [RELATIVE | time | by for by in (0, 1, 2, 1000)],
        "fourth metric": [fourth | 1, RELATIVE | fourth | 1],
        "reserved flags": [1 << 56 | 1, 1 << 60 | 1, RELATIVE | 1 << 58 | 1],
    }
    for name, sinces in values.items():
        for since in sinces:
            yield f"since {name} {since:#x}", [shop.make(inputs=[CellInput(since=since, previous_output=shop.cell())])]


def dao_cases(shop: Workshop) -> Iterator[Case]:
    """Deposits, and cells that pretend to be withdrawn."""
    dao, deps = dao_script(shop.mirror.consensus), [sighash_dep(shop.mirror.consensus), dao_dep(shop.mirror.consensus)]
    for name, data in (("deposit", bytes(8)), ("seven zeros", bytes(7)), ("nine", bytes(9)), ("nonzero", b"\x01" * 8)):
        yield f"DAO {name}", [shop.outputs(shop.output(type_=dao), data=[data], cell_deps=deps)]
    yield "DAO with args", [shop.outputs(shop.output(type_=dao.replace(args=b"\x01")), data=[bytes(8)], cell_deps=deps)]
    deposit = shop.outputs(shop.output(type_=dao), data=[bytes(8)], cell_deps=deps)
    spent = shop.make(
        inputs=[CellInput(since=0, previous_output=OutPoint(tx_hash=deposit.hash, index=0))],
        outputs=[shop.output(VALUE - 2 * CKB)],
        cell_deps=deps,
    )
    yield "a deposit spent at once", [deposit, spent]


def test_each_transaction_gets_the_same_verdict(mirror: Mirror) -> None:
    shop = Workshop(mirror, 180)
    mirror.mine(9 - mirror.source.tip() % 10)
    fork = bytes.fromhex(_side_block(mirror)[2:])
    proposed_at = mirror.source.tip() + 1
    median_s = int(mirror.source.call("get_tip_header")["timestamp"], 16) // 1000
    height = proposed_at + 2
    cases = [
        *form_cases(shop),
        *amount_cases(shop),
        *script_cases(shop),
        *witness_cases(shop),
        *dep_cases(shop),
        *header_cases(shop, fork),
        *since_cases(shop, height, height // 10, median_s),
        *dao_cases(shop),
    ]
    everything = {transaction.hash: transaction for _, transactions in cases for transaction in transactions}
    mirror.mine(propose=list(everything.values()))
    mirror.mine()
    verdicts = {}
    found = []
    for name, transactions in cases:
        try:
            block = block_with(mirror, mirror.filled(commit=transactions) | {"uncles": []})
            verdicts[name] = same_verdict(mirror, block)
        except AssertionError as error:
            found.append(f"{name}: {error}")
    assert not found, "\n".join(found)
    assert verdicts["good"]
    assert 20 < sum(verdicts.values()) < len(cases) - 50
    assert_same_chain(mirror.pair)


def _side_block(mirror: Mirror) -> str:
    """A block beside the tip, on both."""
    template = mirror.template()
    mirror.mine()
    side: str = mirror.make(template | {"current_time": hex(int(template["current_time"], 16) + 777)})
    mirror.target.call("submit_block", "0x0", sent_block(mirror.source.call("get_fork_block", side)))
    return side
