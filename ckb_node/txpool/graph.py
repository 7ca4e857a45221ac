"""The pool's entries and how they hang together: who spends, reads or needs what. No rules, no chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ckb_node.rpc.rejects import Duplicated, TooManyAncestors
from ckb_node.txpool.entry import PoolEntry, Status, evict_key, score, score_key
from consensus.types.blockchain import Transaction


class PoolGraph:
    """Entries by proposal short id, with links between them. Parents are what must be committed before an entry."""

    def __init__(self, max_ancestors: int) -> None:
        self.max_ancestors = max_ancestors
        self.entries: dict[bytes, PoolEntry] = {}
        self.spenders: dict[bytes, bytes] = {}
        """Out point → short id of the entry that spends it."""
        self.total_size = 0
        self.total_cycles = 0
        self._readers: dict[bytes, set[bytes]] = {}
        self._header_deps: dict[bytes, set[bytes]] = {}
        self._parents: dict[bytes, set[bytes]] = {}
        self._children: dict[bytes, set[bytes]] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, short_id: bytes) -> bool:
        return short_id in self.entries

    def by_hash(self, tx_hash: bytes) -> PoolEntry | None:
        """The entry of exactly this transaction."""
        entry = self.entries.get(tx_hash[:10])
        return entry if entry is not None and entry.hash == tx_hash else None

    def count(self, status: Status) -> int:
        return sum(entry.status is status for entry in self.entries.values())

    def ancestors(self, short_id: bytes) -> set[bytes]:
        """All that must be committed before it."""
        return _closure(self._parents.get(short_id, ()), self._parents)

    def descendants(self, short_id: bytes) -> set[bytes]:
        """All that need it."""
        return _closure(self._children.get(short_id, ()), self._children)

    def add(self, entry: PoolEntry) -> list[PoolEntry]:
        """Insert; the entries that had to leave for it. Duplicated or TooManyAncestors: nothing changed."""
        if entry.short_id in self.entries:
            raise Duplicated(entry.hash)
        parents, readers = self._parents_of(entry.tx)
        evicted = self._make_room_among_ancestors(parents, readers)
        self.entries[entry.short_id] = entry
        self._link(entry, parents - {gone.short_id for gone in evicted})
        self.total_size += entry.size
        self.total_cycles += entry.cycles
        return evicted

    def _parents_of(self, tx: Transaction) -> tuple[set[bytes], set[bytes]]:
        """Parents, and those of them that are parents only because they read a cell that `tx` spends."""
        parents: set[bytes] = set()
        readers: set[bytes] = set()
        for cell_input in tx.body.inputs:
            out_point = cell_input.previous_output
            readers.update(self._readers.get(out_point.raw, ()))
            if out_point.tx_hash[:10] in self.entries:
                parents.add(out_point.tx_hash[:10])
        for dep in tx.body.cell_deps:
            if dep.out_point.tx_hash[:10] in self.entries:
                parents.add(dep.out_point.tx_hash[:10])
        return parents | readers, readers

    def _make_room_among_ancestors(self, parents: set[bytes], readers: set[bytes]) -> list[PoolEntry]:
        """Evict the cheapest readers of cells about to be spent while there are too many ancestors."""
        count = len(_closure(parents, self._parents)) + 1
        if count <= self.max_ancestors:
            return []
        if count - len(readers) > self.max_ancestors:
            raise TooManyAncestors
        evicted: list[PoolEntry] = []
        left = set(parents)
        for short_id in sorted(readers, key=lambda each: evict_key(self.entries[each])):
            if len(_closure(left, self._parents)) < self.max_ancestors:
                break
            left.discard(short_id)
            evicted += self.remove_with_descendants(short_id)
        return evicted

    def _link(self, entry: PoolEntry, parents: set[bytes]) -> None:
        short_id = entry.short_id
        for key in entry.input_keys():
            self.spenders[key] = short_id
        for key in entry.dep_keys():
            self._readers.setdefault(key, set()).add(short_id)
        if entry.tx.body.header_deps:
            self._header_deps[short_id] = set(entry.tx.body.header_deps)
        children = self._children_of(entry) - parents
        self._parents[short_id], self._children[short_id] = parents, children
        for parent in parents:
            self._children[parent].add(short_id)
        for child in children:
            self._parents[child].add(short_id)
        for each in self.ancestors(short_id):
            ancestor = self.entries[each]
            entry.ancestors.add(ancestor)
            ancestor.descendants.add(entry)
        for each in self.descendants(short_id):
            descendant = self.entries[each]
            entry.descendants.add(descendant)
            descendant.ancestors.add(entry)

    def _children_of(self, entry: PoolEntry) -> set[bytes]:
        """Entries that spend or read its outputs; a reorg brings parents back after their children."""
        children: set[bytes] = set()
        for key in entry.tx.output_keys():
            children.update(self._readers.get(key, ()))
            if key in self.spenders:
                children.add(self.spenders[key])
        return children

    def remove(self, short_id: bytes) -> PoolEntry | None:
        """Remove one entry and leave its descendants: it was committed, or they are handled by the caller."""
        entry = self.entries.get(short_id)
        if entry is None:
            return None
        for each in self.ancestors(short_id):
            self.entries[each].descendants.subtract(entry)
        for each in self.descendants(short_id):
            self.entries[each].ancestors.subtract(entry)
        self._unlink(entry)
        return entry

    def remove_with_descendants(self, short_id: bytes) -> list[PoolEntry]:
        """Remove an entry and all that need it, children last."""
        if short_id not in self.entries:
            return []
        ids = [short_id, *sorted(self.descendants(short_id), key=lambda each: self.entries[each].ancestors.count)]
        removed = [self.remove(each) for each in ids]
        return [entry for entry in removed if entry is not None]

    def _unlink(self, entry: PoolEntry) -> None:
        short_id = entry.short_id
        del self.entries[short_id]
        for key in entry.input_keys():
            if self.spenders.get(key) == short_id:
                del self.spenders[key]
        for key in entry.dep_keys():
            readers = self._readers.get(key)
            if readers is not None:
                readers.discard(short_id)
                if not readers:
                    del self._readers[key]
        self._header_deps.pop(short_id, None)
        for parent in self._parents.pop(short_id):
            self._children[parent].discard(short_id)
        for child in self._children.pop(short_id):
            self._parents[child].discard(short_id)
        self.total_size -= entry.size
        self.total_cycles -= entry.cycles

    def conflicts(self, tx: Transaction) -> set[bytes]:
        """Entries that spend a cell which `tx` spends."""
        keys = (cell_input.previous_output.raw for cell_input in tx.body.inputs)
        return {self.spenders[key] for key in keys if key in self.spenders}

    def users_of(self, out_point: bytes) -> set[bytes]:
        """Entries that spend or read a cell."""
        users = set(self._readers.get(out_point, ()))
        if out_point in self.spenders:
            users.add(self.spenders[out_point])
        return users

    def with_header_deps(self, hashes: set[bytes]) -> list[tuple[bytes, bytes]]:
        """(short id, header hash) of entries that depend on one of the headers."""
        return [(each, next(iter(deps & hashes))) for each, deps in self._header_deps.items() if deps & hashes]

    def by_score(self, statuses: Iterable[Status]) -> list[PoolEntry]:
        """Entries of some statuses, the best paying first."""
        wanted = set(statuses)
        chosen = [entry for entry in self.entries.values() if entry.status in wanted]
        chosen.sort(key=lambda entry: score_key(score(entry, entry.ancestors)), reverse=True)  # type: ignore[arg-type, return-value]
        return chosen

    def first_to_evict(self) -> PoolEntry | None:
        """Whom a full pool drops next: pending before gap before proposed."""
        for status in (Status.PENDING, Status.GAP, Status.PROPOSED):
            chosen = [entry for entry in self.entries.values() if entry.status is status]
            if chosen:
                return min(chosen, key=evict_key)
        return None

    def __iter__(self) -> Iterator[PoolEntry]:
        return iter(list(self.entries.values()))


def _closure(start: Iterable[bytes], links: dict[bytes, set[bytes]]) -> set[bytes]:
    """Everything that can be reached from `start`, itself included."""
    seen = set(start)
    stack = list(seen)
    while stack:
        for each in links.get(stack.pop(), ()):
            if each not in seen:
                seen.add(each)
                stack.append(each)
    return seen
