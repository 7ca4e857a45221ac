"""Scenes at the edges of the pool's rules, given to both pools: the same answers, entries and templates.

Where the two differ on purpose, and why, is in docs/decisions/0066-where-the-pool-is-not-the-references.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ckb_node.mining.template import TransactionTemplate, UncleTemplate
from consensus.types.blockchain import (
    DEP_TYPE_CODE,
    DEP_TYPE_DEP_GROUP,
    Block,
    CellDep,
    CellInput,
    CellOutput,
    OutPoint,
    RawTransaction,
    Transaction,
    UncleBlock,
)
from tests.interop.kit_dao import SINCE_EPOCH, dao_dep, dao_script
from tests.interop.kit_json import hexed
from tests.interop.kit_pools import Walk, walking
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, Wallet, sighash_dep
from tests.support.chains.funded_pool import Cell, cell_of

pytestmark = pytest.mark.timeout(1800)

ALICE, BOB = Wallet(ALICE_KEY), Wallet(BOB_KEY)
MATURITY = 1 << 40 | 1
"""One epoch, of ten blocks."""
RELATIVE, BY_TIME = 1 << 63, 0x40 << 56
MUCH = 1_000_000
"""A fee that replaces anything."""
WINDOW = 12
"""Blocks after which no proposal counts any more."""


class Edges:
    """Both nodes, the maker of blocks, and what a scene has sent so far."""

    def __init__(self, walk: Walk) -> None:
        self.walk, self.maker, self.consensus = walk, walk.maker, walk.maker.consensus
        self._fees = 10_000

    # -------------------------------------------------------- transactions

    def cell(self) -> Cell:
        return self.walk.cells.pop()

    def spend(
        self,
        *cells: Cell,
        fee: int = 0,
        outputs: int = 1,
        reads: Sequence[OutPoint] = (),
        groups: Sequence[OutPoint] = (),
        header_deps: Sequence[bytes] = (),
        since: int = 0,
        data: Sequence[bytes] = (),
        signer: Wallet = ALICE,
        deposit: bool = False,
    ) -> Transaction:
        """Without a fee each pays a little more than the one before: of equals either may be first."""
        self._fees += 20
        chosen = cells or (self.cell(),)
        total = sum(capacity for _, capacity in chosen) - (fee or self._fees)
        each, type_ = total // outputs, dao_script(self.consensus) if deposit else None
        capacities = [total - each * (outputs - 1), *[each] * (outputs - 1)]
        body = RawTransaction(
            version=0,
            cell_deps=[
                sighash_dep(self.consensus),
                *(CellDep(out_point=point, dep_type=DEP_TYPE_CODE) for point in reads),
                *(CellDep(out_point=point, dep_type=DEP_TYPE_DEP_GROUP) for point in groups),
                *([dao_dep(self.consensus)] if deposit else []),
            ],
            header_deps=list(header_deps),
            inputs=[CellInput(since=since, previous_output=point) for point, _ in chosen],
            outputs=[CellOutput(capacity=capacity, lock=signer.lock, type_=type_) for capacity in capacities],
            outputs_data=[*data, *[b""] * (outputs - len(data))],
        )
        return signer.sign(body)

    def send(self, *transactions: Transaction) -> list[str]:
        return [self.walk.send(each) for each in transactions]

    def same(self) -> None:
        self.walk.assert_same()

    # -------------------------------------------------------- blocks

    async def block(
        self,
        *,
        propose: Sequence[Transaction] = (),
        commit: Sequence[Transaction] = (),
        uncles: Sequence[UncleTemplate] = (),
        is_told: bool = True,
    ) -> Block:
        """The next of the maker's."""
        self.walk.set_clock()
        template = replace(
            await self.maker.assembler.block_template(),
            transactions=[TransactionTemplate(each) for each in commit],
            proposals=[each.short_id for each in propose],
            uncles=uncles,
            text=[],
        )
        block = template.with_dao(await self.maker.assembler.calculate_dao_field(template)).to_block()
        await self.maker.chain.submit_block(block)
        if is_told:
            self.walk.feed(block)
        return block

    async def blocks(self, count: int) -> None:
        for _ in range(count):
            await self.block()

    async def commit(self, *transactions: Transaction) -> Block:
        await self.block(propose=transactions)
        await self.block()
        return await self.block(commit=transactions)

    async def rival_branch(self, root: bytes, *commits: Sequence[Transaction]) -> list[Block]:
        """Blocks on `root` that commit these, in the place of what there is."""
        await self.maker.chain.truncate(root)
        branch = [await self.block(commit=each, is_told=False) for each in commits]
        self.walk.feed(*branch)
        return branch


async def replacement_by_inputs(edges: Edges) -> None:
    first, second = edges.cell(), edges.cell()
    parent, other = edges.spend(first), edges.spend(second)
    child = edges.spend(cell_of(parent))
    edges.send(parent, other)
    for more in (other, parent):
        assert edges.send(edges.spend(first, cell_of(more), fee=MUCH))[0].startswith("-1111 ")
    edges.send(child)
    assert edges.send(edges.spend(first, cell_of(child), fee=MUCH))[0].startswith("-1111 ")
    edges.same()
    edges.send(edges.spend(first, edges.cell(), fee=MUCH))
    edges.same()


async def replacement_by_deps(edges: Edges) -> None:
    taken = edges.cell()
    parent, other = edges.spend(taken), edges.spend(outputs=2)
    child = edges.spend(cell_of(parent))
    edges.send(parent, child, other)
    for read in (parent, child):
        assert edges.send(edges.spend(taken, reads=[cell_of(read)[0]], fee=MUCH))[0].startswith("-1111 ")
    edges.send(edges.spend(taken, reads=[cell_of(other)[0]], fee=MUCH))
    edges.same()
    edges.send(edges.spend(cell_of(other)), edges.spend(cell_of(other, 1)))
    edges.same()


async def fee_of_a_common_child(edges: Edges) -> None:
    one, two = edges.cell(), edges.cell()
    parents = edges.spend(one, fee=9_000), edges.spend(two, fee=8_000)
    edges.send(*parents, edges.spend(*map(cell_of, parents), fee=7_000))
    edges.same()
    least = 24_000 + edges.spend(one, two).size_in_block * 1500 // 1000
    assert edges.send(edges.spend(one, two, fee=least - 1))[0].startswith("-1111 ")
    assert edges.send(edges.spend(one, two, fee=least))[0].startswith("0x")
    edges.same()


async def losers_return(edges: Edges) -> None:
    one, two = edges.cell(), edges.cell()
    edges.send(edges.spend(one, two, fee=20_000), edges.spend(one, fee=1_000), edges.spend(one, fee=1_100))
    edges.same()
    edges.send(edges.spend(two, fee=MUCH))
    edges.same()
    edges.send(edges.spend(one, fee=2 * MUCH))
    edges.same()


async def a_winner_is_removed(edges: Edges) -> None:
    cell = edges.cell()
    winner, loser = edges.spend(cell, fee=50_000), edges.spend(cell, fee=1_000)
    edges.send(winner, loser)
    edges.walk.pair.both("remove_transaction", hexed(winner.hash))
    edges.same()
    edges.send(loser)
    edges.same()


async def readers_and_spenders(edges: Edges) -> None:
    cell, own = edges.cell(), edges.cell()
    reader, spender = edges.spend(own, reads=[cell[0]]), edges.spend(cell)
    edges.send(reader, spender, edges.spend(reads=[cell[0]]))
    edges.same()
    edges.send(edges.spend(own, fee=MUCH))
    edges.same()
    again = edges.spend(cell_of(spender), reads=[cell_of(spender)[0]])
    edges.send(again, edges.spend(cell_of(spender), reads=[cell_of(spender)[0]], fee=MUCH))
    edges.same()


async def a_spender_is_committed_before_readers(edges: Edges) -> None:
    cell = edges.cell()
    reader, spender = edges.spend(reads=[cell[0]]), edges.spend(cell)
    child = edges.spend(cell_of(reader))
    edges.send(reader, spender, child)
    await edges.commit(spender)
    edges.same()
    edges.send(reader, child)


async def outputs_of_the_pool_read_and_spent(edges: Edges) -> None:
    creator = edges.spend(outputs=3)
    read = cell_of(creator, 1)
    reader, spender = edges.spend(reads=[read[0]]), edges.spend(read)
    edges.send(creator, reader, spender, edges.spend(reads=[read[0]]))
    edges.same()
    await edges.block(propose=[creator, spender, reader])
    await edges.block()
    edges.same()
    await edges.block(commit=[creator, spender])
    edges.same()


async def headers_that_leave(edges: Edges) -> None:
    named = await edges.block()
    parent = edges.spend(header_deps=[named.hash])
    child = edges.spend(cell_of(parent))
    edges.send(parent, child, edges.spend(reads=[cell_of(child)[0]]), edges.spend(header_deps=[b"h" * 32]))
    edges.same()
    await edges.rival_branch(named.header.parent_hash, (), ())
    edges.same()
    edges.send(parent, child)


async def times_to_wait(edges: Edges) -> None:
    tip = edges.maker.chain.view().tip_header()
    number, index, length = tip.epoch & 0xFFFFFF, tip.epoch >> 24 & 0xFFFF, tip.epoch >> 40
    sinces = [tip.number + more for more in range(-1, 7)]
    sinces += [SINCE_EPOCH | length << 40 | index + more << 24 | number for more in range(length + 2 - index)]
    sinces += [SINCE_EPOCH | fraction | number for fraction in (1 << 24, 1 << 40 | 1 << 24, 1 << 40 | 2 << 24)]
    median = int(edges.walk.pair.ours.rpc.call("get_block_median_time", hexed(tip.hash)), 16) // 1000
    sinces += [BY_TIME | median + more for more in (-1, 0, 1)] + [1 << 60, 0x60 << 56]
    answers = edges.send(*(edges.spend(since=each) for each in sinces))
    assert {each[:2] for each in answers} == {"0x", "-3"}
    committed = edges.spend(outputs=5)
    await edges.commit(committed)
    edges.send(*(edges.spend(cell_of(committed, more), since=RELATIVE | more) for more in range(5)))
    unconfirmed = edges.spend(outputs=4)
    relative = (RELATIVE, RELATIVE | 1, RELATIVE | SINCE_EPOCH, RELATIVE | BY_TIME)
    edges.send(unconfirmed, *(edges.spend(cell_of(unconfirmed, at), since=each) for at, each in enumerate(relative)))
    await edges.blocks(3)
    edges.same()


async def times_of_what_is_proposed(edges: Edges) -> None:
    number = edges.maker.chain.view().tip_header().number
    waiting = [edges.spend(since=number + more) for more in range(1, 7)]
    await edges.block(propose=waiting)
    for _ in range(3):
        edges.send(*waiting)
        edges.same()
        await edges.block()


async def maturity(edges: Edges) -> None:
    view = edges.maker.chain.view()
    tip = view.tip_header().number
    for number in (tip, tip - 5, tip - 8, tip - 9, tip - 10, tip - 11):
        block = view.block(view.main_hash(number) or b"")
        assert block is not None
        cellbase = cell_of(block.transactions[0])
        edges.send(edges.spend(reads=[cellbase[0]]), edges.spend(cellbase, signer=BOB))
    edges.same()


async def cells_that_are_not_there(edges: Edges) -> None:
    parent = edges.spend(outputs=2)
    child = edges.spend(cell_of(parent))
    await edges.commit(parent)
    await edges.commit(child)
    edges.send(parent, child, edges.spend(cell_of(parent), fee=99_999), edges.spend(reads=[cell_of(parent)[0]]))
    pooled, capacity = edges.spend(), cell_of(parent)[1]
    edges.send(pooled)
    for tx_hash, index in ((parent.hash, 7), (pooled.hash, 1), (b"n" * 32, 0)):
        edges.send(edges.spend((OutPoint(tx_hash=tx_hash, index=index), capacity)))
    edges.same()


async def groups(edges: Edges) -> None:
    cell, unknown = edges.cell(), OutPoint(tx_hash=b"z" * 32, index=0)
    contents = [_group(cell[0]), b"", b"\1\2\3", _group(), _group(unknown), _group(cell[0], cell[0])]
    group = edges.spend(outputs=6, data=contents)
    points = [cell_of(group, at)[0] for at in range(6)]
    edges.send(group, *(edges.spend(groups=[each]) for each in points))
    edges.send(edges.spend(groups=points[:1], reads=points[:1]))
    edges.same()
    edges.send(edges.spend(cell), edges.spend(groups=points[:1]))
    edges.same()
    edges.send(edges.spend(cell_of(group, 5)), edges.spend(groups=points[5:]))
    edges.same()


def _group(*members: OutPoint) -> bytes:
    return len(members).to_bytes(4, "little") + b"".join(each.raw for each in members)


async def sent_when_proposed(edges: Edges) -> None:
    parent = edges.spend()
    child = edges.spend(cell_of(parent))
    await edges.block(propose=[parent, child])
    edges.send(parent)
    edges.same()
    await edges.block()
    edges.send(child)
    edges.same()
    for each in (parent, child):
        await edges.block(commit=[each])
        edges.same()


async def windows(edges: Edges) -> None:
    """A child before its parent, and a parent twice."""
    parent = edges.spend()
    child = edges.spend(cell_of(parent))
    edges.send(parent, child)
    for proposed in (child, parent):
        await edges.block(propose=[proposed])
        await edges.block()
        edges.same()
    await edges.block(propose=[parent])
    for _ in range(WINDOW):
        await edges.block()
        edges.same()


async def an_uncle_proposes(edges: Edges) -> None:
    sent = edges.spend()
    edges.send(sent)
    uncle = await edges.block(propose=[sent], is_told=False)
    await edges.maker.chain.truncate(uncle.header.parent_hash)
    await edges.block()
    await edges.block(uncles=[UncleTemplate(UncleBlock(header=uncle.header, proposals=[sent.short_id]))])
    edges.same()
    await edges.block()
    edges.same()
    await edges.block(commit=[sent])
    edges.same()


async def commits_that_leave(edges: Edges) -> None:
    sent = edges.spend(outputs=2)
    child, reader = edges.spend(cell_of(sent)), edges.spend(reads=[cell_of(sent, 1)[0]])
    root = await edges.block(propose=[sent])
    await edges.block()
    await edges.block(commit=[sent])
    edges.send(child, reader)
    edges.same()
    await edges.rival_branch(root.hash, (), (), ())
    edges.same()
    await edges.block(commit=[sent])
    edges.same()


async def only_the_parent_is_committed_again(edges: Edges) -> None:
    sent = edges.spend()
    child = edges.spend(cell_of(sent))
    root = await edges.block(propose=[sent, child])
    await edges.block()
    await edges.block(commit=[sent, child])
    await edges.rival_branch(root.hash, (), (), [sent])
    edges.same()


async def a_deposit_moves(edges: Edges) -> None:
    """To another block: the withdrawal names that which has left."""
    deposit = edges.spend(deposit=True, data=[bytes(8)])
    edges.send(deposit)
    edges.same()
    block, payer = await edges.commit(deposit), edges.cell()
    withdrawal = _withdrawal(edges, deposit, block, payer)
    edges.send(withdrawal)
    edges.same()
    await edges.block(propose=[withdrawal])
    await edges.block()
    edges.same()
    moved, *_ = await edges.rival_branch(block.header.parent_hash, [deposit], (), (), ())
    edges.same()
    edges.send(withdrawal, _withdrawal(edges, deposit, moved, payer))
    edges.same()


def _withdrawal(edges: Edges, deposit: Transaction, block: Block, payer: Cell) -> Transaction:
    output = deposit.body.outputs[0]
    change = CellOutput(capacity=payer[1] - 10_000, lock=ALICE.lock, type_=None)
    body = RawTransaction(
        version=0,
        cell_deps=[sighash_dep(edges.consensus), dao_dep(edges.consensus)],
        header_deps=[block.hash],
        inputs=[CellInput(since=0, previous_output=point) for point in (cell_of(deposit)[0], payer[0])],
        outputs=[output, change],
        outputs_data=[block.number.to_bytes(8, "little"), b""],
    )
    return ALICE.sign(body)


SCENES: Sequence[Callable[[Edges], Awaitable[None]]] = (
    replacement_by_inputs, replacement_by_deps, fee_of_a_common_child, losers_return, a_winner_is_removed,
    readers_and_spenders, a_spender_is_committed_before_readers, outputs_of_the_pool_read_and_spent,
    headers_that_leave, times_to_wait, times_of_what_is_proposed, maturity, cells_that_are_not_there, groups,
    sent_when_proposed, windows, an_uncle_proposes, commits_that_leave, only_the_parent_is_committed_again,
    a_deposit_moves,
)  # fmt: skip


async def test_edges(tmp_path: Path) -> None:
    """One pair of nodes for all of them; each begins with empty pools, and no proposal counts any more."""
    failed = list[str]()
    async with walking(tmp_path, "edges", cells=140, params={"cellbase_maturity": MATURITY}) as walk:
        for scene in SCENES:
            walk.sent.clear()
            try:
                await scene(Edges(walk))
            except AssertionError as error:
                failed.append(f"{scene.__name__}: {error}")
            walk.pair.both("clear_tx_pool")
            await Edges(walk).blocks(WINDOW)
    assert not failed, "\n\n".join(failed)
