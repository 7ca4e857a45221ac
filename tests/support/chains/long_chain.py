"""Chains for benchmarks: valid blocks on top of the dev chain, made with the rules themselves and checked by them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ckb_node.chain.attach import attach_block, place_after, store_block, stored_ext
from ckb_node.chain.checks import all_rules, scripts_trusted
from ckb_node.chain.writer import ChainWriter
from ckb_node.verification.scripts import ScriptService
from consensus.context import ChainReader
from consensus.lookup import require
from consensus.params import Consensus
from consensus.types.blockchain import (
    Block,
    CellDep,
    CellInput,
    CellOutput,
    OutPoint,
    RawTransaction,
    Transaction,
    UncleBlock,
    WitnessArgs,
)
from storage.chain_store import ChainStore
from tests.support.builders.children import next_block, next_cellbase
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell, sighash_dep
from tests.support.chains.devchain import dev_consensus

NOW_MS = 1 << 50
CELL_CAPACITY = 1000 * CKB
CELLS_PER_FAN = 1000
FEE = 10_000

Cell = tuple[OutPoint, int]
Output = tuple[CellOutput, bytes]
"""A cell with its data."""
MakeOutput = Callable[[CellInput, int], Output]
"""The output at an index of a transaction with this first input."""


class ChainMaker:
    """A growing chain whose blocks pay Bob. `raw_blocks` are all of them but genesis, serialised."""

    def __init__(self, consensus: Consensus | None = None) -> None:
        """On the bundled dev chain, or another one that funds Alice and leaves out proof of work."""
        self.consensus = consensus or dev_consensus()
        self.raw_blocks: list[bytes] = []
        self._store = ChainStore.in_memory()
        ChainWriter(self.consensus, self._store, ScriptService(self.consensus), lambda: NOW_MS).start(bytes(32))
        self._txn = self._store.begin()
        self._check = all_rules(self.consensus, scripts_trusted, lambda: NOW_MS)
        self.alice, self.miner = Wallet(ALICE_KEY), Wallet(BOB_KEY).lock
        self._purse = issued_cell(self.consensus, self.alice)

    @property
    def reader(self) -> ChainReader:
        """The chain as it is now."""
        return self._txn

    def add(
        self,
        transactions: Sequence[Transaction] = (),
        proposals: Sequence[Transaction] = (),
        uncles: Sequence[UncleBlock] = (),
    ) -> None:
        """Put a block on the tip that commits, proposes and embeds these."""
        txn = self._txn
        body = [next_cellbase(self.consensus, txn, self.miner), *transactions]
        ids = [transaction.short_id for transaction in proposals]
        block = next_block(self.consensus, txn, body, proposals=ids, uncles=uncles)
        checked = self._check(txn, block)
        place = place_after(stored_ext(txn, block.parent_hash), block, NOW_MS)
        store_block(txn, block, checked.epoch, place, verified=True, facts=checked.facts)
        attach_block(txn, block)
        self.raw_blocks.append(block.raw)

    def add_in_two_phases(self, batches: Sequence[Sequence[Transaction]], uncle_every: int = 0) -> None:
        """Propose and commit the batches, one for each block, all blocks but the first and last two doing both.

        With `uncle_every`, one block in so many embeds a sibling of its parent.
        """
        waiting: deque[Sequence[Transaction]] = deque([(), ()], maxlen=2)
        since_uncle = 1
        for batch in (*batches, (), ()):
            uncles = self._uncles() if 0 < uncle_every <= since_uncle else []
            since_uncle = 1 if uncles else since_uncle + 1
            self.add(waiting[0], batch, uncles)
            waiting.append(batch)

    def _uncles(self) -> list[UncleBlock]:
        """A sibling of the tip that proposed the same; none when the next block begins another epoch."""
        tip = self.reader.tip_header()
        if tip.number + 1 == self.reader.tip_epoch().start_number + self.reader.tip_epoch().length:
            return []
        block = require(self.reader.block(tip.hash), "block", tip.hash)
        return [UncleBlock(header=tip.with_fields(timestamp=tip.timestamp + 1), proposals=block.own_proposal_ids)]

    def cells(self, count: int, capacity: int = CELL_CAPACITY) -> list[Cell]:
        """Fresh cells of Alice's, committed."""
        output = CellOutput(capacity=capacity, lock=self.alice.lock, type_=None), b""
        return [(out_point, capacity) for out_point in self.outputs(count, lambda _input, _index: output)]

    def outputs(
        self, count: int, make: MakeOutput, deps: Sequence[CellDep] = (), per_fan: int = CELLS_PER_FAN
    ) -> list[OutPoint]:
        """Fresh cells, committed in transactions that Alice pays. `deps` are what their type scripts need."""
        fans, made = [], []
        for first in range(0, count, per_fan):
            wanted, purse = min(per_fan, count - first), CellInput(since=0, previous_output=self._purse[0])
            outputs = [make(purse, index) for index in range(wanted)]
            rest = self._purse[1] - sum(output.capacity for output, _ in outputs) - 100 * FEE
            outputs.append((CellOutput(capacity=rest, lock=self.alice.lock, type_=None), b""))
            fan = self.alice.sign(a_body(self.consensus, [purse], outputs, deps))
            made += [OutPoint(tx_hash=fan.hash, index=index) for index in range(wanted)]
            self._purse = OutPoint(tx_hash=fan.hash, index=wanted), rest
            fans.append([fan])
        self.add_in_two_phases(fans)
        return made

    def transfers(self, cells: Sequence[Cell]) -> Iterator[Transaction]:
        """For each cell a signed transfer: one input, a payment and the change."""
        for cell in cells:
            payment = CELL_CAPACITY * 2 // 5
            outputs = [(self.miner, payment), (self.alice.lock, CELL_CAPACITY - payment - FEE)]
            yield self.alice.transfer(self.consensus, [cell], outputs)


def a_body(
    consensus: Consensus,
    inputs: Sequence[CellInput],
    outputs: Sequence[Output],
    deps: Sequence[CellDep] = (),
    header_deps: Sequence[bytes] = (),
) -> RawTransaction:
    """A transaction whose inputs the standard lock guards, not signed. `deps` are those besides the lock's."""
    return RawTransaction(
        version=0,
        cell_deps=[sighash_dep(consensus), *deps],
        header_deps=header_deps,
        inputs=inputs,
        outputs=[output for output, _ in outputs],
        outputs_data=[data for _, data in outputs],
    )


def write_blocks(path: Path, raw_blocks: Sequence[bytes], preparing: int = 0) -> None:
    """A file of blocks, each behind its length (u32 LE). Before them how many only prepare for the others (u32 LE)."""
    with path.open("wb") as file:
        file.write(preparing.to_bytes(4, "little"))
        for raw in raw_blocks:
            file.write(len(raw).to_bytes(4, "little") + raw)


def read_blocks(path: Path) -> tuple[list[bytes], list[bytes]]:
    """The preparing blocks of such a file, and the others."""
    raws = []
    with path.open("rb") as file:
        preparing = int.from_bytes(file.read(4), "little")
        while head := file.read(4):
            raws.append(file.read(int.from_bytes(head, "little")))
    return raws[:preparing], raws[preparing:]


def chain_with_a_bad_signature() -> list[Block]:
    """Blocks that only their scripts show to be wrong: one commits a transfer whose signature is spoilt."""
    maker = ChainMaker()
    transfer = next(maker.transfers(maker.cells(1)))
    witness = WitnessArgs(lock=bytes(65), input_type=None, output_type=None).raw
    maker.add_in_two_phases([[transfer.replace(witnesses=[witness])]])
    for _ in range(3):
        maker.add()
    return [Block.parse(raw) for raw in maker.raw_blocks]
