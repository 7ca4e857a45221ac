"""Each rule of the pool has a test that just passes it (+) and one that just fails it (-), or one that does both (±).

Those that stood nowhere else are in this file.

fee rate
    ± test_admission: test_fee_rate_is_by_size
outputs within inputs
    ± test_no_fee_is_a_fee_but_less_is_none
size of a transaction
    + test_the_largest_transaction
    - test_admission: test_too_large
cycles, given by RPC
    ± test_cycles_of_a_new_one
cycles, given by a peer
    + test_remote: test_a_valid_one_is_accepted
    - test_remote: test_declared_cycles_must_be_exact
cycles, coming back
    ± test_cycles_of_one_that_comes_back
ancestors
    ± test_admission: test_too_many_ancestors
readers among ancestors
    + test_graph: test_a_dep_is_an_ancestor_and_readers_come_before_the_spender
    - test_admission: test_a_spender_crowds_readers_out
package within a block's bytes
    ± test_packages_that_just_fit
package within a block's cycles
    ± test_packages_that_just_fit
RBF is on
    ± test_replacement_begins_with_a_higher_rate
RBF 1: no new unconfirmed inputs
    ± test_replacement: test_no_new_unconfirmed_inputs
RBF 2: so many replaced
    ± test_replacement: test_not_too_many_at_once
RBF 3: spends nothing that it replaces
    + test_a_replacement_may_spend_a_parent_of_both
    - test_replacement: test_cannot_spend_what_it_replaces
RBF 4: reads nothing that it replaces
    + test_a_replacement_may_read_others_of_the_pool
    - test_replacement: test_cannot_read_what_it_replaces
RBF 5: pays for all
    ± test_replacement: test_fee_pays_for_all_replaced_and_its_own_way
expiry
    ± test_expiry_to_the_millisecond
bytes of the pool
    ± test_a_pool_that_is_just_full
order of eviction
    + test_graph: test_eviction_order
    - test_admission: test_full_pool_drops_who_pays_least
eviction of pending before proposed
    ± test_admission: test_full_pool_drops_pending_first
duplicate
    + test_what_was_taken_out_may_come_again
    - test_admission: test_duplicated
conflict without RBF
    + test_what_was_taken_out_frees_its_cells
    - test_replacement: test_switched_off
dead cells
    + test_admission: test_an_output_of_the_pool_can_be_spent_and_read
    - test_admission: test_dead_cells
unknown cells
    + test_admission: test_an_output_of_the_pool_can_be_spent_and_read
    - test_admission: test_unknown_cells
cellbase maturity
    ± test_a_cellbase_ripens_with_its_last_block
since, heights
    ± test_admission: test_since
since, epochs
    ± test_time_locks: test_epochs_end_when_they_say
since, times
    ± test_time_locks: test_times_end_when_they_say
header deps
    ± test_admission: test_header_deps_must_be_on_the_main_chain
header deps through a reorganisation
    ± test_a_header_dep_that_stays_and_one_that_leaves
scripts
    + test_admission: test_a_good_transaction_is_taken
    - test_admission: test_scripts_must_pass
scripts at a hardfork
    + test_reverification: test_a_fork_refreshes_cycles
    - test_reverification: test_what_a_fork_makes_invalid_leaves_and_the_chain_goes_on
window of proposals
    ± test_the_window_opens_and_closes
verify queue, count
    ± test_admission: test_waiting_room_is_bounded
verify queue, bytes
    ± test_the_verify_queue_to_the_byte
orphans
    + test_orphans: test_a_child_waits_for_its_parent
    - test_orphans: test_a_spent_cell_and_one_that_never_was_make_no_orphan
orphans expire
    ± test_remote_queue: test_orphans_expire
refusals after a restart
    + test_recent_rejects: test_a_node_that_is_started_again_tells_the_reason
    - test_recent_rejects: test_the_old_leave_by_days
refusals by count
    ± test_recent_rejects: test_the_oldest_leave_by_count
the pool after a restart
    + test_persist: test_the_next_run_has_the_same_pool
    - test_persist: test_what_is_not_valid_any_more_stays_out
"""

from __future__ import annotations

import ast
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from ckb_node.txpool import verify_queue as waiting
from ckb_node.txpool.entry import Status
from ckb_node.txpool.graph import PoolGraph
from ckb_node.txpool.limits import TRANSACTION_SIZE_LIMIT, PoolLimits
from ckb_node.txpool.rejects import Expired, Malformed, PoolFull, Reject, ResolveFailed, VerificationFailed
from ckb_node.txpool.selector import proposed_of, select_for_block
from ckb_node.verification.stopping import Stop
from consensus.rules.resolve import InvalidHeaderDepError
from consensus.rules.transaction import CellbaseImmatureError
from consensus.types.blockchain import Transaction
from consensus.types.core import EpochFraction
from tests.support.builders.pool_entries import a_chain, an_entry
from tests.support.chains.branches import branch, submit_all
from tests.support.chains.devchain import dev_consensus
from tests.support.chains.funded_pool import BOB, FEE, Funds, blocks_of, cell_of, funded

HERE = Path(__file__)
NO_LIMIT = 1 << 60


def rules() -> dict[str, dict[str, str]]:
    """The tests of each rule by sign."""
    found: dict[str, dict[str, str]] = {}
    rule = ""
    for line in (__doc__ or "").splitlines()[4:]:
        if line.startswith("    "):
            sign, _, test = line.strip().partition(" ")
            found.setdefault(rule, {})[sign] = test
        else:
            rule = line
    return found


@pytest.mark.parametrize("rule", rules())
def test_the_tests_of_a_rule_exist(rule: str) -> None:
    tests = rules()[rule]
    assert set(tests) in ({"±"}, {"+", "-"})
    for test in tests.values():
        module, _, function = test.rpartition(": ")
        path = HERE.parent / f"{module}.py" if module else HERE
        tree = ast.parse(path.read_text(encoding="utf-8"))
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert function in defined


def with_size(funds: Funds, size: int) -> Transaction:
    """A transaction of exactly so many bytes in a block, of Alice's largest cell."""
    change = cell_of(funds.splitting, len(funds.splitting.body.outputs) - 1)
    least = funds.spend(change, fee=1_000_000).size_in_block
    return funds.spend(change, fee=1_000_000, data=bytes(size - least))


# --------------------------------------------------------------------- admission


async def test_no_fee_is_a_fee_but_less_is_none() -> None:
    async with funded(limits=PoolLimits(min_fee_rate=0)) as funds:
        refused = await funds.refusal(funds.spend(funds.cells[-1], fee=-1))
        assert isinstance(refused, Malformed)
        await funds.submit(funds.spend(fee=0))


async def test_the_largest_transaction() -> None:
    async with funded() as funds:
        tx = with_size(funds, TRANSACTION_SIZE_LIMIT)
        assert tx.size_in_block == TRANSACTION_SIZE_LIMIT
        await funds.submit(tx)
        assert await funds.status(tx) == "pending"


async def test_cycles_of_a_new_one() -> None:
    async with funded() as funds:
        tx = funds.spend()
        cycles = (await funds.pool.test_accept(tx)).cycles
        funds.dev.scripts.verified._cycles.clear()
        with pytest.raises(VerificationFailed) as caught:
            await funds.pool._submit(tx, cycles - 1)
        assert f"ExceededMaximumCycles: expect cycles <= {cycles - 1}" in str(caught.value)
        await funds.pool._submit(tx, cycles)
        assert await funds.status(tx) == "pending"


@pytest.mark.parametrize("lacking", [0, 1])
async def test_cycles_of_one_that_comes_back(lacking: int) -> None:
    async with funded() as funds:
        tx = funds.spend()
        cycles = (await funds.pool.test_accept(tx)).cycles
        funds.pool.pool.limits = PoolLimits(max_verify_cycles=cycles - lacking)
        funds.pool.submit_later(tx)
        await funds.dev.settle_pool()
        assert await funds.status(tx) == ("unknown" if lacking else "pending")


async def test_a_pool_that_is_just_full() -> None:
    async with funded() as funds:
        poor, rich = funds.spend(fee=FEE), funds.spend(fee=2 * FEE)
        both = poor.size_in_block + rich.size_in_block
        funds.pool.pool.limits = PoolLimits(max_size=both)
        await funds.submit(poor, rich)
        assert await funds.statuses(poor, rich) == ["pending", "pending"]
        await funds.pool.clear()
        funds.pool.pool.limits = PoolLimits(max_size=both - 1)
        await funds.submit(poor, rich)
        assert await funds.statuses(poor, rich) == ["unknown", "pending"]
        assert (await funds.why_gone(poor)).kind == PoolFull.kind


async def test_the_verify_queue_to_the_byte() -> None:
    async with funded() as funds:
        tx = funds.spend()
        funds.pool._verify_queue = waiting.VerifyQueue(Stop(), max_bytes=tx.raw_size - 1)
        assert isinstance(await funds.refusal(tx), PoolFull)
        funds.pool._verify_queue = waiting.VerifyQueue(Stop(), max_bytes=tx.raw_size)
        await funds.submit(tx)


async def test_what_was_taken_out_may_come_again() -> None:
    async with funded() as funds:
        tx = funds.spend()
        await funds.submit(tx)
        assert await funds.pool.remove(tx.hash)
        await funds.submit(tx)
        assert await funds.status(tx) == "pending"


async def test_what_was_taken_out_frees_its_cells() -> None:
    async with funded(limits=PoolLimits(min_rbf_rate=1000)) as funds:
        cell = funds.cells.pop()
        first, rival = funds.spend(cell), funds.spend(cell, fee=2 * FEE)
        await funds.submit(first)
        assert isinstance(await funds.refusal(rival), ResolveFailed)
        await funds.pool.remove(first.hash)
        await funds.submit(rival)


# --------------------------------------------------------------------- replacement


@pytest.mark.parametrize("more", [0, 1])
async def test_replacement_begins_with_a_higher_rate(more: int) -> None:
    async with funded(limits=PoolLimits(min_fee_rate=1000, min_rbf_rate=1000 + more)) as funds:
        cell = funds.cells.pop()
        first, second = funds.spend(cell), funds.spend(cell, fee=100 * FEE)
        await funds.submit(first)
        with suppress(Reject):
            await funds.submit(second)
        assert await funds.statuses(first, second) == (["unknown", "pending"] if more else ["pending", "unknown"])


async def test_a_replacement_may_spend_a_parent_of_both() -> None:
    """An unconfirmed input that the replaced one has too is not new."""
    async with funded() as funds:
        parent = funds.spend()
        old = funds.spend(cell_of(parent))
        new = funds.spend(cell_of(parent), fee=100 * FEE)
        await funds.submit(parent, old, new)
        assert await funds.statuses(parent, old, new) == ["pending", "unknown", "pending"]


async def test_a_replacement_may_read_others_of_the_pool() -> None:
    async with funded() as funds:
        cell = funds.cells.pop()
        old, other = funds.spend(cell), funds.spend()
        new = funds.spend(cell, reads=[cell_of(other)[0]], fee=100 * FEE)
        await funds.submit(old, other, new)
        assert await funds.statuses(old, other, new) == ["unknown", "pending", "pending"]


# --------------------------------------------------------------------- packages


@pytest.mark.parametrize("what", ["size", "cycles"])
@pytest.mark.parametrize("lacking", [0, 1])
def test_packages_that_just_fit(what: str, lacking: int) -> None:
    """A rich child pays for its poor parent: both or none."""
    graph = PoolGraph(25)
    package = a_chain(graph, [100, 100_000], cycles=1000, status=Status.PROPOSED)
    graph.add(other := an_entry(fee=10, cycles=1000, status=Status.PROPOSED))
    sums = package[1].ancestors
    limits = {"size": NO_LIMIT, "cycles": NO_LIMIT} | {what: getattr(sums, what) - lacking}
    chosen = select_for_block(proposed_of(graph, limits["size"], limits["cycles"]), limits["size"], limits["cycles"])
    if lacking:
        assert package[1] not in chosen
    else:
        assert chosen == package, f"then {other.hash.hex()} has no room"


# --------------------------------------------------------------------- time


async def test_expiry_to_the_millisecond() -> None:
    async with funded(limits=PoolLimits(expiry_ms=1_000_000)) as funds:
        tx = funds.spend()
        child = funds.spend(cell_of(tx))
        await funds.submit(tx)
        funds.dev.clock.advance(10_000)
        await funds.submit(child)
        entry, clock = funds.pool.pool.graph.entries[tx.short_id], funds.dev.clock
        came = funds.pool.pool.graph.entries[child.short_id].timestamp
        for more, status in ((0, "pending"), (1, "unknown")):
            clock.time_ms = entry.arrived_ms + 1_000_000 + more
            funds.pool.pool.set_tip(funds.dev.chain.view())
            assert await funds.statuses(tx, child) == [status] * 2
        assert (await funds.why_gone(tx)).kind == "Expiry"
        assert (await funds.why_gone(child)).description == str(Expired(came)), "which leaves with its parent"


async def test_a_cellbase_ripens_with_its_last_block() -> None:
    """The tip's epoch decides: the block before is refused, the very block is enough."""
    maturity = dev_consensus().cellbase_maturity_epochs + 1
    async with funded(consensus=replace(dev_consensus(), cellbase_maturity_epochs=maturity)) as funds:
        block = await funds.dev.mine(11)
        tx = funds.spend(cell_of(block.transactions[0]), signer=BOB)
        ripe = EpochFraction.unpack(block.header.epoch).to_rational() + maturity
        length = EpochFraction.unpack(block.header.epoch).length
        await funds.dev.mine(length * maturity - 1)
        assert EpochFraction.unpack(funds.dev.chain.view().tip_header().epoch).to_rational() < ripe
        refused = await funds.refusal(tx)
        assert isinstance(refused, VerificationFailed)
        assert isinstance(refused.cause, CellbaseImmatureError)
        await funds.dev.mine()
        assert EpochFraction.unpack(funds.dev.chain.view().tip_header().epoch).to_rational() == ripe
        await funds.submit(tx)


async def test_a_header_dep_that_stays_and_one_that_leaves() -> None:
    async with funded() as funds:
        common = blocks_of(funds, 1)
        below = funds.dev.chain.view().tip_header().hash
        above = (await funds.dev.mine()).hash
        stays, leaves = funds.spend(header_deps=[below]), funds.spend(header_deps=[above])
        child = funds.spend(cell_of(leaves))
        await funds.submit(stays, leaves, child)
        await submit_all(funds.dev, await branch(b"other", 2, common))
        await funds.dev.settle_pool()
        assert await funds.statuses(stays, leaves, child) == ["pending", "unknown", "unknown"]
        why = await funds.why_gone(leaves)
        assert (why.kind, why.description) == ("Resolve", str(ResolveFailed(InvalidHeaderDepError(above))))


async def test_the_window_opens_and_closes() -> None:
    """Proposed by block n it may be committed by blocks n + closest to n + farthest; later it is pending."""
    async with funded() as funds:
        window = funds.dev.consensus.proposal_window
        tx = funds.spend(fee=FEE)
        await funds.submit(tx)
        await funds.dev.mine()
        seen = [await funds.status(tx)]
        for block in await branch(b"empty", window.farthest, blocks_of(funds, 1)):
            await funds.dev.chain.submit_block(block)
            seen.append(await funds.status(tx))
        expected = ["gap"] * (window.closest - 1) + ["proposed"] * (window.farthest - window.closest + 1) + ["pending"]
        assert seen == expected
