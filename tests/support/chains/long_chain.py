"""Chains for benchmarks: valid blocks on top of the dev chain, made with the rules themselves and checked by them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from ckb_node.chain.attach import attach_block, place_after, store_block, stored_ext
from ckb_node.chain.checks import all_rules, scripts_trusted
from ckb_node.chain.writer import ChainWriter
from ckb_node.verification.scripts import ScriptService
from consensus.params import Consensus
from consensus.types.blockchain import (
    Block,
    OutPoint,
    Transaction,
    WitnessArgs,
)
from storage.chain_store import ChainStore
from tests.support.builders.children import next_block, next_cellbase
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell
from tests.support.chains.devchain import dev_consensus

NOW_MS = 1 << 50
CELL_CAPACITY = 1000 * CKB
CELLS_PER_FAN = 2000
FEE = 10_000

Cell = tuple[OutPoint, int]


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
        self._alice, self._miner = Wallet(ALICE_KEY), Wallet(BOB_KEY).lock
        self._purse = issued_cell(self.consensus, self._alice)

    def add(self, transactions: Sequence[Transaction] = (), proposals: Sequence[Transaction] = ()) -> None:
        """Put a block on the tip that commits and proposes these."""
        txn = self._txn
        body = [next_cellbase(self.consensus, txn, self._miner), *transactions]
        ids = [transaction.short_id for transaction in proposals]
        block = next_block(self.consensus, txn, body, proposals=ids)
        checked = self._check(txn, block)
        place = place_after(stored_ext(txn, block.parent_hash), block, NOW_MS)
        store_block(txn, block, checked.epoch, place, verified=True, facts=checked.facts)
        attach_block(txn, block)
        self.raw_blocks.append(block.raw)

    def add_in_two_phases(self, batches: Sequence[Sequence[Transaction]]) -> None:
        """Propose and commit the batches, one for each block, all blocks but the first and last two doing both."""
        waiting: deque[Sequence[Transaction]] = deque([(), ()], maxlen=2)
        for batch in (*batches, (), ()):
            self.add(waiting[0], batch)
            waiting.append(batch)

    def cells(self, count: int) -> list[Cell]:
        """Fresh cells of Alice's, committed."""
        fans, cells = [], []
        for first in range(0, count, CELLS_PER_FAN):
            wanted = min(CELLS_PER_FAN, count - first)
            rest = self._purse[1] - wanted * CELL_CAPACITY - 100 * FEE
            outputs = [(self._alice.lock, CELL_CAPACITY)] * wanted + [(self._alice.lock, rest)]
            fan = self._alice.transfer(self.consensus, [self._purse], outputs)
            cells += [(OutPoint(tx_hash=fan.hash, index=index), CELL_CAPACITY) for index in range(wanted)]
            self._purse = OutPoint(tx_hash=fan.hash, index=wanted), rest
            fans.append([fan])
        self.add_in_two_phases(fans)
        return cells

    def transfers(self, cells: Sequence[Cell]) -> Iterator[Transaction]:
        """For each cell a signed transfer: one input, a payment and the change."""
        for cell in cells:
            payment = CELL_CAPACITY * 2 // 5
            outputs = [(self._miner, payment), (self._alice.lock, CELL_CAPACITY - payment - FEE)]
            yield self._alice.transfer(self.consensus, [cell], outputs)


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
