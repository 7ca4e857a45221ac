"""Which branches are downloaded: the one with the most work that a connected peer has, and, when that is asked for,
those of peers that are not on it. So a peer that announces headers and withholds their blocks holds up its own branch
only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ckb_node.chain.initial_download import FetchAll, FetchGate, FetchTo, fetch_gate
from ckb_node.sync.blocks.branch import Branch
from ckb_node.sync.chain import KnownTip, SyncChain
from network.peer import Scheduler
from storage.chain_store import ChainView

__all__ = ["Branches", "heads_above", "read_gate"]


class Branches:
    """The best first."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler: Final = scheduler
        self._branches: list[Branch] = []
        self._targets: Sequence[KnownTip] = ()

    def __iter__(self) -> Iterator[Branch]:
        return iter(self._branches)

    def __len__(self) -> int:
        return len(self._branches)

    @property
    def best(self) -> Branch | None:
        return self._branches[0] if self._branches else None

    @property
    def targets(self) -> Sequence[KnownTip]:
        """Where the branches lead to that were chosen last."""
        return self._targets

    def clear(self) -> None:
        """Read them anew next time."""
        self._branches = []

    def choose(self, view: ChainView, heads: Sequence[KnownTip], gate: FetchGate, most: int) -> None:
        """Lead to `heads`, the heaviest first, by at most so many branches. Those that are on the way stay."""
        chosen: list[Branch] = []
        if isinstance(gate, (FetchAll, FetchTo)):
            for head in heads:
                if len(chosen) == most:
                    break
                if not _is_on_one_of(chosen, head, view) and (branch := self._branch_to(head, view, chosen)):
                    branch.cap = min(head.number, gate.number) if isinstance(gate, FetchTo) else head.number
                    if not branch.is_done and branch.load_first(view):
                        chosen.append(branch)
        self._branches = chosen
        self._targets = [branch.target for branch in chosen]

    def _branch_to(self, head: KnownTip, view: ChainView, chosen: Sequence[Branch]) -> Branch | None:
        """None when the header is not known any more."""
        for branch in self._branches:
            if branch not in chosen and branch.follow(head, view):
                first = view.known_headers().first_missing(head.hash)
                if first is not None and first >= branch.first:
                    branch.advance_to(first)
                    return branch
        first = view.known_headers().first_missing(head.hash)
        return None if first is None else Branch(head, first, self._scheduler.now())


def heads_above(tips: Iterable[KnownTip], work: int) -> list[KnownTip]:
    """Those with more work, each once, the heaviest first."""
    heavier = {tip.hash: tip for tip in tips if tip.total_difficulty > work}
    return sorted(heavier.values(), key=lambda tip: tip.total_difficulty, reverse=True)


def read_gate(chain: SyncChain, view: ChainView) -> FetchGate:
    """Whether blocks are fetched, and up to where."""
    target = chain.assume_valid.next_target
    header = None if target is None else view.known_headers().header(target)
    least = chain.consensus.min_chain_work
    work = chain.best_header().total_difficulty
    return fetch_gate(work, least, target, None if header is None else header.number)


def _is_on_one_of(branches: Sequence[Branch], head: KnownTip, view: ChainView) -> bool:
    known = view.known_headers()
    return any(known.ancestor_hash(branch.target.hash, head.number) == head.hash for branch in branches)
