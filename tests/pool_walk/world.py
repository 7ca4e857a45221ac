"""A node that can be started again, a rival that mines on branches of its own, and cells to spend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from random import Random
from typing import Final

from ckb_node.txpool.limits import PoolLimits
from consensus.params import Consensus
from consensus.types.blockchain import Block, Script, Transaction
from storage.chain_store import ChainStore
from tests.pool_walk.plain import Plain
from tests.support.builders.wallet import CKB, issued_cell
from tests.support.chains.branches import submit_all
from tests.support.chains.devchain import DevChain, dev_chain
from tests.support.chains.forking import Guard, Program, deploy, forking
from tests.support.chains.funded_pool import ALICE, Cell, Funds, blocks_of, cell_of

BASE: Final = 4
"""Height of the last block that both have from the start."""
CELLS: Final = 24
CELL: Final = 100_000 * CKB
GUARDED: Final = 5
"""Cells of each program that tells versions of the VM apart."""
FORK_EPOCHS: Final = (1, 1, 2)
"""Of ten blocks each: walks cross the first block of one of them."""


class KeptStore(ChainStore):
    """In memory, and still there when the node is started again."""

    def close(self) -> None:
        """Not yet."""

    def end(self) -> None:
        super().close()


class Node:
    """A dev chain; `start` is also what a new start of the process does."""

    def __init__(self, message: bytes, limits: PoolLimits, consensus: Consensus | None) -> None:
        self._message, self._limits, self._consensus = message, limits, consensus
        self._store: Final = KeptStore.in_memory()
        self._running = AsyncExitStack()
        self.dev: DevChain

    async def start(self, time_ms: int | None = None) -> None:
        self.dev = await self._running.enter_async_context(
            dev_chain(self._consensus, self._store, self._limits, self._message)
        )
        if time_ms is not None:
            self.dev.clock.time_ms = time_ms

    async def stop(self) -> None:
        await self._running.aclose()

    async def end(self) -> None:
        await self.stop()
        assert isinstance(self._store, KeptStore)
        self._store.end()

    @property
    def height(self) -> int:
        return self.dev.chain.view().tip_header().number

    def main(self, first: int) -> list[Block]:
        """The main chain from a height on."""
        return blocks_of(Funds(self.dev, [], self.dev.consensus.genesis_block.transactions[1]), first)


class World:
    """Both nodes on one base, on which Alice has cells; all transactions that were ever made."""

    def __init__(self, random: Random, limits: PoolLimits, *, has_fork: bool = False) -> None:
        """With a fork scripts go over to another version of the VM, and some cells' locks ask for it."""
        consensus = forking(random.choice(FORK_EPOCHS)) if has_fork else None
        self.random: Final = random
        self.node: Final = Node(b"", limits, consensus)
        self.rival: Final = Node(b"rival", PoolLimits(), consensus)
        self.txs: Final[dict[bytes, Plain]] = {}
        self._has_fork: Final = has_fork
        self._cells: Final[list[Cell]] = []
        self.guards: Final[dict[Script, Guard]] = {}
        self._guarded: Final[dict[Program, list[Cell]]] = {}

    async def open(self) -> None:
        for each in (self.node, self.rival):
            await each.start()
        dev = self.node.dev
        big = issued_cell(dev.consensus, ALICE)
        outputs = [(ALICE.lock, CELL)] * CELLS
        splitting = ALICE.transfer(dev.consensus, [big], [*outputs, (ALICE.lock, big[1] - CELL * CELLS - 100_000)])
        await dev.pool.submit(splitting)
        if self._has_fork:
            purse = cell_of(splitting, CELLS)
            deploying, guards, cells = deploy(dev.consensus, purse, list(Program), GUARDED, CELL)
            self.guards.update({each.lock: each for each in guards.values()})
            self._guarded.update(cells)
            await dev.pool.submit(deploying)
        for _ in range(BASE):
            await dev.mine()
            await dev.settle_pool()  # by genesis, whose epoch has no length, the next block is of epoch 1
        await submit_all(self.rival.dev, self.node.main(1))
        self._cells.extend(cell_of(splitting, index) for index in range(CELLS))

    async def close(self) -> None:
        for each in (self.node, self.rival):
            await each.end()

    def same_time(self) -> None:
        """Both clocks show the later time."""
        clocks = [each.dev.clock for each in (self.node, self.rival)]
        latest = max(clock.time_ms for clock in clocks)
        for clock in clocks:
            clock.time_ms = latest

    # ------------------------------------------------------------ transactions

    def transaction(self, of: Node) -> Transaction:
        """Spends cells as that node's pool has them: mostly free ones, sometimes taken, gone or unknown ones."""
        random = self.random
        if self._has_fork and random.random() < 0.4:
            return self._guarded_transaction(of)
        cells = [self._cell(of) for _ in range(random.choice((1, 1, 1, 2, 3)))]
        if random.random() < 0.95:
            cells = list(dict.fromkeys(cells))
        reads = [self._cell(of)[0] for _ in range(random.choice((0, 0, 0, 1, 2)))]
        tip = of.height
        headers = []
        if random.random() < 0.15:
            headers = [block.hash for block in of.main(max(1, tip - random.randrange(4)))[:1]]
        funds = Funds(of.dev, [], of.dev.consensus.genesis_block.transactions[1])
        tx = funds.spend(
            *cells,
            fee=self._fee(),
            outputs=random.choice((1, 1, 2, 3)),
            reads=list({each.raw: each for each in reads}.values()),
            header_deps=headers,
            since=tip + random.randrange(-2, 7) if random.random() < 0.1 else 0,
            data=bytes(random.choice((0, 0, 0, 300, 3000))),
        )
        self.note(tx)
        return tx

    def _guarded_transaction(self, of: Node) -> Transaction:
        """Spends cells of one program, back to it or to Alice."""
        random = self.random
        guard = random.choice(list(self.guards.values()))
        pool = self._guarded[guard.program]
        cells = list(dict.fromkeys(self._cell(of, pool) for _ in range(random.choice((1, 1, 2)))))
        reads = [self._cell(of)[0] for _ in range(random.choice((0, 0, 0, 1)))]
        outputs = random.choices((guard.lock, ALICE.lock), k=random.choice((1, 1, 2)))
        tx = guard.spend(*cells, fee=self._fee(), outputs=outputs, reads=reads)
        self.note(tx, guard.program)
        return tx

    def _fee(self) -> int:
        random = self.random
        return random.choice((400, 2_000, 10_000, 10_000, 10_001, 50_000, random.randrange(1_000, 1_000_000), -1))

    def _cell(self, of: Node, among: Sequence[Cell] = ()) -> Cell:
        """Half of the time the newest are looked at, so that chains grow."""
        random, graph, view = self.random, of.dev.pool.pool.graph, of.dev.chain.view()
        wanted = random.random()
        among = among or self._cells
        cells = among[-12:] if random.random() < 0.5 else among
        for out_point, capacity in random.choices(cells, k=20):
            is_free = out_point.raw not in graph.spenders
            is_known = graph.by_hash(out_point.tx_hash) is not None or view.cell(out_point.raw) is not None
            if (is_known and is_free) if wanted < 0.85 else (is_known if wanted < 0.95 else True):
                return out_point, capacity
        return random.choice(among)

    def note(self, tx: Transaction, program: Program | None = None) -> None:
        """Its outputs are worth spending. `program` guards the cells that it spends."""
        self.txs[tx.hash] = Plain.of(tx, program)
        for index, output in enumerate(tx.body.outputs):
            guard = self.guards.get(output.lock)
            cells = self._cells if guard is None else self._guarded[guard.program]
            cells.append(cell_of(tx, index))

    def ancestry(self, tx: Plain, left: Iterable[bytes]) -> list[Plain]:
        """It and all known transactions whose cells it needs, and of those that have left who read what it spends."""
        found, todo = {tx.tx.hash: tx}, [tx]
        gone = [self.txs[each] for each in left if each in self.txs]
        while todo:
            each = todo.pop()
            creators = [self.txs[key[:32]] for key in (*each.inputs, *each.deps) if key[:32] in self.txs]
            readers = [other for other in gone if not other.deps.isdisjoint(each.inputs)]
            for parent in (*creators, *readers):
                if parent.tx.hash not in found:
                    found[parent.tx.hash] = parent
                    todo.append(parent)
        return list(found.values())


def common_height(one: Node, other: Node) -> int:
    """Of the last block that both main chains have."""
    ours, theirs = one.dev.chain.view(), other.dev.chain.view()
    height = min(one.height, other.height)
    while ours.main_hash(height) != theirs.main_hash(height):
        height -= 1
    return height


def unknown_blocks(giver: Node, taker: Node) -> Sequence[Block]:
    """What the giver's main chain has and the taker's has not."""
    return giver.main(common_height(giver, taker) + 1)
