"""The database of block filters: what is kept, what is read of the main chain, and what a reorganisation leaves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from storage.chain_store import ChainStore, ChainView
from storage.errors import SchemaTooNew, StorageClosed, StorageCorrupt
from storage.filters import BlockFilter, BlockPlace, BuiltFilter, FilterStore
from storage.kv import KeyValueStore
from storage.memory import MemoryStore
from tests.support.chains.stored import Node, child

HEIGHT = 12


def grown(rng: Random, parent: Node | None, count: int) -> list[Node]:
    nodes: list[Node] = []
    for _ in range(count):
        parent = child(rng, parent)
        nodes.append(parent)
    return nodes


@pytest.fixture
def trunk() -> list[Node]:
    """From the genesis block to height HEIGHT."""
    return grown(Random(1), None, HEIGHT + 1)


@pytest.fixture
def chain() -> Iterator[ChainStore]:
    store = ChainStore.in_memory()
    yield store
    store.close()


@pytest.fixture
def filters(store: KeyValueStore, tmp_path: Path) -> FilterStore:
    return FilterStore(store, tmp_path)


def attach(chain: ChainStore, nodes: Sequence[Node], *, after: Sequence[Node] = ()) -> None:
    """Put `nodes` on the tip, when those of `after` have been taken off."""
    with chain.begin() as txn:
        for node in reversed(after):
            txn.detach_block(node.block)
        for node in nodes:
            node.insert(txn)
            node.attach(txn)
        txn.commit()


def place(node: Node) -> BlockPlace:
    return BlockPlace(node.block.number, node.block.hash)


def filter_of(node: Node) -> BlockFilter:
    """Something of the block's own."""
    return BlockFilter(b"filter of " + node.block.hash, node.block.header.pow_hash)


def append(filters: FilterStore, nodes: Sequence[Node]) -> None:
    filters.append([BuiltFilter(place(node), filter_of(node)) for node in nodes])


def all_read(filters: FilterStore, view: ChainView, first: int = 0) -> list[BuiltFilter]:
    data, hashes = filters.filters(view, first), filters.filter_hashes(view, first)
    both = list(zip(data, hashes, strict=True))
    assert all(one[0] == other[0] for one, other in both)
    return [BuiltFilter(one[0], BlockFilter(one[1], other[1])) for one, other in both]


def built(nodes: Sequence[Node]) -> list[BuiltFilter]:
    return [BuiltFilter(place(node), filter_of(node)) for node in nodes]


def test_nothing_is_built_at_first(chain: ChainStore, filters: FilterStore, trunk: list[Node]) -> None:
    with chain.view() as view:
        assert filters.last_built(view) is None
    attach(chain, trunk)
    with chain.view() as view:
        assert filters.last_built(view) is None
        assert all_read(filters, view) == []
        assert list(filters.check_points(view, 0, 2, 10)) == []
        assert filters.filter(place(trunk[0])) is None
        assert filters.filter_hash(place(trunk[0])) is None
    filters.append([])
    with chain.view() as view:
        assert filters.last_built(view) is None


def test_ranges_begin_where_asked_and_end_at_the_last_built(
    chain: ChainStore, filters: FilterStore, trunk: list[Node]
) -> None:
    attach(chain, trunk)
    append(filters, trunk[:4])
    append(filters, trunk[4:9])
    with chain.view() as view:
        assert filters.last_built(view) == place(trunk[8])
        for first in (0, 1, 5, 8):
            assert all_read(filters, view, first) == built(trunk[first:9])
        for first in (9, 10, 1000, -1, 1 << 64):
            assert all_read(filters, view, first) == []
        assert list(islice(filters.filters(view, 2), 1)) == [(place(trunk[2]), filter_of(trunk[2]).data)]
        assert list(filters.check_points(view, 0, 3, 100)) == [filter_of(trunk[n]).hash for n in (0, 3, 6)]
        assert list(filters.check_points(view, 2, 3, 2)) == [filter_of(trunk[n]).hash for n in (2, 5)]
        assert list(filters.check_points(view, 9, 3, 100)) == []
        assert list(filters.check_points(view, (1 << 64) - 1, 3, 100)) == []
        for node in trunk[:9]:
            assert filters.filter(place(node)) == filter_of(node)


def test_a_view_shows_its_own_chain_whatever_is_built_later(
    chain: ChainStore, filters: FilterStore, trunk: list[Node]
) -> None:
    attach(chain, trunk[:6])
    append(filters, trunk[:6])
    with chain.view() as early:
        attach(chain, trunk[6:])
        append(filters, trunk[6:])
        assert filters.last_built(early) == place(trunk[5])
        assert all_read(filters, early) == built(trunk[:6])


@pytest.mark.parametrize("depth", [1, 3, HEIGHT])
def test_reorganisations_need_no_undo(chain: ChainStore, filters: FilterStore, trunk: list[Node], depth: int) -> None:
    attach(chain, trunk)
    append(filters, trunk)
    stem, cut = trunk[:-depth], trunk[-depth:]
    branch = grown(Random(2), stem[-1], depth + 2)
    attach(chain, branch, after=cut)
    with chain.view() as view:
        assert filters.last_built(view) == place(stem[-1])
        assert all_read(filters, view) == built(stem)
    append(filters, branch[:1])
    with chain.view() as view:
        assert filters.last_built(view) == place(branch[0])
        assert all_read(filters, view) == built([*stem, branch[0]])
    append(filters, branch[1:])
    with chain.view() as view:
        assert all_read(filters, view) == built([*stem, *branch])
    attach(chain, cut, after=branch)
    with chain.view() as view:
        assert filters.last_built(view) == place(cut[-1])
        assert all_read(filters, view) == built(trunk), "the first branch has kept its own"
        assert filters.filter(place(branch[-1])) == filter_of(branch[-1])


def test_a_shorter_chain_may_follow(chain: ChainStore, filters: FilterStore, trunk: list[Node]) -> None:
    attach(chain, trunk)
    append(filters, trunk)
    attach(chain, [], after=trunk[5:])
    with chain.view() as view:
        assert filters.last_built(view) == place(trunk[4])
        assert all_read(filters, view) == built(trunk[:5])


def test_filters_of_another_chain_are_not_taken_for_this_ones(
    chain: ChainStore, filters: FilterStore, trunk: list[Node]
) -> None:
    append(filters, grown(Random(3), None, HEIGHT + 5))
    attach(chain, trunk)
    with chain.view() as view:
        assert filters.last_built(view) is None
        assert all_read(filters, view) == []
    append(filters, trunk)
    with chain.view() as view:
        assert filters.last_built(view) == place(trunk[-1])
        assert all_read(filters, view) == built(trunk)


def test_it_is_all_there_after_opening_it_again(chain: ChainStore, trunk: list[Node], tmp_path: Path) -> None:
    attach(chain, trunk)
    first = FilterStore.open(tmp_path / "filters")
    append(first, trunk)
    first.close()
    with pytest.raises(StorageClosed):
        first.filter(place(trunk[0]))
    again = FilterStore.open(tmp_path / "filters")
    with chain.view() as view:
        assert again.last_built(view) == place(trunk[-1])
        assert all_read(again, view) == built(trunk)
    again.close()


def test_a_newer_layout_is_refused(tmp_path: Path) -> None:
    store = MemoryStore()
    FilterStore(store, tmp_path)
    store.write_batch([(b"Mschema", (2).to_bytes(4, "little"))], sync=True)
    with pytest.raises(SchemaTooNew):
        FilterStore(store, tmp_path)


def test_a_hash_without_its_filter_is_damage(filters: FilterStore, store: KeyValueStore, trunk: list[Node]) -> None:
    append(filters, trunk)
    store.delete(b"D" + place(trunk[3]).pack())
    assert filters.filter(place(trunk[2])) == filter_of(trunk[2])
    with pytest.raises(StorageCorrupt, match="block 3 has a filter hash and no filter"):
        filters.filter(place(trunk[3]))


def test_any_sequence_of_branches(store: KeyValueStore, tmp_path: Path) -> None:
    """A random tree, its branches made the main chain in random order, filters following by random parts."""
    rng = Random(7)
    chain, filters = ChainStore.in_memory(), FilterStore(store, tmp_path)
    nodes = grown(rng, None, 3)
    attach(chain, nodes)
    main, known = nodes, set[bytes]()
    tree = list(nodes)
    for _ in range(40):
        start = rng.choice(tree)
        added = grown(rng, start, rng.randrange(4))
        tree += added
        target = (added[-1] if added else start).branch()
        shared = sum(1 for one, other in zip(main, target, strict=False) if one.block.hash == other.block.hash)
        attach(chain, target[shared:], after=main[shared:])
        main = target
        with chain.view() as view:
            last = filters.last_built(view)
            missing = main[0 if last is None else last.number + 1 :]
            assert all(node.block.hash in known for node in main[: len(main) - len(missing)])
            part = missing[: rng.randrange(len(missing) + 1)]
            append(filters, part)
            known.update(node.block.hash for node in part)
            expected = main[: len(main) - len(missing) + len(part)]
            assert all_read(filters, view)[: len(expected)] == built(expected)
    chain.close()


def test_damage_names_what_to_remove(tmp_path: Path) -> None:
    path = tmp_path / "filters"
    FilterStore.open(path).close()
    (path / "CURRENT").unlink()
    with pytest.raises(StorageCorrupt, match=r"remove the directory .*/filters: the block filters are built again"):
        FilterStore.open(path)
