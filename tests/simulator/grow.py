"""Grows a tree of blocks from a seed: forks, uncles, transactions on several branches, bad blocks with children."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from consensus.errors import CkbError
from consensus.rules.block import verify_block_body
from consensus.rules.epoch import verify_block_epoch
from consensus.rules.header import BlockTimeTooNewError, median_time, verify_header
from consensus.rules.two_phase import proposed_ids
from consensus.rules.verify_block import BlockTransactionError
from consensus.types.blockchain import Block, Transaction, UncleBlock
from consensus.types.core import EpochFraction
from tests.simulator.rules import LATER_MS, NOW_MS, lock, with_window
from tests.simulator.spoil import SPOILS, bad_transaction, dao_field, false_body, with_body
from tests.simulator.state import State, fault_of
from tests.simulator.transactions import TransactionMaker

MOST_TIPS = 4
MOST_TRIED = 8


@dataclass(frozen=True)
class Sample:
    """A block to be delivered, and what is wrong with it by itself, whatever its ancestors are."""

    block: Block
    state: State | None
    """What is true after it; of blocks that can be stored only."""
    body: CkbError | None = None
    """The fault that shows in the block alone."""
    header: CkbError | None = None
    """The fault that shows when the parent is known."""
    context: CkbError | None = None
    """The fault that shows when the parent is the tip; nobody looks if there is another."""
    later: Sample | None = None
    """What a block from the future is when its time has come."""

    @property
    def fault(self) -> CkbError | None:
        """The one that counts when the parent is the tip."""
        return self.header or self.body or self.context


def sample_of(parent: State, block: Block) -> Sample:
    """What the plain rules say about a block on top of `parent`."""
    body, header = _body_fault(parent, block), _header_fault(parent, block)
    if isinstance(header, BlockTimeTooNewError):
        return Sample(block, None, body, header, later=Sample(block, parent.child(block, LATER_MS)))
    if body or header:
        return Sample(block, None, body, header)
    fault = fault_of(parent, block)
    if fault is None:
        return Sample(block, parent.child(block))
    return Sample(block, parent.bad_child(block), context=fault)


def _name_of(fault: CkbError | None) -> str:
    """Its class, and what is inside."""
    if isinstance(fault, BlockTransactionError):
        return f"{type(fault).__name__}, {_name_of(fault.cause)}"
    return "none after all" if fault is None else type(fault).__name__


def _body_fault(parent: State, block: Block) -> CkbError | None:
    try:
        verify_block_body(parent.consensus, block)
    except CkbError as fault:
        return fault
    return None


def _header_fault(parent: State, block: Block) -> CkbError | None:
    try:
        verify_header(parent.consensus, block.header, parent, NOW_MS)
        verify_block_epoch(parent.next_epoch(), block.header)
    except CkbError as fault:
        return fault
    return None


@dataclass
class Tree:
    """All samples, parents before children; `states` of the sound ones (all ancestors valid)."""

    genesis: State
    samples: list[Sample] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    bad_states: list[State] = field(default_factory=list)
    future_states: list[State] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def best(self) -> State:
        """The heaviest sound one; no other is as heavy when the tree is grown."""
        return max(self.states, key=lambda state: state.total_difficulty)

    @property
    def is_decided(self) -> bool:
        """One branch is the heaviest, even when blocks from the future count."""
        heaviest = self.best.total_difficulty
        return sum(state.total_difficulty >= heaviest for state in (*self.states, *self.future_states)) == 1


class Grower:
    """One seed's tree."""

    def __init__(self, random: Random) -> None:
        self.random = random
        consensus = with_window(*random.choice(((2, 10), (2, 4), (1, 3), (2, 4))))
        genesis = State(consensus, None, consensus.genesis_block, None)
        self.tree = Tree(genesis, states=[genesis])
        self.maker = TransactionMaker(random)
        self.bad_transactions: dict[bytes, Transaction] = {}
        self.tips = [genesis]

    def grow(self, size: int) -> Tree:
        """About `size` blocks, and then so many that one branch is the heaviest."""
        random = self.random
        while len(self.tree.samples) < size:
            kind = random.random()
            if kind < 0.06:
                self._fork()
            elif kind < 0.24:
                self._add_bad()
            elif kind < 0.3 and self.tree.bad_states:
                self._add_on_bad()
            elif kind < 0.34 and self.tree.samples:
                self._add_false_body()
            else:
                self._extend(min(random.choices(range(len(self.tips)), k=2)))
        while not self.tree.is_decided:
            self.tips.append(self.tree.best)
            self._extend(len(self.tips) - 1)
        return self.tree

    # ------------------------------------------------------------ kinds of growth

    def _fork(self) -> None:
        """A new branch from some blocks below a tip; when there are many tips, another one is given up."""
        tip = self.random.choice(self.tips)
        depth = self.random.choice((1, 1, 2, 2, 3, 4, 6, 9))
        self.tips.append(tip.path[max(tip.number - depth, 0)])
        if len(self.tips) > MOST_TIPS:
            self.tips.pop(self.random.randrange(len(self.tips)))

    def _extend(self, tip: int) -> None:
        parent = self.tips[tip]
        sample = sample_of(parent, self.good_block(parent))
        assert sample.state is not None, sample.fault
        assert sample.fault is None, sample.fault
        if sample.state.hash not in {state.hash for state in self.tree.states}:
            self.tree.samples.append(sample)
            self.tree.states.append(sample.state)
            self._count(sample.block)
        self.tips[tip] = sample.state

    def _count(self, block: Block) -> None:
        counts = self.tree.counts
        counts["blocks"] += 1
        counts["transactions"] += len(block.transactions) - 1
        counts["uncles"] += len(block.uncles)
        counts["epochs"] += EpochFraction.unpack(block.header.epoch).index == 0

    def _add_bad(self) -> None:
        parent = self.random.choice(self.tips)
        good = self.good_block(parent)
        bad = self._with_bad_transactions(parent, good) if self.random.random() < 0.4 else None
        if bad is None:
            spoil = self.random.choice(SPOILS)
            bad = spoil(self.random, parent, good)
            if bad is None:
                return
            assert fault_of(parent, bad) is not None, spoil.__name__
        if bad.hash == good.hash:
            return
        sample = sample_of(parent, bad)
        self.tree.samples.append(sample)
        if sample.later is not None and sample.later.state is not None:
            self.tree.future_states.append(sample.later.state)
        if sample.state is not None:
            (self.tree.bad_states if sample.fault else self.tree.states).append(sample.state)
        self.tree.counts[f"bad: {_name_of(sample.fault)}"] += 1

    def _with_bad_transactions(self, parent: State, good: Block) -> Block | None:
        """Commits what was proposed and is bad, or does not fit here."""
        ids = proposed_ids(parent.consensus.proposal_window, parent.number + 1, parent)
        taken = {tx.hash for tx in good.transactions}
        known = (*self.bad_transactions.values(), *self.maker.known.values())
        misfits = [tx for tx in known if tx.short_id in ids and tx.hash not in taken]
        if not misfits:
            return None
        place = self.random.randrange(1, len(good.transactions) + 1)
        before, after = good.transactions[:place], good.transactions[place:]
        return with_body(parent, good, [*before, self.random.choice(misfits), *after])

    def _add_on_bad(self) -> None:
        """A block that would be valid if its parent were; or is as bad, and not to blame: the first of a branch is."""
        random, bad_states = self.random, self.tree.bad_states
        heaviest = max(bad_states, key=lambda state: state.total_difficulty)
        parent = random.choice((heaviest, random.choice(bad_states)))
        try:
            block = random.choice((parent.next_block(message=random.randbytes(2)), self.good_block(parent)))
            if random.random() < 0.25:
                block = dao_field(random, parent, block)
            sample = sample_of(parent, block)
        except CkbError:
            return  # what the bad parent says cannot be reckoned with
        if sample.state is not None:
            self.tree.samples.append(sample)
            self.tree.bad_states.append(sample.state)
            self.tree.counts["on bad blocks"] += 1

    def _add_false_body(self) -> None:
        sample = self.random.choice(self.tree.samples)
        if sample.state is None:
            return
        false = false_body(self.random, sample.block)
        self.tree.samples.append(Sample(false, None, body=_body_fault(self.tree.genesis, false)))
        self.tree.counts["false bodies"] += 1

    # ------------------------------------------------------------ a valid block

    def good_block(self, parent: State) -> Block:
        """A valid child of `parent` with whatever is at hand."""
        random = self.random
        median = median_time(parent, parent.hash, parent.consensus.median_time_block_count)
        # An epoch that ends before it began has no successor: no block can follow then.
        began = parent.path[max(parent.next_epoch().start_number - 1, 0)].tip.header.timestamp
        pace = random.choice((1, 2_000, 8_000, 20_000))
        fields: dict[str, Any] = {
            "timestamp": max(median + 1, began, parent.tip.header.timestamp + random.randint(-500, pace)),
            "version": random.choice((0, 0, 0, 1, 0xFFFF_FFFF)),
        }
        options: dict[str, Any] = {
            "proposals": self._proposals(parent),
            "miner": lock(random.randrange(4), random.choice((0, 1, 2, 4))),
            "message": random.randbytes(random.randrange(5)),
            "extension_tail": random.randbytes(random.choice((0, 0, 1, 64))),
        }
        uncles: list[UncleBlock] = []
        for uncle in self._possible_uncles(parent):
            if len(uncles) < 2 and self._is_valid(parent, (), [*uncles, uncle], options, fields):
                uncles.append(uncle)
        chosen: list[Transaction] = []
        for transaction in self._possible_transactions(parent):
            if self._is_valid(parent, [*chosen, transaction], uncles, options, fields):
                chosen.append(transaction)
        return parent.next_block(chosen, uncles=uncles, **options, **fields)

    def _is_valid(
        self,
        parent: State,
        transactions: Sequence[Transaction],
        uncles: Sequence[UncleBlock],
        options: dict[str, Any],
        fields: dict[str, Any],
    ) -> bool:
        try:
            block = parent.next_block(transactions, uncles=uncles, **options, **fields)
        except CkbError:
            return False
        return fault_of(parent, block) is None

    def _proposals(self, parent: State) -> list[bytes]:
        """Ids of new transactions, of known ones, of bad ones, and of none at all."""
        random, ids = self.random, []
        for _ in range(random.choice((0, 1, 1, 2, 3))):
            made = self.maker.make(parent)
            if made is not None:
                ids.append(made.short_id)
        recent = list(self.maker.known.values())[-30:]
        ids += [tx.short_id for tx in random.sample(recent, min(len(recent), random.randrange(5)))]
        if random.random() < 0.3:
            strangers = [state for state in self.tree.states if not parent.is_main(state.hash)]
            bad = bad_transaction(random, self.maker, parent, strangers)
            if bad is not None:
                self.bad_transactions[bad.hash] = bad
                ids.append(bad.short_id)
        if random.random() < 0.1:
            ids.append(random.randbytes(10))
        ids = list(dict.fromkeys(ids))
        random.shuffle(ids)
        return ids[: parent.consensus.max_block_proposals]

    def _possible_transactions(self, parent: State) -> list[Transaction]:
        ids = proposed_ids(parent.consensus.proposal_window, parent.number + 1, parent)
        found = [tx for tx in self.maker.known.values() if tx.short_id in ids and tx.hash not in parent.infos]
        if len(found) > MOST_TRIED:
            found = [tx for tx in found if self.random.random() < MOST_TRIED / len(found)]
        return found

    def _possible_uncles(self, parent: State) -> list[UncleBlock]:
        """Blocks of other branches, bad ones too: of an uncle only the header counts."""
        if self.random.random() < 0.3:
            return []
        epoch = parent.next_epoch()
        near = [
            sample.block
            for sample in self.tree.samples[-40:]
            if sample.block.header.compact_target == epoch.compact_target
            and EpochFraction.unpack(sample.block.header.epoch).number == epoch.number
            and sample.block.number <= parent.number
            and not parent.is_main(sample.block.hash)
        ]
        chosen = self.random.sample(near, min(len(near), 4))
        return [UncleBlock(header=block.header, proposals=block.proposals) for block in chosen]
