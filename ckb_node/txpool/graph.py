"""The pool's entries and their dependencies: which spends, reads or needs which. No rules, no chain."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from ckb_node.txpool.bridges import Bridges, drop_from_ancestors, drop_from_descendants
from ckb_node.txpool.entry import PoolEntry, Status
from ckb_node.txpool.links import Links, discard_member, with_link, without_link
from ckb_node.txpool.pool_index import PoolIndex
from ckb_node.txpool.rejects import Duplicated, TooManyAncestors
from consensus.codec.layout import SHORT_ID_SIZE

NOBODY: AbstractSet[bytes] = frozenset()

LEAVING_AT_ONCE = 256
"""Entries that are taken out together: sets of them are numbers with a bit for each."""
CROWD_AT_ONCE = 500
"""Readers of a cell that leave when it is spent, before that is done in steps."""
LINKS_AT_ONCE = 64
"""Children of an entry that leave before more of them are looked at."""


_Reads = tuple[bytes, ...]
"""The cells that an entry reads."""


@dataclass(slots=True, eq=False)
class _Group:
    """The entries that read exactly these cells; they share the one tuple. Known by its identity: to hash thousands of
    cells for each of them is quadratic."""

    reads: _Reads
    members: Links[bytes] = ()


_Links = Callable[[PoolEntry], Iterable[bytes]]


class _Relatives(NamedTuple):
    """One kind of links between entries: up to parents, or down to children."""

    entries: Mapping[bytes, PoolEntry]
    of: _Links


@dataclass(frozen=True, slots=True)
class Departed:
    """Entries that left for another one: those that it replaced, and readers of its inputs that were too many."""

    replaced: Sequence[PoolEntry]
    crowded_out: Sequence[PoolEntry]
    crowd: AbstractSet[bytes] = NOBODY
    """Such readers, when they are more than CROWD_AT_ONCE: they are still there and have to leave in steps."""


class PoolGraph:
    """Entries by proposal short id, with links between them. Parents are what must be committed before an entry."""

    def __init__(self, max_ancestors: int) -> None:
        self.max_ancestors = max_ancestors
        self.entries: dict[bytes, PoolEntry] = {}
        """In the order in which they came."""
        self.spenders: dict[bytes, bytes] = {}
        """Out point → short id of the entry that spends it."""
        self.total_size = 0
        self.total_cycles = 0
        self._readers: dict[bytes, Links[_Group]] = {}
        """Out point → the groups that read it. Most entries read the same few cells."""
        self._groups: dict[_Reads, _Group] = {}
        self._with_header_dep: dict[bytes, set[bytes]] = {}
        self._linked: set[bytes] = set()
        """Entries with parents or children."""
        self._parents = _Relatives(self.entries, attrgetter("parents"))
        self._children = _Relatives(self.entries, attrgetter("children"))
        self._orders = PoolIndex()

    # ------------------------------------------------------------ looking

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, short_id: object) -> bool:
        return short_id in self.entries

    def __iter__(self) -> Iterator[PoolEntry]:
        """In the order in which they came; the graph must not change meanwhile."""
        return iter(self.entries.values())

    def by_hash(self, tx_hash: bytes) -> PoolEntry | None:
        """The entry of exactly this transaction."""
        entry = self.entries.get(tx_hash[:SHORT_ID_SIZE])
        return entry if entry is not None and entry.hash == tx_hash else None

    def count(self, status: Status) -> int:
        return self._orders.count(status)

    def parents(self, short_id: bytes) -> AbstractSet[bytes]:
        """What must be committed directly before it."""
        entry = self.entries.get(short_id)
        return NOBODY if entry is None else frozenset(entry.parents)

    def ancestors(self, short_id: bytes) -> set[bytes]:
        """All that must be committed before it."""
        return _closure(self.parents(short_id), self._parents)

    def parents_first(self, tx_hashes: Iterable[bytes]) -> list[bytes]:
        """The same hashes, each after those that must be committed before it; the unknown ones first."""
        unknown, known, entries = list[bytes](), list[bytes](), self.entries
        for tx_hash in tx_hashes:  # peers ask for thousands that are not here
            (known if tx_hash[:SHORT_ID_SIZE] in entries else unknown).append(tx_hash)
        return unknown + sorted(known, key=self._ancestor_count)

    def _ancestor_count(self, tx_hash: bytes) -> int:
        """With itself; 0 when it is not here. More than any of its ancestors has."""
        entry = self.by_hash(tx_hash)
        return 0 if entry is None else entry.ancestors.count

    def descendants(self, short_id: bytes) -> set[bytes]:
        """All that need it."""
        entry = self.entries.get(short_id)
        return set() if entry is None else _closure(entry.children, self._children)

    def conflicts(self, input_keys: Iterable[bytes]) -> set[bytes]:
        """Entries that spend one of these cells. Any thread may ask."""
        found = (self.spenders.get(key) for key in input_keys)
        return {each for each in found if each is not None}

    def users_of(self, out_point: bytes) -> set[bytes]:
        """Entries that spend or read a cell."""
        users = self._readers_of((out_point,))
        if out_point in self.spenders:
            users.add(self.spenders[out_point])
        return users

    def is_used(self, out_point: bytes) -> bool:
        """Some entry spends or reads a cell."""
        return out_point in self.spenders or out_point in self._readers

    def with_header_dep(self, block_hash: bytes) -> set[bytes]:
        """Entries that name a block as header dep."""
        return set(self._with_header_dep.get(block_hash, ()))

    def creators(self, out_points: Iterable[bytes]) -> set[bytes]:
        """Entries whose outputs these are."""
        return {key[:SHORT_ID_SIZE] for key in out_points if key[:SHORT_ID_SIZE] in self.entries}

    def by_score(self, statuses: Iterable[Status]) -> Iterator[PoolEntry]:
        """Entries of some statuses, the best paying first; the graph must not change meanwhile."""
        return (self.entries[short_id] for short_id in self._orders.by_score(statuses))

    def by_score_as_now(self, statuses: Iterable[Status]) -> Iterator[PoolEntry]:
        """The same at the time of the call, without entries that leave during the iteration."""
        found = (self.entries.get(short_id) for short_id in self._orders.by_score_as_now(statuses))
        return (entry for entry in found if entry is not None)

    @property
    def linked_count(self) -> int:
        """Entries with parents or children."""
        return len(self._linked)

    def linked_below(self, entry: PoolEntry) -> list[PoolEntry]:
        """Those of an entry's status that pay less, the best paying first."""
        place, status = entry.score_place, entry.status
        linked = (self.entries[short_id] for short_id in self._linked)
        found = [each for each in linked if each.status is status and each.score_place < place]
        return sorted(found, key=attrgetter("score_place"), reverse=True)

    def rank(self, entry: PoolEntry, statuses: Iterable[Status]) -> int:
        """How many entries of some statuses pay better."""
        return self._orders.rank_by_score_among(entry, statuses)

    def first_to_evict(self) -> PoolEntry | None:
        """The entry that a full pool evicts next: pending before gap before proposed."""
        first = self._orders.first_to_evict()
        return None if first is None else self.entries[first]

    # ------------------------------------------------------------ changing

    def add(self, entry: PoolEntry, replaced: Collection[bytes] = ()) -> Departed:
        """Insert an entry in place of others (their descendants leave with them).

        Duplicated or TooManyAncestors: nothing changed.
        """
        if entry.short_id in self.entries:
            raise Duplicated(entry.hash)
        leaving = self._with_descendants(replaced)
        contradictory = self._with_users(self._contradictory(entry)) - leaving
        parents, crowd = self._choose_parents(entry, leaving | contradictory)
        replaced_ones = self._take_out(leaving)
        if len(crowd) > CROWD_AT_ONCE:
            left = Departed(replaced_ones, self._take_out(contradictory), crowd)
        else:
            left = Departed(replaced_ones, self._take_out(contradictory | self._with_users(crowd)))
        self._link(entry, parents)
        return left

    def _with_descendants(self, short_ids: Iterable[bytes]) -> set[bytes]:
        found: set[bytes] = set()
        for each in short_ids:
            if each in self.entries and each not in found:
                found |= {each} | self.descendants(each)
        return found

    def _contradictory(self, entry: PoolEntry) -> set[bytes]:
        """Entries that need `entry` and read what it, or what it needs, spends: they could not be committed.

        A reorg can bring a parent back after such a child came.
        """
        users = self._users_of_outputs(entry)
        if not users:
            return users
        below = _closure(users, self._children)
        before = self.creators((*entry.input_keys, *entry.dep_keys)) | self._readers_of(entry.input_keys)
        ancestors = _closure(before, self._parents)
        spent = set(entry.input_keys).union(*(self.entries[each].input_keys for each in ancestors - below))
        return {each for each in ancestors & below if not spent.isdisjoint(self.entries[each].dep_keys)}

    def _readers_of(self, out_points: Iterable[bytes]) -> set[bytes]:
        readers: set[bytes] = set()
        for key in out_points:
            for group in self._readers.get(key, ()):
                readers.update(group.members)
        return readers

    def _choose_parents(self, entry: PoolEntry, leaving: AbstractSet[bytes]) -> tuple[set[bytes], set[bytes]]:
        """Parents, and entries that must go because there would be too many ancestors.

        Creators of the cells that it uses are needed. Who reads a cell that it spends must be committed before it too,
        but is only there by chance: of these the best paying stay, as many as the limit allows.
        """
        needed = self.creators((*entry.input_keys, *entry.dep_keys)) - leaving
        readers = self._readers_of(entry.input_keys) - leaving
        ancestors = _closure(needed, self._parents, leaving)
        limit = self.max_ancestors - 1
        if len(ancestors) > limit:
            raise TooManyAncestors
        others = nlargest(limit + 1, readers - ancestors, key=lambda each: self.entries[each].evict_place)
        for each in others:
            more = _closure({each}, self._parents, ancestors | leaving)
            if len(ancestors) + len(more) > limit:
                break
            ancestors |= more
        return needed | (readers & ancestors), readers - ancestors

    def _link(self, entry: PoolEntry, parents: set[bytes]) -> None:
        short_id = entry.short_id
        self.entries[short_id] = entry
        self.total_size += entry.size
        self.total_cycles += entry.cycles
        for key in entry.input_keys:
            self.spenders[key] = short_id
        self._note_reads(entry)
        for block_hash in entry.header_deps:
            self._with_header_dep.setdefault(block_hash, set()).add(short_id)
        children = self._users_of_outputs(entry)
        for parent in parents:
            entry.parents = with_link(entry.parents, parent)
            above = self.entries[parent]
            above.children = with_link(above.children, short_id)
        for child in children:
            entry.children = with_link(entry.children, child)
            below = self.entries[child]
            below.parents = with_link(below.parents, short_id)
        if parents or children:
            self._linked.update((short_id, *parents, *children))
        self._count_in(entry, joins=bool(children))

    def _note_reads(self, entry: PoolEntry) -> None:
        group = self._groups.get(entry.dep_keys)
        if group is None:
            group = self._groups[entry.dep_keys] = _Group(entry.dep_keys)
            for key in entry.dep_keys:
                self._readers[key] = with_link(self._readers.get(key, ()), group)
        group.members = with_link(group.members, entry.short_id)
        entry.dep_keys = group.reads

    def _forget_reads(self, entry: PoolEntry) -> None:
        group = self._groups[entry.dep_keys]
        group.members = without_link(group.members, entry.short_id)
        if group.members:
            return
        del self._groups[entry.dep_keys]
        for key in entry.dep_keys:
            left = without_link(self._readers[key], group)
            if left:
                self._readers[key] = left
            else:
                del self._readers[key]

    def _users_of_outputs(self, entry: PoolEntry) -> set[bytes]:
        """Entries that spend or read its outputs; a reorg brings parents back after their children."""
        users: set[bytes] = set()
        for key in entry.output_keys:
            if self.is_used(key):
                users |= self.users_of(key)
        return users

    def _count_in(self, entry: PoolEntry, *, joins: bool) -> None:
        """Bring the sums up to date. An entry that `joins` its ancestors with descendants makes them each other's."""
        alone = entry.alone
        ancestors = [self.entries[each] for each in self.ancestors(entry.short_id)] if entry.parents else []
        for ancestor in ancestors:
            entry.add_ancestor(ancestor.alone)
            if not joins:
                ancestor.add_descendant(alone)
        if joins:
            descendants = [self.entries[each] for each in self.descendants(entry.short_id)]
            for descendant in descendants:
                entry.add_descendant(descendant.alone)
                descendant.recount_ancestors(self.entries[each] for each in self.ancestors(descendant.short_id))
                self._orders.rank_by_score(descendant)
            for ancestor in ancestors:
                ancestor.recount_descendants(self.entries[each] for each in self.descendants(ancestor.short_id))
        for ancestor in ancestors:
            self._orders.rank_by_eviction(ancestor)
        self._rank(entry)

    def _rank(self, entry: PoolEntry) -> None:
        self._orders.rank_by_score(entry)
        self._orders.rank_by_eviction(entry)

    def set_statuses(self, statuses: Mapping[bytes, Status]) -> None:
        """Move entries, by short id, on in the two-step commit, or back."""
        entries = [self.entries[short_id] for short_id in statuses]
        for entry in entries:
            entry.status = statuses[entry.short_id]
        self._orders.move(entries)

    def set_cycles(self, entry: PoolEntry, cycles: int) -> None:
        """An entry's scripts took other cycles than before; all sums that count it follow."""
        more = cycles - entry.cycles
        self.total_cycles += more
        entry.set_cycles(cycles)
        for each in self.ancestors(entry.short_id):
            ancestor = self.entries[each]
            ancestor.descendants.cycles += more
            self._orders.rank_by_eviction(ancestor)
        for each in self.descendants(entry.short_id):
            descendant = self.entries[each]
            descendant.ancestors.cycles += more
            self._orders.rank_by_score(descendant)
        self._rank(entry)

    def remove_with_descendants(self, short_ids: Iterable[bytes]) -> list[PoolEntry]:
        """Remove entries and all that need them, parents first."""
        return self._take_out(self._with_descendants(short_ids))

    def leave_with_users(self, short_ids: Iterable[bytes]) -> Iterator[list[PoolEntry]]:
        """Remove entries and all that use their cells, some at a time, users first; each some parents first. Between
        two steps the graph may change: what comes and uses their cells leaves too. Who spends what one of them only
        reads stays: it need not wait for it any more."""
        return self._leave(short_ids, lambda: _Users(self))

    def leave_with_descendants(self, short_ids: Iterable[bytes]) -> Iterator[list[PoolEntry]]:
        """The same with all that need them."""
        return self._leave(short_ids, lambda: self._children.of)

    def _leave(self, short_ids: Iterable[bytes], links: Callable[[], _Links]) -> Iterator[list[PoolEntry]]:
        stack = [each for each in short_ids if each in self.entries]
        while batch := self._next_to_leave(stack, links()):
            yield self._take_out(batch)

    def _next_to_leave(self, stack: list[bytes], links: _Links) -> AbstractSet[bytes]:
        """Some of the entries on the stack and of what is linked to them; those linked to each have left or leave now.
        The walk goes on where it was: a step looks at few entries, however many are linked to one."""
        batch: set[bytes] = set()
        while stack and len(batch) < LEAVING_AT_ONCE:
            entry = self.entries.get(stack[-1])
            if entry is None or entry.short_id in batch:
                stack.pop()
                continue
            linked = list(islice((each for each in links(entry) if each not in batch), LINKS_AT_ONCE))
            if linked:
                stack.extend(linked)
            else:
                batch.add(stack.pop())
        return batch

    def _with_users(self, short_ids: Iterable[bytes]) -> set[bytes]:
        users = _Relatives(self.entries, _Users(self))
        return _closure((each for each in short_ids if each in self.entries), users)

    def remove_committed(self, tx_hashes: Iterable[bytes]) -> list[PoolEntry]:
        """Remove what a block committed; what needs it stays and needs it no more."""
        found = (self.by_hash(each) for each in tx_hashes)
        return self._take_out({entry.short_id for entry in found if entry is not None})

    def _take_out(self, gone: AbstractSet[bytes]) -> list[PoolEntry]:
        """Remove entries, and return them parents first. Totals of the others do not count them any more."""
        order = sorted((self.entries[each] for each in gone), key=lambda entry: entry.ancestors.count, reverse=True)
        for first in range(0, len(order), LEAVING_AT_ONCE):
            self._part(order[first : first + LEAVING_AT_ONCE])
        return order[::-1]

    def _part(self, some: Sequence[PoolEntry]) -> None:
        """Remove a few; children come first."""
        gone = {entry.short_id for entry in some}
        above = _closure((each for entry in some for each in entry.parents), self._parents) - gone
        below = _closure((each for entry in some for each in entry.children), self._children) - gone
        bridges = None
        if above and below:
            outside = {entry.short_id: found for entry, found in _outside(some[::-1], gone, self._parents)}
            bridges = Bridges(self.entries, outside, above, below)
        if above:
            drop_from_ancestors(some, [self.entries[each] for each in above])
        if below:
            drop_from_descendants(some, [self.entries[each] for each in below])
        self._orders.forget(some)
        for entry in some:
            self._unlink(entry)
        if bridges is not None:
            bridges.part(_closure(below, self._parents))
        for each in above:
            self._orders.rank_by_eviction(self.entries[each])
        self._orders.rank_all_by_score([self.entries[each] for each in below])

    def _unlink(self, entry: PoolEntry) -> None:
        short_id = entry.short_id
        del self.entries[short_id]
        for key in entry.input_keys:
            if self.spenders.get(key) == short_id:
                del self.spenders[key]
        self._forget_reads(entry)
        for block_hash in entry.header_deps:
            discard_member(self._with_header_dep, block_hash, short_id)
        for each in entry.parents:
            above = self.entries[each]
            above.children = without_link(above.children, short_id)
        for each in entry.children:
            below = self.entries[each]
            below.parents = without_link(below.parents, short_id)
        if entry.parents or entry.children:
            self._linked.discard(short_id)
            around = (*entry.parents, *entry.children)
            self._linked.difference_update([each for each in around if self._is_alone(each)])
        entry.parents = entry.children = ()
        self.total_size -= entry.size
        self.total_cycles -= entry.cycles

    def _is_alone(self, short_id: bytes) -> bool:
        entry = self.entries[short_id]
        return not entry.parents and not entry.children


class _Users:
    """Children that use an entry's cells; others spend what it reads. Of each child it is looked up once whose cells it
    uses: one may name thousands, and be the child of as many."""

    def __init__(self, graph: PoolGraph) -> None:
        self._graph = graph
        self._creators: dict[bytes, set[bytes]] = {}

    def __call__(self, entry: PoolEntry) -> Iterator[bytes]:
        for child in entry.children:
            creators = self._creators.get(child)
            if creators is None:
                below = self._graph.entries[child]
                creators = self._graph.creators((*below.input_keys, *below.dep_keys))
                self._creators[child] = creators
            if entry.short_id in creators:
                yield child


def _closure(start: Iterable[bytes], relatives: _Relatives, known: AbstractSet[bytes] = NOBODY) -> set[bytes]:
    """Everything that can be reached from `start`, itself included, without what is `known` and what that leads to."""
    entries, links = relatives
    seen = set(start) - known
    if not seen:
        return seen
    stack = list(seen)
    while stack:
        for each in links(entries[stack.pop()]):
            if each not in seen and each not in known:
                seen.add(each)
                stack.append(each)
    return seen


def _outside(
    order: Iterable[PoolEntry], inside: AbstractSet[bytes], relatives: _Relatives
) -> Iterator[tuple[PoolEntry, AbstractSet[bytes]]]:
    """For each entry what its links lead to outside of the set. In `order` what an entry links to comes before it."""
    reached: dict[bytes, AbstractSet[bytes]] = {}
    for entry in order:
        found: set[bytes] = set()
        for link in relatives.of(entry):
            found |= reached[link] if link in inside else _closure({link}, relatives, found)
        reached[entry.short_id] = found - inside
        yield entry, reached[entry.short_id]
