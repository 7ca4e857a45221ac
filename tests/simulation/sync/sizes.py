"""How much a node holds: the entries of all tables that its handlers, its pool and its peer layer reach."""

from __future__ import annotations

import types
from collections import Counter, deque
from collections.abc import Iterable
from typing import Final

from storage.chain_state import ChainState
from storage.chain_store import ChainStore
from storage.filters import FilterStore
from storage.kv import BatchWriter
from tests.simulation.clock import Clock
from tests.simulation.sync.chain import SimChainService
from tests.simulation.sync.node import SyncNode
from tests.simulation.sync.traffic import Traffic
from tests.simulation.wires import Wires

_TABLES: Final = (dict, set, list, deque)
_ATOMS: Final = (str, bytes, int, float, bool, type(None), type, types.FunctionType, types.ModuleType, frozenset)
_OUTSIDE: Final = (ChainStore, ChainState, FilterStore, BatchWriter, Clock, Wires, Traffic, SimChainService, SyncNode)
"""What grows with the chain, what all nodes share, and what the simulation itself notes."""


def table_sizes(node: SyncNode) -> Counter[str]:
    """Entries by the path of the table: class and attribute that hold it."""
    sizes: Counter[str] = Counter()
    seen: set[int] = set()
    todo: list[tuple[str, object]] = [
        ("sync", node.sync),
        ("pool", node.pool),
        ("layer", node.layer),
        ("writer", node.chain.writer.orphans),
    ]
    while todo:
        where, each = todo.pop()
        if isinstance(each, (*_ATOMS, *_OUTSIDE)) or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, _TABLES):
            sizes[where] += len(each)
        todo += _inside(where, each)
    return sizes


def _inside(where: str, each: object) -> Iterable[tuple[str, object]]:
    if isinstance(each, dict):
        return [(where, inner) for inner in each.values()]
    if isinstance(each, (*_TABLES, tuple)):
        return [(where, inner) for inner in each]
    if isinstance(each, types.MethodType):
        return [(where, each.__self__)]
    module = type(each).__module__
    if not module.startswith(("ckb_node", "network", "tests.simulation.sync")):
        return []
    return [(f"{type(each).__name__}.{name}", getattr(each, name)) for name in _attributes(each)]


def _attributes(each: object) -> Iterable[str]:
    names = dict.fromkeys(getattr(each, "__dict__", {}))
    for kind in type(each).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        names |= dict.fromkeys((slots,) if isinstance(slots, str) else slots)
    return [name for name in names if not name.startswith("__") and hasattr(each, name)]


def timers(clock: Clock) -> int:
    """Calls that will be made."""
    return sum(timer.call is not None for _, _, timer in clock._queue)
