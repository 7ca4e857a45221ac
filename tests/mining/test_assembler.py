"""Block templates: what they hold, and that the block of a template always passes all rules."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ckb_node.mining.assembler import build_cellbase, choose_proposals, transaction_templates
from ckb_node.mining.committable import committable
from ckb_node.mining.settled import SettledMoves
from ckb_node.mining.template import BlockTemplate
from ckb_node.txpool.entry import PoolEntry, Status
from ckb_node.txpool.rejects import Reject
from consensus.crypto.hashing import ckb_hash
from consensus.rules.dao import capacity_moves, share
from consensus.rules.mmr import chain_root_hash
from consensus.rules.resolve import resolve_block, resolve_transaction
from consensus.types.blockchain import Block, CellbaseWitness, OutPoint, Transaction, UncleBlock
from consensus.types.core import CellMeta, EpochFraction
from tests.support.builders.pool_entries import an_entry
from tests.support.builders.wallet import ALICE_KEY, Wallet, issued_cell
from tests.support.chains.branches import branch, submit_all
from tests.support.chains.devchain import DevChain, dev_chain, dev_consensus
from tests.support.chains.funded_pool import BOB, FEE, Cell, Funds, cell_of, funded


async def test_an_empty_template() -> None:
    async with dev_chain(message=b"hello") as dev:
        template = await dev.assembler.block_template()
        tip = dev.chain.view().tip_header()
        assert (template.number, template.parent_hash) == (1, tip.hash)
        assert template.compact_target == dev.consensus.genesis_epoch.compact_target
        assert EpochFraction.unpack(template.epoch) == EpochFraction(0, 1, dev.consensus.genesis_epoch.length)
        assert (template.cycles_limit, template.bytes_limit) == (3_500_000_000, 597_000)
        assert template.uncles_count_limit == 2
        assert not any((*template.transactions, *template.proposals, *template.uncles))
        cellbase = template.cellbase.transaction
        assert list(cellbase.body.outputs) == []
        assert cellbase.body.inputs[0].since == 1
        witness = CellbaseWitness.parse(cellbase.witnesses[0])
        assert (witness.lock, witness.message) == (BOB.lock, b"hello")
        assert template.extension == chain_root_hash(dev.chain.view(), 0)


async def test_the_template_is_kept_while_nothing_changes() -> None:
    async with funded() as funds:
        assembler = funds.dev.assembler
        first = await assembler.block_template()
        second = await assembler.block_template()
        assert second.current_time > first.current_time
        assert replace(second, current_time=0) == replace(first, current_time=0)
        await funds.submit(funds.spend())
        third = await assembler.block_template()
        assert third.work_id == second.work_id + 1
        assert len(third.proposals) == 1
        await funds.dev.mine()
        fourth = await assembler.block_template()
        assert fourth.number == third.number + 1


async def test_changes_within_one_millisecond_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    async with funded() as funds:
        monkeypatch.setattr(funds.dev.clock, "now_ms", lambda: funds.dev.clock.time_ms)
        for expected in (1, 2, 3):
            await funds.submit(funds.spend())
            assert len((await funds.dev.assembler.block_template()).proposals) == expected


async def test_callers_at_once_share_the_work() -> None:
    async with funded() as funds:
        templates = await asyncio.gather(*(funds.dev.assembler.block_template() for _ in range(5)))
        assert len({template.work_id for template in templates}) == 1


async def test_time_follows_the_clock_but_never_the_parents_back() -> None:
    async with dev_chain() as dev:
        await dev.mine()
        parent = dev.chain.view().tip_header()
        dev.clock.advance(-10_000)
        assert (await dev.assembler.block_template()).current_time == parent.timestamp + 1
        await dev.mine()
        dev.clock.advance(60_000)
        assert (await dev.assembler.block_template()).current_time == dev.clock.time_ms


async def test_pending_ones_are_proposed_best_first() -> None:
    async with funded() as funds:
        transactions = [funds.spend(fee=FEE * times) for times in (2, 3, 1)]
        await funds.submit(*transactions)
        template = await funds.dev.assembler.block_template()
        assert list(template.proposals) == [transactions[index].short_id for index in (1, 0, 2)]
        funds.dev.writer.consensus = replace(funds.dev.consensus, max_block_proposals=2)
        await funds.submit(funds.spend(fee=FEE // 2))
        assert list((await funds.dev.assembler.block_template()).proposals) == list(template.proposals)[:2]


def test_what_uncles_propose_is_not_proposed_again() -> None:
    ids = [bytes([number]) * 10 for number in range(5)]
    header = dev_consensus().genesis_block.header
    uncle = UncleBlock(header=header, proposals=[ids[0], ids[2]])
    assert choose_proposals(ids, [uncle], 2) == [ids[1], ids[3]]
    assert choose_proposals(ids, [], 10) == ids


async def test_depends_tell_what_a_transaction_needs() -> None:
    async with funded() as funds:
        parent = funds.spend(outputs=2, fee=FEE)
        child = funds.spend(cell_of(parent), fee=50 * FEE)
        reader = funds.spend(reads=[cell_of(parent, 1)[0]], fee=40 * FEE)
        grandchild = funds.spend(cell_of(child), reads=[cell_of(parent, 1)[0]], fee=30 * FEE)
        await funds.submit(parent, child, reader, grandchild)
        await funds.dev.mine(2)
        template = await funds.dev.assembler.block_template()
        order = [each.transaction.hash for each in template.transactions]
        assert set(order) == {parent.hash, child.hash, reader.hash, grandchild.hash}
        place = {tx_hash: position for position, tx_hash in enumerate(order)}
        needs = {each.transaction.hash: list(each.depends or ()) for each in template.transactions}
        assert needs[parent.hash] == []
        assert needs[child.hash] == needs[reader.hash] == [place[parent.hash]]
        assert needs[grandchild.hash] == sorted([place[parent.hash], place[child.hash]])
        assert all(position < place[tx_hash] for tx_hash, positions in needs.items() for position in positions)
        assert all((each.cycles or 0) > 0 for each in template.transactions)


def test_depends_of_nothing_is_none() -> None:
    assert transaction_templates([an_entry()])[0].depends is None


async def test_limits_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    async with funded() as funds:
        transactions = [funds.spend(fee=FEE * times) for times in range(1, 7)]
        await funds.submit(*transactions)
        await funds.dev.mine(2)
        full = (await funds.dev.assembler.block_template()).to_block()
        assert len(full.transactions) == 7
        size, by_hash = full.size_without_uncle_proposals(), {e.tx.hash: e.cycles for e in funds.pool.pool.graph}
        cycles, best_three = sum(by_hash.values()), sum(by_hash[tx.hash] for tx in transactions[3:])
        for max_bytes, max_cycles, expected in (
            (size, cycles, 6),
            (size - 1, cycles, 5),
            (size - 2 * transactions[0].size_in_block, cycles, 4),
            (size, cycles - 1, 5),
            (size, best_three, 3),
        ):
            limited = replace(funds.dev.consensus, max_block_bytes=max_bytes, max_block_cycles=max_cycles)
            funds.dev.writer.consensus = limited
            funds.pool.pool.version += 1
            block = (await funds.dev.assembler.block_template()).to_block()
            assert block.size_without_uncle_proposals() <= max_bytes
            chosen = [tx.hash for tx in block.transactions[1:]]
            assert chosen == [tx.hash for tx in transactions[::-1][:expected]]


async def test_the_pools_own_view_decides() -> None:
    """The chain may be a block ahead of the pool for a moment; proposals of the two must not be mixed."""
    async with funded() as funds:
        await funds.submit(funds.spend())
        await funds.dev.mine(2)
        stale = funds.pool.pool.reader
        set_tip = funds.pool.pool.set_tip
        funds.pool.pool.set_tip = lambda reader: False  # type: ignore[method-assign]
        await funds.dev.chain.submit_block((await branch_after(funds))[0])
        template = await funds.dev.assembler.block_template()
        assert template.parent_hash == stale.tip_header().hash
        assert len(template.transactions) == 1
        funds.pool.pool.set_tip = set_tip  # type: ignore[method-assign]


async def branch_after(funds: Funds) -> list[Block]:
    view = funds.dev.chain.view()
    base = [view.block(view.main_hash(number) or b"") for number in range(1, view.tip_header().number + 1)]
    return await branch(b"other", 1, [block for block in base if block is not None])


# What comes out is valid


async def assert_minable(dev: DevChain) -> Block:
    template = await dev.assembler.block_template()
    block = template.to_block()
    assert await dev.chain.submit_block(block) == block.hash
    assert dev.chain.view().tip_header().hash == block.hash
    return block


@pytest.mark.parametrize("seed", range(3))
async def test_every_template_can_be_mined(seed: int) -> None:
    """A random life: payments in chains, readers, replacements, side blocks, epochs, reorganisations."""
    rng = random.Random(seed)
    async with funded(24) as funds:
        dev, live = funds.dev, list(funds.cells)
        for _ in range(45):
            for _ in range(rng.randint(0, 3)):
                live = await _do_something(funds, live, rng)
            if rng.random() < 0.3:
                await _lose_a_race(dev, rng)
            await assert_minable(dev)
        assert dev.chain.view().tip_epoch().number > 3


async def _do_something(funds: Funds, live: list[Cell], rng: random.Random) -> list[Cell]:
    cell = rng.choice(live)
    reads = [rng.choice(live)[0]] if rng.random() < 0.4 else []
    tx = funds.spend(cell, outputs=rng.randint(1, 2), fee=rng.randint(1, 60) * 1000, reads=reads)
    try:
        await funds.pool.submit(tx)
    except Reject:  # conflicts and dead cells are a part of life here
        return live
    return [*live, cell_of(tx)]


async def _lose_a_race(dev: DevChain, rng: random.Random) -> None:
    """Another miner's block on the tip's parent, or two of them: then the tip is detached."""
    view = dev.chain.view()
    tip = view.tip_header().number
    base = [view.block(view.main_hash(number) or b"") for number in range(1, tip)]
    for block in await branch(b"rival %d" % rng.randint(0, 999), rng.randint(1, 2), [each for each in base if each]):
        dev.clock.advance(10)
        await dev.chain.submit_block(block)
    await dev.settle_pool()


# What the chain does not really allow is left out


def entry_of(tx: Transaction, funds: Funds) -> PoolEntry:
    """As if the pool held it, whatever the rules say."""
    rtx = resolve_transaction(tx, _AnyCells(funds), funds.dev.chain.view(), ())
    return PoolEntry.of(rtx, FEE, 1, Status.PROPOSED, 0)


class _AnyCells:
    """Cells of the chain, or the chain's oldest one under another name."""

    def __init__(self, funds: Funds) -> None:
        self._view = funds.dev.chain.view()
        some = self._view.cell(funds.cells[0][0].raw)
        assert some is not None
        self._some = some

    def cell(self, out_point: bytes) -> CellMeta:
        found = self._view.cell(out_point)
        if found is not None:
            return found
        some = self._some
        return CellMeta(out_point, some.output, some.data_size, some.data_hash, some.info, bytes)


async def left_in(funds: Funds, transactions: Sequence[Transaction]) -> list[bytes]:
    template: BlockTemplate = await funds.dev.assembler.block_template()
    empty = template.to_block()
    entries = [entry_of(tx, funds) for tx in transactions]
    view, settled = funds.dev.chain.view(), SettledMoves()
    chosen, moves, _ = committable(funds.dev.consensus, empty, entries, view, settled)
    resolved = resolve_block(
        empty.replace(transactions=[*empty.transactions, *(each.tx for each in chosen)]), view, view
    )
    assert moves == capacity_moves(funds.dev.consensus, resolved, view)
    again = committable(funds.dev.consensus, empty, entries, view, settled)
    assert again[:2] == (chosen, moves), "what is settled changes nothing"
    return [entry.hash for entry in chosen]


async def test_bad_entries_are_dropped_with_their_children() -> None:
    async with funded() as funds:
        cells = funds.cells
        good = funds.spend(cells[0], outputs=2)
        child = funds.spend(cell_of(good))
        double = funds.spend(cells[0], fee=2 * FEE)
        immature = funds.spend(cells[1], since=10_000)
        orphan = funds.spend(cell_of(immature))
        reads_spent = funds.spend(cells[2], reads=[cells[0][0]])
        reads_dropped = funds.spend(cells[3], reads=[cell_of(immature)[0]])
        reads_good = funds.spend(cells[4], reads=[cell_of(good, 1)[0]])
        stale_header = funds.spend(cells[5], header_deps=[funds.dev.chain.view().tip_header().hash])
        order = [good, child, double, immature, orphan, reads_spent, reads_dropped, reads_good, stale_header]
        assert await left_in(funds, order) == [tx.hash for tx in (good, child, reads_good, stale_header)]
        assert await left_in(funds, [child, good]) == [good.hash], "a child before its parent"
        assert await left_in(funds, [reads_spent, good]) == [reads_spent.hash, good.hash]


# Rewards


async def test_inputs_of_a_block_add_up_to_64_bits() -> None:
    """A chain of transfers of a great sum is worth more than that: it is mined in several blocks."""
    async with dev_chain() as dev:
        await dev.mine(2)
        point, capacity = issued_cell(dev.consensus, Wallet(ALICE_KEY))
        per_block = ((1 << 64) - 1) // capacity
        assert per_block == 9
        for _ in range(12):
            capacity -= 10_000
            transaction = Wallet(ALICE_KEY).transfer(
                dev.consensus, [(point, capacity + 10_000)], [(Wallet(ALICE_KEY).lock, capacity)]
            )
            await dev.pool.submit(transaction)
            point = OutPoint(tx_hash=transaction.hash, index=0)
        committed = [len((await dev.mine()).transactions) - 1 for _ in range(6)]
        assert committed == [0, 0, per_block, 12 - per_block, 0, 0]


async def test_fees_reach_the_miners_to_the_shannon() -> None:
    """Eleven blocks later the proposing block is paid its share of each fee, and the committing one all the rest."""
    async with funded() as funds:
        dev, fees = funds.dev, [FEE + 1, 3 * FEE + 3, FEE + 7]
        transactions = [funds.spend(fee=fee) for fee in fees]
        await funds.submit(*transactions)
        proposing = await dev.mine()
        await dev.mine()
        committing = await dev.mine()
        assert {tx.hash for tx in committing.transactions[1:]} == {tx.hash for tx in transactions}
        ratio = dev.consensus.proposer_reward_ratio
        proposer_part = sum(share("test", fee, ratio) for fee in fees)
        for target, part in ((proposing, proposer_part), (committing, sum(fees) - proposer_part)):
            paying = await block_at(dev, target.number + dev.consensus.finalization_delay)
            with dev.chain.view() as view:
                epoch = view.block_epoch(target.hash)
                assert epoch is not None
                issued = epoch.block_reward(target.number)
            output = paying.transactions[0].body.outputs[0]
            assert output.lock == BOB.lock
            assert output.capacity == issued + secondary_share(dev, target) + part


def secondary_share(dev: DevChain, target: Block) -> int:
    """The miner's part of the secondary issuance, from the DAO field's definition (RFC 23)."""
    with dev.chain.view() as view:
        epoch, parent = view.block_epoch(target.hash), view.header(target.parent_hash)
    assert epoch is not None
    assert parent is not None
    total, occupied = int.from_bytes(parent.dao[:8], "little"), int.from_bytes(parent.dao[24:], "little")
    base, remainder = divmod(dev.consensus.secondary_epoch_reward, epoch.length)
    issued = base + (target.number - epoch.start_number < remainder)
    return issued * occupied // total


async def block_at(dev: DevChain, number: int) -> Block:
    while dev.chain.view().tip_header().number < number:
        await dev.mine()
    view = dev.chain.view()
    block = view.block(view.main_hash(number) or b"")
    assert block is not None
    return block


async def test_the_first_eleven_blocks_pay_nobody() -> None:
    async with dev_chain() as dev:
        delay = dev.consensus.finalization_delay
        assert delay == 11
        for number in range(1, delay + 3):
            block = await dev.mine()
            assert len(block.transactions[0].body.outputs) == (number > delay)


async def test_no_output_for_a_reward_below_its_own_cell() -> None:
    """A lock whose arguments take more capacity than the block earns."""
    async with dev_chain() as dev:
        await dev.mine(12)
        view = dev.chain.view()
        config = dev.assembler._config
        paid = build_cellbase(dev.consensus, view.tip_header(), config, view)
        assert len(paid.body.outputs) == len(paid.body.outputs_data) == 1
        reward = paid.body.outputs[0].capacity
        greedy = replace(config, lock=config.lock.replace(args=bytes(reward // 100_000_000)))
        dev.assembler._config = greedy
        await dev.mine(11)
        unpaid = await dev.mine()
        assert list(unpaid.transactions[0].body.outputs) == []


async def test_the_message_of_the_cellbase_is_kept() -> None:
    async with dev_chain(message=bytes(range(256))) as dev:
        block = await dev.mine()
        assert CellbaseWitness.parse(block.transactions[0].witnesses[0]).message == bytes(range(256))


async def test_dao_field_of_a_template_by_hand() -> None:
    async with funded() as funds:
        await funds.submit(funds.spend())
        await funds.dev.mine(2)
        template = await funds.dev.assembler.block_template()
        assert len(template.transactions) == 1
        wrong = template.with_dao(ckb_hash(b"wrong"))
        assert await funds.dev.assembler.calculate_dao_field(wrong) == template.dao


async def test_building_does_not_hold_the_loop_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heavy part runs in a thread: the loop turns meanwhile."""
    async with funded() as funds:
        assembler, may_go_on = funds.dev.assembler, threading.Event()
        build = assembler._build

        def slow(inputs: Any, settled: SettledMoves) -> Any:
            assert may_go_on.wait(10)
            return build(inputs, settled)

        monkeypatch.setattr(assembler, "_build", slow)
        building = asyncio.get_running_loop().create_task(assembler.block_template())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not building.done()
        assert assembler.is_building
        await funds.submit(funds.spend())
        may_go_on.set()
        assert list((await building).proposals) == [], "what came later is in the next one"
        assert len((await assembler.block_template()).proposals) == 1
        assert assembler.template_at_hand() is not None


async def test_submitting_blocks_of_a_side_branch_offers_uncles() -> None:
    main, side = await branch(b"main", 2), await branch(b"side", 2)
    async with dev_chain() as dev:
        await submit_all(dev, [*main, *side])
        block = await assert_minable(dev)
        assert {uncle.hash for uncle in block.uncles} == {each.hash for each in side}
