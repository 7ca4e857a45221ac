"""Random transactions, blocks, reorganisations, restarts; after each step the pool must be what plain rules say."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random
from typing import Final

from ckb_node.txpool.entry import Status
from ckb_node.txpool.events import TransactionRejected
from ckb_node.txpool.limits import PoolLimits
from ckb_node.txpool.rejects import Reject
from consensus.errors import CkbError
from consensus.types.blockchain import Transaction
from tests.pool_walk.judge import Judge
from tests.pool_walk.plain import Plain, PlainPool, faults
from tests.pool_walk.world import BASE, World, common_height, unknown_blocks
from tests.support.chains.branches import submit_all
from tests.support.chains.forking import Program
from tests.support.chains.funded_pool import Funds, cell_of

EXPIRY_MS: Final = 3_600_000
HASH: Final = re.compile(r"by tx (?:Byte32\()?0x([0-9a-f]{64})")
BY_HAND: Final = "by hand"
FREE: Final = frozenset({"Full", BY_HAND})
"""Reasons to leave that the state afterwards does not show."""


class PoolFaultError(AssertionError):
    """The pool is not what it must be."""


class Walk:
    """One seed's steps. `directory` keeps the pool between runs. With storms threads decide what comes first, so that a
    seed does not do the same each time."""

    def __init__(self, seed: int, directory: Path, *, has_storms: bool = False, has_fork: bool = False) -> None:
        self.random: Final = Random(f"pool walk {seed}")
        self.counts: Final = Counter[str]()
        self._path: Final = directory / "pool"
        limits = PoolLimits(
            max_size=self.random.choice((6_000, 20_000, 1_000_000)),
            max_ancestors=self.random.choice((3, 6, 25)),
            expiry_ms=EXPIRY_MS,
        )
        self.world: Final = World(self.random, limits, has_fork=has_fork)
        self._cycles: Final[dict[tuple[Program, int], int]] = {}
        """Of each program, by the version of the VM: the same each time."""
        self._versions: Final = set[int]()
        self._alive: Final[dict[bytes, Plain]] = {}
        """What came into the pool, and has not left for a good reason."""
        self._taken: dict[bytes, bytes] = {}
        """Cells that were spent in the pool before this step, by whom: a rival may have left in the same step."""
        self._left: Final[dict[bytes, str]] = {}
        """Why they left in this step."""
        self._winners: Final[set[bytes]] = set()
        """For whom others left in this step."""
        self._in_between = False
        """What could be in at the end of this step perhaps could not be while it went on."""
        self._steps: Final[Sequence[tuple[int, Callable[[], Awaitable[None]]]]] = (
            (40, self._send), (8, self._give), (10, self._tell_rival), (16, self._mine), (10, self._rival_mines),
            (5, self._rival_rules), (4, self._rival_follows), (2, self._rival_goes_back), (3, self._restart),
            (3, self._remove), (3, self._let_time_pass), (1, self._cut), (20 * has_storms, self._storm),
        )  # fmt: skip

    async def run(self, steps: int) -> Counter[str]:
        """Raises PoolFaultError."""
        await self.world.open()
        self._listen()
        try:
            for _ in range(steps):
                await self._step()
        finally:
            await self.world.close()
        self.counts["forks crossed"] += len(self._versions) - 1
        return self.counts

    async def _step(self) -> None:
        weights, actions = zip(*self._steps, strict=True)
        (action,) = self.random.choices(actions, weights)
        self._left.clear()
        self._winners.clear()
        self._in_between = False
        try:
            await action()
            await self.world.node.dev.settle_pool()
            await self.world.rival.dev.settle_pool()
            self.world.same_time()
            await self._check()
        except (AssertionError, CkbError) as error:
            raise PoolFaultError(f"step {self.counts.total()}, {action.__name__}: {error}") from error
        self.counts[action.__name__] += 1

    # ------------------------------------------------------------ steps

    async def _send(self) -> None:
        """RPC gives some, one after the other: each answer is foreseen."""
        for _ in range(self.random.randrange(1, 5)):
            tx = self.world.transaction(self.world.node)
            known = self.world.txs[tx.hash]
            expected = Judge(self._plain()).verdict(known)
            kind = await self._submitted(tx)
            if expected is not None and kind != expected:
                raise PoolFaultError(f"{tx.hash.hex()} should be {expected or 'taken'}, and is {kind or 'taken'}")
            self.counts[f"answer {kind or 'taken'}"] += 1

    async def _submitted(self, tx: Transaction) -> str:
        try:
            await self.world.node.dev.pool.submit(tx)
        except Reject as reason:
            return reason.kind
        if tx.hash in self.world.node.dev.pool.pool.graph.entries or self._holds(tx.hash):
            self._alive[tx.hash] = self.world.txs[tx.hash]
        return ""

    def _holds(self, tx_hash: bytes) -> bool:
        return self.world.node.dev.pool.pool.graph.by_hash(tx_hash) is not None

    async def _give(self) -> None:
        """Peers give a few that stand on each other, in any order."""
        node = self.world.node
        txs = [self.world.transaction(node)]
        for _ in range(self.random.randrange(4)):
            parent = self.random.choice(txs)
            txs.append(self._child(parent))
        self.random.shuffle(txs)
        for tx in txs:
            node.dev.pool.remote.submit(tx, None, self.random.randrange(1, 3))

    def _child(self, parent: Transaction) -> Transaction:
        node = self.world.node
        funds = Funds(node.dev, [], node.dev.consensus.genesis_block.transactions[1])
        index, fee = self.random.randrange(len(parent.body.outputs)), self.random.randrange(5_000, 100_000)
        guard, cell = self.world.guards.get(parent.body.outputs[index].lock), cell_of(parent, index)
        tx = funds.spend(cell, fee=fee) if guard is None else guard.spend(cell, fee=fee)
        self.world.note(tx, None if guard is None else guard.program)
        return tx

    async def _storm(self) -> None:
        """RPC and peers give many at a time, while blocks come."""
        self._in_between = True
        world, random = self.world, self.random
        txs = [world.transaction(world.node) for _ in range(random.randrange(2, 12))]
        txs += [self._child(random.choice(txs)) for _ in range(random.randrange(4))]
        for tx in random.sample(txs, random.randrange(len(txs))):
            world.node.dev.pool.remote.submit(tx, None, random.randrange(1, 3))
        blocks = random.choice((self._mine, self._rival_rules, self._rival_follows))
        async with asyncio.TaskGroup() as group:
            run = group.create_task(world.node.dev.settle_pool())
            for tx in random.sample(txs, random.randrange(1, len(txs))):
                group.create_task(self._submitted(tx))
            group.create_task(blocks())
            await run

    async def _tell_rival(self) -> None:
        """The rival gets some of the node's, or others, which may be in conflict with them."""
        rival = self.world.rival
        held = [entry.tx for entry in self.world.node.dev.pool.pool.graph]
        chosen = held[: self.random.randrange(1, 9)] if self.random.random() < 0.5 else []
        for tx in chosen or [self.world.transaction(rival) for _ in range(self.random.randrange(1, 4))]:
            try:
                await rival.dev.pool.submit(tx)
            except Reject:
                continue

    async def _mine(self) -> None:
        await self.world.node.dev.mine(self.random.choice((1, 1, 1, 2, 4)))

    async def _rival_mines(self) -> None:
        await self.world.rival.dev.mine(self.random.randrange(1, 5))

    async def _rival_rules(self) -> None:
        """The rival mines until its branch is the heaviest, and gives it to the node."""
        node, rival = self.world.node, self.world.rival
        depth = node.height - common_height(node, rival)
        while rival.height <= node.height:
            await rival.dev.mine()
        await submit_all(node.dev, unknown_blocks(rival, node))
        self.counts[f"reorganisation of {min(depth, 5)}"] += 1

    async def _rival_follows(self) -> None:
        node, rival = self.world.node, self.world.rival
        await submit_all(rival.dev, unknown_blocks(node, rival))

    async def _rival_goes_back(self) -> None:
        """It begins a branch further down."""
        rival = self.world.rival
        at = max(BASE, common_height(self.world.node, rival) - self.random.randrange(5))
        await rival.dev.chain.truncate(rival.dev.chain.view().main_hash(at) or b"")

    async def _restart(self) -> None:
        """All come in again, but for lines that parents from a detached block made longer than the limit."""
        node = self.world.node
        plain = self._plain()
        before = set(plain.entries)
        is_long = any(each.ancestors.count > plain.pool.limits.max_ancestors for each in plain.entries.values())
        node.dev.pool.save(self._path)
        time_ms = node.dev.clock.time_ms
        await node.stop()
        await node.start(time_ms)
        self._listen()
        await node.dev.pool.load(self._path)
        await node.dev.settle_pool()
        after = set(self._plain().entries)
        if after != before and not (is_long and after < before):
            raise PoolFaultError(
                f"of {len(before)} {len(before - after)} were lost by a restart, {len(after - before)} won"
            )

    async def _remove(self) -> None:
        plain = self._plain()
        if plain.entries:
            tx_hash = self.random.choice(sorted(plain.entries))
            gone = plain.descendants([tx_hash])
            await self.world.node.dev.pool.remove(tx_hash)
            self._left.update((each, BY_HAND) for each in gone)

    async def _let_time_pass(self) -> None:
        self.world.node.dev.clock.advance(self.random.randrange(EXPIRY_MS // 2))
        self.world.same_time()
        await self.world.node.dev.mine()

    async def _cut(self) -> None:
        """`truncate` clears the pool."""
        node = self.world.node
        height = max(BASE, node.height - self.random.randrange(3))
        await node.dev.chain.truncate(node.dev.chain.view().main_hash(height) or b"")
        if self._plain().entries:
            raise PoolFaultError("a truncated chain has a pool")
        self._alive.clear()

    # ------------------------------------------------------------ what must be

    def _plain(self) -> PlainPool:
        dev = self.world.node.dev
        return PlainPool(dev.pool.pool, dev.chain.view())

    def _listen(self) -> None:
        def note(event: TransactionRejected) -> None:
            self._left[event.transaction.hash] = event.reason.kind
            self._winners.update(bytes.fromhex(each) for each in HASH.findall(str(event.reason)))

        self.world.node.dev.pool.events.listen(TransactionRejected, note)

    async def _check(self) -> None:
        plain = self._plain()
        found = list(faults(plain))
        if found:
            raise PoolFaultError("\n".join(found))
        self._check_scripts(plain)
        self._check_nothing_is_lost(plain)
        self._check_orphans(plain)
        await self._check_template(plain)
        self._taken = plain.spent
        for tx_hash in plain.entries:
            self._alive.setdefault(tx_hash, self.world.txs[tx_hash])

    def _check_scripts(self, plain: PlainPool) -> None:
        """All are verified on the version of the VM that the next block has."""
        version = plain.vm_version
        self._versions.add(version)
        if version != plain.pool.vm_version:
            raise PoolFaultError(f"the pool runs scripts on version {plain.pool.vm_version}, not {version}")
        for tx_hash, entry in plain.entries.items():
            program = self.world.txs[tx_hash].program
            if entry.needs_reverification:
                raise PoolFaultError(f"{tx_hash.hex()} is not verified anew")
            if program is None:
                continue
            if not program.passes_on(version):
                raise PoolFaultError(f"{tx_hash.hex()} fails since the fork")
            if self._cycles.setdefault((program, version), entry.cycles) != entry.cycles:
                raise PoolFaultError(f"{tx_hash.hex()} has {entry.cycles} cycles, others of {program.name} not")
        before, after = (self._cycles.get((Program.SLOWER_ON_VM_2, each)) for each in (1, 2))
        if before is not None and after is not None and after != before + 3:
            raise PoolFaultError(f"after the fork {after} cycles, before it {before}")

    def _check_nothing_is_lost(self, plain: PlainPool) -> None:
        """What left the pool is on the chain, or could not be in the pool any more."""
        judge = Judge(plain)
        for tx_hash, tx in list(self._alive.items()):
            if tx_hash in plain.entries or plain.view.transaction_info(tx_hash) is not None:
                continue
            reason = self._left.get(tx_hash)
            if reason is None:
                raise PoolFaultError(f"{tx_hash.hex()} has left without a word")
            self.counts[f"left {reason}"] += 1
            if reason not in FREE and not self._is_explained(tx, reason, judge):
                raise PoolFaultError(f"{tx_hash.hex()} has left for {reason}, and could still be in")
            del self._alive[tx_hash]

    def _is_explained(self, tx: Plain, reason: str, judge: Judge) -> bool:
        if self._in_between:
            return True
        match reason:
            case "Expiry":
                return True
            case "Resolve":
                was_taken = any(self._taken.get(key, tx.tx.hash) != tx.tx.hash for key in (*tx.inputs, *tx.deps))
                return was_taken or not judge.is_available(tx)
            case "RBFRejected" | "Invalidated" if any(map(self._has_left, self._winners)):
                return True
            case "RBFRejected":  # or stood, by its cells or those that it spends, on one that was replaced
                return any(not judge.is_available(each) for each in self.world.ancestry(tx, self._left))
            case _:
                return judge.verdict(tx) != ""

    def _has_left(self, tx_hash: bytes) -> bool:
        """One that others gave way to had to leave too, perhaps as soon as it had come: the pool was full."""
        return tx_hash in self._left or not self._holds(tx_hash)

    def _check_orphans(self, plain: PlainPool) -> None:
        for orphan in self.world.node.dev.pool.remote.orphans._orphans.values():
            for parent in orphan.parents:
                if parent in plain.entries or plain.view.transaction_info(parent) is not None:
                    raise PoolFaultError(f"{orphan.item.hash.hex()} waits for {parent.hex()}, which is here")

    async def _check_template(self, plain: PlainPool) -> None:
        """It commits all that it may, each behind its parents, and proposes what no block of the window does."""
        dev = self.world.node.dev
        block = (await dev.assembler.block_template()).to_block()
        chosen = [tx.hash for tx in block.transactions[1:]]
        ripe, young = plain.window()
        pending = {entry.short_id for entry in plain.entries.values() if entry.status is Status.PENDING}
        uncles = {each for uncle in block.uncles for each in uncle.proposals}
        if set(block.proposals) != pending - uncles:
            raise PoolFaultError("the template does not propose what is pending")
        ancestry = plain.ancestry()
        expected = {
            each
            for each, tx in plain.txs.items()
            if all(plain.entries[other].short_id in ripe for other in {each, *ancestry[each]})
            and not any(cell.since for other in {each, *ancestry[each]} for cell in plain.txs[other].tx.body.inputs)
        }
        if not expected <= set(chosen):
            raise PoolFaultError(f"the template lacks {len(expected - set(chosen))} that it might hold")
        for position, tx_hash in enumerate(chosen):
            if not plain.parents(plain.txs[tx_hash]) <= set(chosen[:position]):
                raise PoolFaultError(f"in the template {tx_hash.hex()} comes before its parents")
        if not set(pending).isdisjoint(ripe | young):
            raise PoolFaultError("what is pending is in the window")


def run_seed(
    seed: int, steps: int, directory: Path, *, has_storms: bool = False, has_fork: bool = False
) -> Counter[str]:
    """What one seed's walk did. Raises PoolFaultError."""
    return asyncio.run(Walk(seed, directory, has_storms=has_storms, has_fork=has_fork).run(steps))
