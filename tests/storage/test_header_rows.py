"""Header rows: headers whose blocks are not stored, held against a plain model, on both engines, killed and resumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from consensus.context import HeaderProvider
from consensus.crypto.difficulty import compact_to_difficulty
from consensus.types.blockchain import Header
from consensus.types.core import INVALID, BlockExt
from storage import header_rows
from storage.chain_state import ChainState
from storage.chain_store import ChainStore
from storage.header_cache import HeaderCache
from storage.header_check import header_row_faults
from storage.header_rows import KnownHeaders
from storage.kv import Reader
from storage.schema import HEADER_LEAF, HEADER_NUMBER, HEADER_ROW, META_HEADER_CUT
from tests.storage.kit_chain import OPTIONS, engine, grow
from tests.support.chains.stored import Node, child, header

INVALID_EXT = BlockExt(total_difficulty=0, total_uncles_count=0, received_at=0, txs_fees=[], verified_flag=INVALID)


@pytest.fixture
def store(chain_store: ChainStore) -> ChainStore:
    return chain_store


class Model:
    """What the rows should be: parents and work by hash."""

    def __init__(self, genesis: Node) -> None:
        self.work = {genesis.block.hash: genesis.ext.total_difficulty}
        self.rows: dict[bytes, Header] = {}

    def insert(self, headers: Sequence[Header]) -> None:
        for each in headers:
            self.work[each.hash] = self.work[each.parent_hash] + compact_to_difficulty(each.compact_target)
            self.rows[each.hash] = each

    def above(self, root: bytes) -> set[bytes]:
        """Rows that stand on it, directly or not."""
        found, grown = set[bytes](), {root}
        while grown:
            grown = {each.hash for each in self.rows.values() if each.parent_hash in grown}
            found |= grown
        return found

    def delete(self, root: bytes) -> None:
        for each in {root, *self.above(root)}:
            self.rows.pop(each, None)

    @property
    def leaves(self) -> set[bytes]:
        return set(self.rows) - {each.parent_hash for each in self.rows.values()}


def keys(store: ChainStore, prefix: bytes) -> set[bytes]:
    return {key for key, _ in engine(store).iterator(prefix=prefix)}


def assert_rows(store: ChainStore, model: Model) -> None:
    rows, work = model.rows, model.work
    assert keys(store, HEADER_ROW) == {HEADER_ROW + each for each in rows}
    assert keys(store, HEADER_NUMBER) == {
        HEADER_NUMBER + each.number.to_bytes(8, "big") + each.hash for each in rows.values()
    }
    assert keys(store, HEADER_LEAF) == {HEADER_LEAF + work[each].to_bytes(32, "big") + each for each in model.leaves}
    assert engine(store).get(META_HEADER_CUT) is None
    with store.view() as view:
        known = view.known_headers()
        provider: HeaderProvider = known
        for block_hash, each in rows.items():
            assert provider.header(block_hash) == each
            assert known.total_difficulty(block_hash) == work[block_hash]
            assert block_hash in known.row_hashes(each.number)
            assert view.header(block_hash) is None, "only stored blocks are seen by the rules of blocks"
            assert_ancestors(known, each)
        tip_ext = view.block_ext(view.tip_header().hash)
        assert tip_ext is not None
        most = max([tip_ext.total_difficulty, *(work[each] for each in rows)])
        assert known.total_difficulty(known.best_header().hash) == most
        best = known.best_row()
        assert (best is None) == (not rows)
        if best is not None:
            assert best.total_difficulty == max(work[each] for each in rows)


def assert_ancestors(known: KnownHeaders, header: Header) -> None:
    below: Header | None = header
    hashes: list[bytes] = []
    while below is not None:
        assert known.ancestor_hash(header.hash, below.number) == below.hash
        hashes.insert(0, below.hash)
        below = known.header(below.parent_hash)
    assert known.ancestor_hash(header.hash, header.number + 1) is None
    last = header.number
    for first in {0, last // 2, last}:
        assert known.branch_hashes(header.hash, first, last) == hashes[first:]
        assert known.branch_hashes(header.hash, 0, first) == hashes[: first + 1]
    assert known.branch_hashes(header.hash, 0, last + 1) is None
    assert known.branch_hashes(bytes(32), 0, 0) is None
    missing = [number for number, each in enumerate(hashes) if known.row(each) is not None]
    assert known.first_missing(header.hash) == min(missing, default=last + 1)
    assert known.first_missing(bytes(32)) is None


def write(store: ChainStore, headers: Sequence[Header]) -> None:
    with store.begin() as txn:
        txn.header_rows.insert(headers)
        txn.commit(sync=False)


def branch(rng: Random, parent: Header, count: int) -> list[Header]:
    """Headers that stand on each other."""
    found: list[Header] = []
    for _ in range(count):
        below = found[-1] if found else parent
        found.append(header(rng, below.number + 1, below.hash, 0))
    return found


def refuse(store: ChainStore, bad: Header) -> None:
    with store.begin() as txn:
        txn.header_rows.delete(bad)
        txn.note_invalid(bad.hash, INVALID_EXT)
        txn.commit(sync=False)
    store.finish_header_cut()


@pytest.mark.parametrize("seed", range(4))
def test_random_trees_agree_with_the_model(store: ChainStore, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_rows, "CUT_SLICE", 3)
    rng = Random(seed)
    (genesis,) = grow(store, 1, seed)
    model = Model(genesis)
    for _ in range(40):
        if model.rows and rng.random() < 0.2:
            bad = rng.choice(list(model.rows.values()))
            refuse(store, bad)
            model.delete(bad.hash)
        else:
            below = rng.choice([genesis.block.header, *model.rows.values()])
            known = [model.rows[each] for each in [below.hash] if each in model.rows]
            new = branch(rng, below, rng.randrange(1, 6))
            write(store, [*known, *new])
            model.insert(new)
        assert_rows(store, model)
        with store.view() as view:
            assert header_row_faults(view) == []


class CountingReader:
    """Satisfies storage.kv.Reader."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self.reads = reader, 0

    def get(self, key: bytes) -> bytes | None:
        self.reads += 1
        return self._reader.get(key)

    def iterator(
        self, *, prefix: bytes = b"", start: bytes | None = None, stop: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        self.reads += 1
        return self._reader.iterator(prefix=prefix, start=start, stop=stop, reverse=reverse)


def test_where_long_forks_begin_is_found_with_few_reads(store: ChainStore) -> None:
    """At each of their heights more than one header is known. A read takes microseconds of the event loop, and now and
    then waits for the interpreter: a second for two thousand headers."""
    tip = grow(store, 5)[-1].block.header
    forks = [branch(Random(seed), tip, 300) for seed in range(3)]
    for fork in forks:
        write(store, fork)
    with store.view() as view:
        reader = CountingReader(engine(store))
        known = KnownHeaders(reader, view, HeaderCache().parents)
        assert known.first_missing(forks[0][-1].hash) == 5
        assert reader.reads < 5 * 300, "each header is read once, the other reads look where there are no forks"
        reader.reads = 0
        for fork in forks[:1] * 10:
            assert known.first_missing(fork[-1].hash) == 5
            assert known.ancestor_hash(fork[-1].hash, 100) == fork[95].hash
        assert reader.reads < 10 * 300


def test_a_stored_block_takes_the_place_of_its_row(store: ChainStore) -> None:
    (genesis,) = grow(store, 1)
    rng = Random(2)
    nodes = [genesis]
    for _ in range(5):
        nodes.append(child(rng, nodes[-1]))
    headers = [each.block.header for each in nodes[1:]]
    model = Model(genesis)
    write(store, headers)
    model.insert(headers)
    for node in nodes[1:]:
        with store.begin() as txn:
            node.insert(txn)
            node.attach(txn)
            assert txn.known_headers().header(node.block.hash) == node.block.header
            txn.commit(sync=False)
        del model.rows[node.block.hash]
        assert_rows(store, model)
        write(store, headers)  # known, stored or not: nothing changes
        assert_rows(store, model)
    with store.view() as view:
        assert view.known_headers().best_row() is None
        assert view.known_headers().total_difficulty(nodes[3].block.hash) == nodes[3].ext.total_difficulty


def test_a_discarded_transaction_leaves_the_rows(store: ChainStore) -> None:
    (genesis,) = grow(store, 1)
    node = child(Random(1), genesis)
    model = Model(genesis)
    write(store, [node.block.header])
    model.insert([node.block.header])
    with store.begin() as txn:
        node.insert(txn)
    assert_rows(store, model)


def test_rows_on_deleted_blocks_go_with_them(store: ChainStore) -> None:
    nodes = grow(store, 3)
    rng = Random(1)
    side = child(rng, nodes[1])
    model = Model(nodes[0])
    model.work |= {each.block.hash: each.ext.total_difficulty for each in (*nodes, side)}
    with store.begin() as txn:
        side.insert(txn)
        txn.commit(sync=False)
    on_side, on_main = branch(rng, side.block.header, 4), branch(rng, nodes[2].block.header, 2)
    for headers in (on_side, on_main):
        write(store, headers)
        model.insert(headers)
    assert_rows(store, model)
    with store.begin() as txn:
        txn.delete_block(side.block.header)
        txn.commit(sync=False)
    store.finish_header_cut()
    model.delete(side.block.hash)
    assert set(model.rows) == {each.hash for each in on_main}
    assert_rows(store, model)


def test_headers_that_do_not_fit_are_refused(store: ChainStore) -> None:
    (genesis,) = grow(store, 1)
    rng = Random(1)
    first, second = branch(rng, genesis.block.header, 3), branch(rng, genesis.block.header, 3)
    for headers, problem in (
        (first[1:], "parent of header 2 is unknown"),
        ([first[0], second[1]], "header 2 does not stand"),
    ):
        with pytest.raises(ValueError, match=problem):
            write(store, headers)
    refuse(store, first[0])
    with pytest.raises(ValueError, match="is unknown"):  # of an invalid block the work is known, but not the header
        write(store, first[1:])
    assert_rows(store, Model(genesis))


def test_nothing_is_built_on_a_branch_that_is_being_deleted(store: ChainStore) -> None:
    (genesis,) = grow(store, 1)
    headers = branch(Random(1), genesis.block.header, 4)
    write(store, headers)
    with store.begin() as txn:
        txn.header_rows.delete(headers[0])
        with pytest.raises(ValueError, match="finish_header_cut"):
            txn.header_rows.insert(branch(Random(2), headers[-1], 1))
        txn.commit(sync=False)
    with pytest.raises(ValueError, match="finish_header_cut"):
        write(store, branch(Random(2), headers[-1], 1))
    store.finish_header_cut()
    assert_rows(store, Model(genesis))


@pytest.mark.parametrize("slices", range(4))
def test_a_deletion_that_was_cut_short_goes_on_at_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slices: int
) -> None:
    monkeypatch.setattr(header_rows, "CUT_SLICE", 4)
    store = ChainStore.open(tmp_path, OPTIONS)
    (genesis,) = grow(store, 1)
    rng = Random(slices)
    model = Model(genesis)
    trunk = branch(rng, genesis.block.header, 6)
    for headers in (trunk, branch(rng, trunk[3], 6), branch(rng, trunk[1], 5), branch(rng, trunk[5], 9)):
        write(store, headers)
        model.insert(headers)
    with store.begin() as txn:
        txn.header_rows.delete(trunk[2])
        txn.commit()
    for _ in range(slices):
        with store.begin() as txn:
            txn.header_rows.cut_slice()
            txn.commit()
    left = len(keys(store, HEADER_ROW))
    assert left == len(model.rows) - 1 - 4 * slices
    store.close()
    store = ChainStore.open(tmp_path, OPTIONS)
    model.delete(trunk[2].hash)
    assert_rows(store, model)
    store.close()


def test_rows_see_what_an_overlay_has_not_saved(store: ChainStore) -> None:
    """A bulk import saves, and goes on: reads meanwhile see both."""
    (genesis,) = grow(store, 1)
    headers = branch(Random(1), genesis.block.header, 6)
    with store.begin() as txn:
        state: ChainState = txn
        txn.header_rows.insert(headers[:3])
        txn.save()
        txn.header_rows.insert(headers[3:])
        best = state.known_headers().best_row()
        assert best is not None
        assert best.header == headers[-1]
        txn.commit()
    model = Model(genesis)
    model.insert(headers)
    assert_rows(store, model)


# --- lost branches ---


def prune(store: ChainStore, block_hash: bytes, most: int) -> bytes | None:
    with store.begin() as txn:
        left = txn.header_rows.prune(block_hash, most)
        txn.commit(sync=False)
    return None if left is None else left.header.hash


@pytest.mark.parametrize("seed", range(4))
def test_pruned_trees_agree_with_the_model(store: ChainStore, seed: int) -> None:
    rng = Random(seed)
    (genesis,) = grow(store, 1, seed)
    model = Model(genesis)
    for _ in range(12):
        below = rng.choice([genesis.block.header, *model.rows.values()])
        known = [model.rows[each] for each in [below.hash] if each in model.rows]
        new = branch(rng, below, rng.randrange(1, 8))
        write(store, [*known, *new])
        model.insert(new)
    while model.rows:
        leaf: bytes | None = rng.choice(sorted(model.leaves))
        while leaf is not None:
            at, most = leaf, rng.randrange(1, 4)
            leaf = prune(store, leaf, most)
            for _ in range(most):
                if at not in model.leaves:
                    break
                at = model.rows.pop(at).parent_hash
            assert leaf == (at if at in model.leaves else None)
            assert_rows(store, model)
            with store.view() as view:
                assert header_row_faults(view) == []


def test_what_others_stand_on_and_stored_blocks_stay(store: ChainStore) -> None:
    genesis, stored = grow(store, 2)
    model = Model(genesis)
    model.work[stored.block.hash] = stored.ext.total_difficulty
    rows = branch(Random(5), stored.block.header, 3)
    write(store, rows)
    model.insert(rows)
    for each in (stored.block.hash, rows[0].hash, bytes(32)):
        assert prune(store, each, 10) is None
    assert_rows(store, model)


def test_leaves_in_the_order_of_their_work(store: ChainStore) -> None:
    (genesis,) = grow(store, 1)
    model, rng = Model(genesis), Random(3)
    for count in (5, 1, 3):
        rows = branch(rng, genesis.block.header, count)
        write(store, rows)
        model.insert(rows)
    works = sorted(model.work[each] for each in model.leaves)
    with store.view() as view:
        known = view.known_headers()
        assert [row.total_difficulty for row in known.poorest_leaves(works[2], 10)] == works[:2]
        assert [row.total_difficulty for row in known.poorest_leaves(works[2] + 1, 10)] == works
        assert [row.total_difficulty for row in known.poorest_leaves(works[2] + 1, 1)] == works[:1]
