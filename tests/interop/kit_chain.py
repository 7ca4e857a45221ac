"""A chain that one program makes and the other follows: what is mined is copied at once, and both must agree."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ckb_node.specs import files_of
from consensus.chainspec.spec import build_consensus, parse_spec
from consensus.params import Consensus
from consensus.types.blockchain import CellDep, CellInput, CellOutput, OutPoint, RawTransaction, Script, Transaction
from tests.interop.kit_json import Json, hexed, transaction_json
from tests.interop.kit_mirror import assert_same_block, assert_same_tip, copy_block, fresh_template
from tests.interop.kit_sign import Signer, Single, signed
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell, sighash_dep
from tests.support.nodes.process import RpcClient, RpcFailure
from tests.support.nodes.reference import Pair

PROPOSAL_GAP = 2
"""Blocks from a proposal to the first block that may commit it."""

POOL_S = 60.0
EPOCH_PART = (1 << 16) - 1
COUNTS: Counter[str] = Counter()
"""What all tests of the session made, told at its end."""


@dataclass
class Purse:
    """A wallet with one cell that is spent and renewed."""

    wallet: Wallet
    out_point: OutPoint
    capacity: int


@dataclass
class Mirror:
    """`source` makes blocks, `target` gets each of them by submit_block."""

    pair: Pair
    consensus: Consensus
    source: RpcClient
    target: RpcClient
    alice: Purse = field(init=False)
    bob: Purse = field(init=False)

    def __post_init__(self) -> None:
        self.alice, self.bob = (self._purse(key) for key in (ALICE_KEY, BOB_KEY))

    def _purse(self, key: bytes) -> Purse:
        wallet = Wallet(key)
        return Purse(wallet, *issued_cell(self.consensus, wallet))

    # -------------------------------------------------------- blocks

    def template(self) -> Json:
        """A template of the source on its tip, without what its pool would like to commit and propose."""
        return fresh_template(self.source) | {"transactions": [], "proposals": []}

    def make(self, template: Json) -> str:
        """The source mines a template's block and keeps it to itself; its hash."""
        block_hash: str = self.source.call("generate_block_with_template", template)
        return block_hash

    def copy(self, block_hash: str, *, compare: bool = True) -> Json:
        """Give a block of the source's main chain to the target; both must have the same tip and agree about it."""
        view = copy_block(self.source, self.target, block_hash)
        COUNTS["blocks"] += 1
        COUNTS["transactions"] += len(view["transactions"]) - 1
        COUNTS["uncles"] += len(view["uncles"])
        if compare:
            assert_same_tip(self.pair)
            assert_same_block(self.pair, block_hash)
        return view

    def filled(
        self, *, commit: Sequence[Transaction] = (), propose: Sequence[Transaction] = (), **changes: Any
    ) -> Json:
        """A template with this content; `changes` are of the template's members."""
        content = {
            "transactions": [committed(transaction) for transaction in commit],
            "proposals": [hexed(transaction.short_id) for transaction in propose],
        }
        return self.template() | content | changes

    def mine(self, count: int = 1, *, compare: bool = True, **content: Any) -> Json:
        """`count` blocks with this content each (see `filled`). The view of the last."""
        view: Json = None
        for _ in range(count):
            view = self.copy(self.make(self.filled(**content)), compare=compare)
        return view

    def commit(self, *transactions: Transaction, **changes: Any) -> Json:
        """Propose and commit in blocks made by hand, past both pools. The view of the committing block."""
        self.mine(propose=transactions)
        self.mine(PROPOSAL_GAP - 1)
        return self.mine(commit=transactions, **changes)

    def tip_epoch(self) -> tuple[int, int, int]:
        """Number, index and length of the tip's epoch."""
        packed = int(self.source.call("get_tip_header")["epoch"], 16)
        return packed & 0xFFFFFF, packed >> 24 & EPOCH_PART, packed >> 40

    # -------------------------------------------------------- transactions

    def send(self, transaction: Transaction) -> str:
        """To both pools: the same answer."""
        theirs, ours = self.pair.both("send_transaction", transaction_json(transaction), "passthrough")
        assert theirs == ours == hexed(transaction.hash)
        return hexed(transaction.hash)

    def spend(
        self,
        purse: Purse,
        outputs: Sequence[CellOutput],
        data: Sequence[bytes] = (),
        *,
        fee: int = 100_000,
        inputs: Sequence[CellInput] = (),
        added: int = 0,
        cell_deps: Sequence[CellDep] = (),
        header_deps: Sequence[bytes] = (),
        signers: Sequence[tuple[Signer, Sequence[int]]] = (),
        input_types: Mapping[int, bytes] | None = None,
    ) -> Transaction:
        """Pay for outputs from a purse, the change goes back to it.

        `inputs` come first, bring `added` shannons and are opened by `signers`.
        """
        change = purse.capacity + added - fee - sum(output.capacity for output in outputs)
        body = RawTransaction(
            version=0,
            cell_deps=[sighash_dep(self.consensus), *cell_deps],
            header_deps=list(header_deps),
            inputs=[*inputs, CellInput(since=0, previous_output=purse.out_point)],
            outputs=[*outputs, CellOutput(capacity=change, lock=purse.wallet.lock, type_=None)],
            outputs_data=[*data, *([b""] * (len(outputs) + 1 - len(data)))],
        )
        transaction = signed(body, [*signers, (Single(purse.wallet), [len(inputs)])], input_types)
        purse.out_point, purse.capacity = OutPoint(tx_hash=transaction.hash, index=len(outputs)), change
        return transaction

    def transfer(self, payer: Purse, to: Script, capacity: int, *, fee: int = 100_000) -> Transaction:
        return self.spend(payer, [CellOutput(capacity=capacity, lock=to, type_=None)], fee=fee)


def committed(transaction: Transaction) -> Json:
    """As a template has it."""
    return {
        "hash": hexed(transaction.hash),
        "required": False,
        "cycles": None,
        "depends": None,
        "data": transaction_json(transaction),
    }


def purses(mirror: Mirror, count: int) -> list[Purse]:
    """Cells of Alice's that do not depend on each other, on the chain."""
    lock = mirror.alice.wallet.lock
    splitting = mirror.spend(mirror.alice, [CellOutput(capacity=10_000 * CKB, lock=lock, type_=None)] * count)
    mirror.commit(splitting)
    points = (OutPoint(tx_hash=splitting.hash, index=index) for index in range(count))
    return [Purse(mirror.alice.wallet, point, 10_000 * CKB) for point in points]


def mirror_of(pair: Pair, direction: str) -> Mirror:
    """`direction`: which of the two makes the blocks, "reference" or "ours"."""
    consensus = build_consensus(parse_spec(pair.spec_path.read_text()), files_of(Path()))
    nodes = {"reference": pair.reference.rpc, "ours": pair.ours.rpc}
    source = nodes.pop(direction)
    return Mirror(pair, consensus, source, *nodes.values())


def both_refuse(pair: Pair, method: str, *params: Any) -> list[str]:
    """Both answer with an error of the same code; their messages, the reference's first."""
    messages, codes = [], []
    for rpc in (pair.reference.rpc, pair.ours.rpc):
        try:
            result = rpc.call(method, *params)
        except RpcFailure as failure:
            messages.append(failure.message)
            codes.append(failure.code)
        else:
            raise AssertionError(f"{method} was answered with {result}")
    assert codes[0] == codes[1], messages
    return messages


def wait_until(done: Any, timeout_s: float = POOL_S) -> None:
    """Until `done()` is true."""
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
