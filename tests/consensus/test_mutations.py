"""Any single field of a valid block that changes makes the block invalid, except where the protocol says otherwise.

The bare change, which the header's commitments catch; then with everything repaired that can be computed from the rest
(roots, hashes, DAO field, and the transactions count as proposed), so that a deeper rule must catch it; then with the
changed transactions signed anew. `kit_exceptions.py` is the table of what the protocol leaves free, `kit_owner.py` says
what it leaves to the owners of cells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from random import Random

import pytest

from consensus.errors import (
    BlockError,
    CkbError,
    DaoError,
    EpochError,
    HeaderError,
    MoleculeError,
    ResolveError,
    ScriptError,
    TransactionError,
)
from consensus.fast.block import fast_prepare_block, fast_verify_block_body
from consensus.rules.block import verify_block_body
from consensus.rules.dao import is_withdrawing
from consensus.rules.epoch import verify_block_epoch
from consensus.rules.header import verify_header
from consensus.rules.verify_block import BlockTransactionError, finish_block, run_scripts, verify_block
from consensus.types.blockchain import Block, Transaction, WitnessArgs, proposals_hash
from tests.consensus.kit_exceptions import EXCEPTIONS, ProtocolException
from tests.consensus.kit_owner import Owner
from tests.consensus.kit_places import Change, changes, places, with_change
from tests.simulator.grow import Grower
from tests.simulator.rules import DAO, NOW_MS
from tests.simulator.state import PlainRunner, State
from tests.simulator.transactions import sign
from tests.support.fuzz import examples

RAW_CHANGES = 150
REPAIRED_CHANGES = 250
SIGNED_CHANGES = 150
FLIPPED_BITS = 100
"""Of each block, in the suite; all under `make fuzz`, nearly."""

ROOTS = {CkbError, BlockError, DaoError, EpochError, HeaderError, ResolveError, ScriptError, TransactionError}
"""Of errors; a rule raises something more telling."""

FREE_WITHOUT_REPAIR = ("header.nonce", "header.body.version", "header.body.timestamp")
"""All else of a block is committed to by its header."""


# ---------------------------------------------------------------- blocks to spoil


Feature = Callable[[State], bool]


def commits(state: State) -> int:
    return len(state.tip.transactions) - 1


def withdraws(state: State) -> bool:
    assert state.parent is not None
    live = state.parent.cells
    keys = (each.previous_output.raw for tx in state.tip.transactions[1:] for each in tx.body.inputs)
    return any(key in live and is_withdrawing(state.consensus, live[key]) for key in keys)


FEATURES: dict[str, Feature] = {
    "nothing but a cellbase": lambda state: commits(state) == 0 and not state.tip.uncles and not state.tip.proposals,
    "a reward": lambda state: len(state.tip.transactions[0].body.outputs) == 1 and commits(state) == 0,
    "transactions": lambda state: commits(state) >= 3,
    "two uncles": lambda state: len(state.tip.uncles) == 2 and any(uncle.proposals for uncle in state.tip.uncles),
    "proposals": lambda state: len(state.tip.proposals) >= 3,
    "a long extension": lambda state: len(state.tip.extension or b"") == 96,
    "a deposit": lambda state: any(
        output.type_ == DAO for tx in state.tip.transactions[1:] for output in tx.body.outputs
    ),
    "a withdrawal": withdraws,
    "header deps": lambda state: any(tx.body.header_deps for tx in state.tip.transactions[1:]),
    "a since": lambda state: any(each.since for tx in state.tip.transactions[1:] for each in tx.body.inputs),
    **{
        f"epoch {number}": lambda state, number=number: state.epoch.number == number and commits(state) > 0  # type: ignore[misc]
        for number in range(5)
    },
}


@cache
def states() -> dict[str, State]:
    """For each feature the state after a small block that has it."""
    found: dict[str, State] = {}
    for seed in range(100):
        for state in Grower(Random(seed)).grow(60).states[1:]:
            for name, has in FEATURES.items():
                if has(state) and (name not in found or state.tip.raw_size < found[name].tip.raw_size):
                    found[name] = state
        if len(found) == len(FEATURES):
            break
    assert len(found) == len(FEATURES)
    return found


@pytest.fixture(scope="module", params=list(FEATURES))
def valid(request: pytest.FixtureRequest) -> State:
    """The state after a valid block."""
    name: str = request.param
    return states()[name]


# ---------------------------------------------------------------- judgement


class Proposed(State):
    """A state in which the transactions of a block are proposed, whatever they are."""

    def __init__(self, state: State, block: Block) -> None:
        self.__dict__.update(state.__dict__)
        window = state.consensus.proposal_window
        self._proposer = state.main_hash(max(state.number + 1 - window.closest, 1))
        self._ids = frozenset(tx.short_id for tx in block.transactions)

    def proposal_ids(self, block_hash: bytes) -> frozenset[bytes] | None:
        known = super().proposal_ids(block_hash)
        return known | self._ids if known is not None and block_hash == self._proposer else known


def plain(state: State, block: Block) -> None:
    verify_block_body(state.consensus, block)
    verify_block(state.consensus, block, state, PlainRunner(state.consensus, state))


def fast(state: State, block: Block) -> None:
    fast_verify_block_body(state.consensus, block)
    prepared = fast_prepare_block(state.consensus, block, state)
    runner = PlainRunner(state.consensus, state)
    finish_block(state.consensus, prepared, run_scripts(state.consensus, prepared, runner))


def fault(state: State, block: Block, rules: Callable[[State, Block], None] = plain) -> CkbError | None:
    """The rule that the block breaks. What is no CkbError is a fault of the rules and ends the test."""
    try:
        verify_header(state.consensus, block.header, state, NOW_MS)
        verify_block_epoch(state.next_epoch(), block.header)
        rules(state, block)
    except CkbError as error:
        return error
    return None


def checked_fault(state: State, block: Block, name: str) -> CkbError | None:
    """Both ways through the rules agree, and the error is one of a rule."""
    found, found_fast = fault(state, block), fault(state, block, fast)
    assert (type(found), str(found)) == (type(found_fast), str(found_fast)), name
    cause = found.cause if isinstance(found, BlockTransactionError) else found
    assert type(cause) not in ROOTS, f"{name}: {found!r}"
    return found


# ---------------------------------------------------------------- changes


def anything(_: Change) -> bool:
    return True


def chosen(
    random: Random, block: Block, count: int, is_wanted: Callable[[Change], bool] = anything
) -> Sequence[Change]:
    """Some of all changes to all places of a block."""
    every = [change for place in places(block) for change in changes(random, place) if is_wanted(change)]
    return random.sample(every, min(len(every), examples(count)))


def below(state: State) -> State:
    assert state.parent is not None
    return state.parent


def changed(block: Block, change: Change) -> Block | None:
    """None when there is no such block: fields of another size."""
    try:
        made: Block = with_change(block, change.place.path, change.value)
    except MoleculeError:
        return None
    return made


def repaired(state: State, block: Block) -> Block:
    """All that can be computed from the rest is right again; the DAO field as far as it exists."""
    uncles = [
        uncle.replace(header=uncle.header.with_fields(proposals_hash=proposals_hash(uncle.proposals)))
        for uncle in block.uncles
    ]
    block = block.replace(uncles=uncles).with_roots()
    try:
        return state.with_dao(block)
    except CkbError:
        return block


@pytest.mark.fuzz
def test_a_changed_field_makes_a_block_invalid(valid: State) -> None:
    """As it is: only what no commitment covers may change."""
    state, random, refused = below(valid), Random(valid.number), Counter[str]()
    for change in chosen(random, valid.tip, RAW_CHANGES):
        block = changed(valid.tip, change)
        if block is None:
            continue
        error = checked_fault(state, block, change.name)
        refused[type(error).__name__] += 1
        if change.place.name in FREE_WITHOUT_REPAIR:
            assert (error is None) is is_allowed(state, block, change), f"{change.name}: {error}"
        else:
            assert error is not None, change.name
    assert len(refused) >= 3, refused


def is_allowed(state: State, block: Block, change: Change) -> bool:
    """The protocol leaves this open."""
    return any(each.condition(state, block, change) for each in EXCEPTIONS if each.names(change))


@pytest.mark.fuzz
def test_a_changed_field_makes_a_repaired_block_invalid(valid: State) -> None:
    """With all commitments repaired: the exceptions are those of the table, and they are valid indeed."""
    random, refused = Random(valid.number), Counter[str]()
    for change in chosen(random, valid.tip, REPAIRED_CHANGES):
        block = changed(valid.tip, change)
        if block is None:
            continue
        state = Proposed(below(valid), block)
        block = repaired(state, block)
        if block == valid.tip:
            continue  # what was changed is itself computed
        error = checked_fault(state, block, change.name)
        refused[type(error).__name__] += 1
        assert (error is None) is is_allowed(state, block, change), f"{change.name}: {error}"
    assert len(refused) >= 3, refused


@pytest.mark.parametrize("exception", EXCEPTIONS, ids=lambda each: each.pattern)
def test_each_exception_leaves_some_block_valid(exception: ProtocolException) -> None:
    """No line of the table is dead."""
    for valid in states().values():
        for place in places(valid.tip):
            for change in changes(Random(0), place):
                if exception.names(change) and is_left_valid(valid, change):
                    return
    pytest.fail(exception.why)


def is_left_valid(valid: State, change: Change) -> bool:
    block = changed(valid.tip, change)
    if block is None:
        return False
    state = Proposed(below(valid), block)
    block = repaired(state, block)
    return block != valid.tip and fault(state, block) is None


@pytest.mark.fuzz
def test_a_changed_transaction_is_invalid_even_if_it_is_signed_and_proposed(valid: State) -> None:
    """Unless its owner may do what it does, as a second model of the rules says."""
    random, below_it = Random(valid.number), below(valid)
    fees = below_it.judge(valid.tip).fees
    for change in chosen(random, valid.tip, SIGNED_CHANGES, is_of_a_transaction):
        block = changed(valid.tip, change)
        if block is None:
            continue
        position = transaction_of(change)
        old, new = valid.tip.transactions[position], block.transactions[position]
        signed = sign(new.body, input_types(old))
        block = with_change(block, ("transactions", position), signed)
        state = Proposed(below_it, block)
        block = repaired(state, block)
        worth = fees[position - 1] + sum(output.capacity for output in old.body.outputs)
        error = checked_fault(state, block, change.name)
        is_owners_choice = Owner(below_it, block, position, old, worth).may_commit()
        assert (error is None) is is_owners_choice, f"{change.name}: {error!r}"


def input_types(transaction: Transaction) -> dict[int, bytes]:
    """What the witnesses of inputs tell NervosDAO."""
    witnesses = transaction.witnesses[: len(transaction.body.inputs)]
    types = {index: WitnessArgs.parse(witness).input_type for index, witness in enumerate(witnesses)}
    return {index: type_ for index, type_ in types.items() if type_ is not None}


def is_of_a_transaction(change: Change) -> bool:
    """Of the body of one that is no cellbase; since has tests of its own."""
    path = change.place.path
    return path[0] == "transactions" and len(path) > 3 and path[1] != 0 and path[2] == "body" and path[-1] != "since"


def transaction_of(change: Change) -> int:
    position = change.place.path[1]
    assert isinstance(position, int)
    return position


def flipped_bits(random: Random, raw: bytes, count: int) -> Iterator[tuple[int, bytes]]:
    for _ in range(count):
        at = random.randrange(len(raw))
        yield at, raw[:at] + bytes([raw[at] ^ 1 << random.randrange(8)]) + raw[at + 1 :]


@pytest.mark.fuzz
def test_a_flipped_bit_makes_a_block_invalid(valid: State) -> None:
    """Of the serialised block, its molecule headers too."""
    state, random, raw = below(valid), Random(valid.number), valid.tip.raw
    header = valid.tip.bounds[0]
    timestamp = range(header + 8, header + 16)
    free = {*range(header, header + 4), *timestamp, *range(header + 192, header + 208)}
    for at, bytes_ in flipped_bits(random, raw, examples(FLIPPED_BITS)):
        try:
            block = Block.parse(bytes_, compatible=True)
        except MoleculeError:
            continue
        error = checked_fault(state, block, f"byte {at}")
        assert error is not None or at in free, f"byte {at}"


@pytest.mark.parametrize("name", list(FEATURES))
def test_the_blocks_are_valid(name: str) -> None:
    state = states()[name]
    assert fault(below(state), state.tip) is None
    assert fault(below(state), state.tip, fast) is None
    assert repaired(below(state), state.tip) == state.tip
