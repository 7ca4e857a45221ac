"""Block filters behind the tip: complete, the right bytes on every branch, also after restarts, and none unasked."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ckb_node.filters.builder import BatchLimits, FilterBuilder
from ckb_node.filters.check import check_filters
from ckb_node.filters.service import FilterService
from ckb_node.runtime.tasks import Pauses, Tasks
from consensus.crypto.golomb import golomb_coded_set
from consensus.crypto.hashing import ZERO_HASH
from consensus.rules.block_filter import filter_hash
from consensus.types.blockchain import Block, CellOutput
from storage.chain_state import ChainState
from storage.chain_store import ChainStore
from storage.errors import DiskFull
from storage.filters import BlockFilter, BlockPlace, FilterStore
from storage.kv import Change
from storage.memory import MemoryStore
from tests.support.builders.filters import CONTENTS, block_with
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell
from tests.support.chains.branches import branch, submit_all
from tests.support.chains.devchain import DevChain, dev_chain
from tests.support.nodes.directories import mined

WAIT_S = 30.0


@pytest.fixture
def payments() -> tuple[Block, ...]:
    """24 blocks, the first of which pay."""
    return mined()


def expected_filters(state: ChainState) -> list[BlockFilter]:
    """Filters of the main chain from genesis, by the plain types: RFC 45 as it is written."""
    cells: dict[bytes, CellOutput] = {}
    found, parent = [], ZERO_HASH
    for number in range(state.tip_header().number + 1):
        block = state.block(state.main_hash(number) or b"")
        assert block is not None
        outputs: list[CellOutput] = []
        for tx in block.transactions:
            cells.update(zip(tx.output_keys(), tx.body.outputs, strict=True))
            outputs += tx.body.outputs
        points = [each.previous_output.raw for tx in block.transactions[1:] for each in tx.body.inputs]
        outputs += [cells[point] for point in points if point in cells]
        scripts = [each for output in outputs for each in (output.lock, output.type_) if each is not None]
        data = golomb_coded_set(sorted({script.hash for script in scripts}))
        parent = filter_hash(parent, data)
        found.append(BlockFilter(data, parent))
    return found


def stored_filters(state: ChainState, filters: FilterStore) -> list[BlockFilter]:
    rows = zip(filters.filters(state, 0), filters.filter_hashes(state, 0), strict=True)
    return [BlockFilter(data[1], found[1]) for data, found in rows]


def assert_complete(store: ChainStore, filters: FilterStore) -> None:
    with store.view() as view:
        assert stored_filters(view, filters) == expected_filters(view)
        report = check_filters(view, filters)
        assert report.filters == view.tip_header().number + 1
        assert report.faults == []


def build_all(store: ChainStore, builder: FilterBuilder) -> int:
    """Build up to the tip; how many batches it took."""
    for batches in itertools.count(1):
        with store.view() as view:
            if builder.step(view):
                return batches
    raise AssertionError


async def with_transfer(message: bytes, count: int) -> list[Block]:
    """A branch on the genesis block in which Alice pays Bob."""
    async with dev_chain(message=message) as other:
        alice, bob = Wallet(ALICE_KEY), Wallet(BOB_KEY)
        out_point, capacity = issued_cell(other.consensus, alice)
        outputs = [(bob.lock, 100 * CKB), (alice.lock, capacity - 101 * CKB)]
        await other.pool.submit(alice.transfer(other.consensus, [(out_point, capacity)], outputs))
        blocks = [await other.mine() for _ in range(count)]
        assert sum(len(block.transactions) - 1 for block in blocks) == 1
        return blocks


@pytest.mark.parametrize("limits", [None, BatchLimits(blocks=1), BatchLimits(blocks=7), BatchLimits(seconds=0)])
async def test_filters_of_a_chain_that_was_there_before(
    limits: BatchLimits | None, payments: tuple[Block, ...]
) -> None:
    """As with databases of versions without filters: built from stored blocks, in batches."""
    async with dev_chain() as dev:
        await submit_all(dev, payments)
        filters = FilterStore.in_memory()
        batches = build_all(dev.store, FilterBuilder(filters, limits))
        per_batch = {None: 25, BatchLimits(blocks=7): 7}.get(limits, 1)
        assert batches == -(-25 // per_batch)
        assert_complete(dev.store, filters)
        assert build_all(dev.store, FilterBuilder(filters)) == 1, "nothing is left to do"


async def test_another_process_goes_on_where_one_ended(tmp_path: Path, payments: tuple[Block, ...]) -> None:
    """Without what the first remembered of cells: they are read from the transactions that made them."""
    async with dev_chain() as dev:
        for part in (payments[:2], payments[2:6], payments[6:]):
            await submit_all(dev, part)
            filters = FilterStore.open(tmp_path)
            build_all(dev.store, FilterBuilder(filters))
            assert_complete(dev.store, filters)
            filters.close()


class FullDisk(MemoryStore):
    """Takes so many batches."""

    left = 2

    def write_batch(self, changes: Iterable[Change], /, *, sync: bool) -> None:
        if self.left == 0:
            raise DiskFull(Path("disk"), "no room")
        self.left -= 1
        super().write_batch(changes, sync=sync)


async def test_a_batch_that_was_not_written_is_built_again(payments: tuple[Block, ...]) -> None:
    async with dev_chain() as dev:
        await submit_all(dev, payments)
        disk = FullDisk()
        filters = FilterStore(disk, Path("disk"))
        builder = FilterBuilder(filters, BatchLimits(blocks=5))
        with dev.store.view() as view:
            assert not builder.step(view)
            with pytest.raises(DiskFull):
                builder.step(view)
            assert filters.last_built(view) == BlockPlace(4, view.main_hash(4) or b"")
        disk.left = 100
        build_all(dev.store, builder)
        assert_complete(dev.store, filters)


async def test_both_branches_have_filters_of_their_own() -> None:
    ours, theirs = await with_transfer(b"ours", 6), await with_transfer(b"theirs", 9)
    async with dev_chain() as dev:
        filters = FilterStore.in_memory()
        builder = FilterBuilder(filters)
        await submit_all(dev, ours)
        build_all(dev.store, builder)
        assert_complete(dev.store, filters)
        before = [filters.filter(BlockPlace(block.number, block.hash)) for block in ours]
        await submit_all(dev, theirs)
        build_all(dev.store, builder)
        assert_complete(dev.store, filters)
        assert [filters.filter(BlockPlace(block.number, block.hash)) for block in ours] == before
        longer = await branch(b"ours", 6, ours)
        await submit_all(dev, longer)
        build_all(dev.store, builder)
        assert_complete(dev.store, filters)


async def test_a_truncated_chain_loses_nothing_that_it_needs(payments: tuple[Block, ...]) -> None:
    async with dev_chain() as dev:
        filters = FilterStore.in_memory()
        builder = FilterBuilder(filters)
        await submit_all(dev, payments)
        build_all(dev.store, builder)
        await dev.chain.truncate(payments[4].hash)
        build_all(dev.store, builder)
        assert_complete(dev.store, filters)
        await dev.mine(3)
        build_all(dev.store, builder)
        assert_complete(dev.store, filters)


async def test_cells_that_nobody_made_are_left_out() -> None:
    """Blocks may be taken without checks (module IntegrationTest)."""
    async with dev_chain() as dev:
        filters = FilterStore.in_memory()
        for number, content in CONTENTS.items():
            with dev.store.view() as view:
                parent = view.tip_header()
            block = block_with(content, number, parent_hash=parent.hash, timestamp=parent.timestamp + 1, dao=parent.dao)
            assert await dev.chain.process_block_without_verify(block)
            build_all(dev.store, FilterBuilder(filters))
        assert_complete(dev.store, filters)


# ---------------------------------------------------------------- the service


@asynccontextmanager
async def following(
    dev: DevChain, filters: FilterStore, limits: BatchLimits | None = None
) -> AsyncIterator[FilterService]:
    service = FilterService(dev.chain, filters, limits)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(service.run())
        try:
            yield service
        finally:
            task.cancel()
    service.close()


async def wait_for(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not done():  # noqa: ASYNC110 - the service tells nobody
            await asyncio.sleep(0.005)


def has_all(service: FilterService, blocks: Sequence[Block]) -> Callable[[], bool]:
    return lambda: all(service.block_filter(block.number, block.hash) is not None for block in blocks)


async def test_the_service_follows_the_tip_and_its_reorganisations() -> None:
    ours, theirs = await with_transfer(b"ours", 6), await with_transfer(b"theirs", 9)
    async with dev_chain() as dev:
        await submit_all(dev, ours[:3])
        async with following(dev, FilterStore.in_memory()) as service:
            await wait_for(has_all(service, ours[:3]))
            for block in ours[3:]:
                await dev.chain.submit_block(block)
                await wait_for(has_all(service, [block]))
            await submit_all(dev, theirs)
            await wait_for(has_all(service, theirs))
            mined_blocks = [await dev.mine() for _ in range(20)]
            await wait_for(has_all(service, mined_blocks))
            assert_complete(dev.store, service.store)


async def test_a_service_that_does_not_run_answers_from_what_is_there(payments: tuple[Block, ...]) -> None:
    blocks = payments[:4]
    async with dev_chain() as dev:
        await submit_all(dev, blocks[:2])
        filters = FilterStore.in_memory()
        build_all(dev.store, FilterBuilder(filters))
        service = FilterService(dev.chain, filters)
        await submit_all(dev, blocks[2:])
        assert [has_all(service, [block])() for block in blocks] == [True, True, False, False]
        service.close()


async def test_a_fault_hurts_the_filters_and_nothing_else() -> None:
    async with dev_chain() as dev:
        disk = FullDisk()
        disk.left = 100
        service = FilterService(dev.chain, FilterStore(disk, Path("disk")))
        with capture_logs() as logs:
            async with Tasks(dev.clock.now_ms, Pauses(first=0.001, healthy_after=0.05)) as tasks:
                tasks.start_restartable("block filters", service.run)
                blocks = [await dev.mine()]
                await wait_for(has_all(service, blocks))
                disk.left = 0
                blocks = [await dev.mine() for _ in range(3)]
                await wait_for(lambda: bool(tasks.faults))
                assert not has_all(service, blocks)()
                assert (await dev.mine()).number == 5
                disk.left = 100
                await wait_for(has_all(service, blocks))
                await wait_for(lambda: not tasks.faults)
        service.close()
        assert (logs[0]["log_level"], logs[0]["reason"]) == ("error", "disk: no room")


async def test_a_long_way_to_the_tip_is_told(monkeypatch: pytest.MonkeyPatch, payments: tuple[Block, ...]) -> None:
    monkeypatch.setattr("ckb_node.chain.follower.FAR_BEHIND", 10)
    async with dev_chain() as dev:
        await submit_all(dev, payments)
        with capture_logs() as logs:
            async with following(dev, FilterStore.in_memory(), BatchLimits(blocks=4)) as service:
                await wait_for(has_all(service, payments))
                await wait_for(lambda: len(logs) == 2)
                await wait_for(has_all(service, [await dev.mine()]))
        assert [(entry["event"], entry["number"]) for entry in logs] == [
            ("block filters are built in the background", 3),
            ("block filters have reached the tip", 24),
        ]


# ---------------------------------------------------------------- the check


@pytest.mark.parametrize("kind", [b"D", b"H"])
async def test_the_check_names_what_differs_and_what_is_missing(kind: bytes, payments: tuple[Block, ...]) -> None:
    async with dev_chain() as dev:
        await submit_all(dev, payments)
        store = MemoryStore()
        filters = FilterStore(store, Path("filters"))
        build_all(dev.store, FilterBuilder(filters))
        block = payments[5]
        key = kind + BlockPlace(block.number, block.hash).pack()
        value = store.get(key) or b""
        store.put(key, value[:-1] + bytes([value[-1] ^ 1]))
        with dev.store.view() as view:
            (fault,) = check_filters(view, filters).faults
        what = {b"D": "filter", b"H": "filter hash"}[kind]
        assert fault == f"the {what} of block 6 (0x{block.hash.hex()}) differs"
        store.delete(key)
        with dev.store.view() as view:
            (fault,) = check_filters(view, filters).faults
        assert fault == f"the filter of block 6 (0x{block.hash.hex()}) is missing, though block 24 has one"


def test_a_check_without_filters_finds_no_fault() -> None:
    with ChainStore.in_memory().view() as view:
        report = check_filters(view, FilterStore.in_memory())
    assert report.filters == 0
    assert report.faults == []
