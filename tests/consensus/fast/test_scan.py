"""Transactions of every kind take the fast path, and it decides about them, and about what they become with one field
changed, as the plain rules do."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from consensus.errors import MoleculeError
from consensus.fast.block import fast_prepare_block, fast_verify_block_body
from consensus.types.blockchain import Block, Transaction
from tests.consensus.fast.kit_agree import agree, block_with, is_valid
from tests.consensus.fast.kit_kinds import SINCES, Kinds, changes
from tests.support.builders.blocks import a_consensus
from tests.support.chains.valid import ValidChain
from tests.support.fuzz import examples

KINDS = [
    "parent", "inputs", "types", *SINCES, "headers", "deps", "groups", "child", "dep in the block", "deposit",
    "first phase", "second phase", "deposit spent", "genesis", "cellbase", "large",
]  # fmt: skip
BY_PLAIN_RULES = {"genesis"}
"""Resolved quickly, but judged by the plain rules of a transaction."""


def fails(*_: object) -> None:
    raise AssertionError("the plain rules were asked")


def assert_is_quick(kinds: Kinds, block: Block, monkeypatch: pytest.MonkeyPatch, *, judged: bool) -> None:
    """The plain rules are not asked; of transactions only if not `judged` quickly."""
    asked = ["block.verify_block_body", "block.prepare_block", *(["scan.verify_block_transaction"] if judged else [])]
    for name in asked:
        monkeypatch.setattr(f"consensus.fast.{name}", fails)
    fast_verify_block_body(kinds.chain.consensus, block)
    fast_prepare_block(kinds.chain.consensus, block, kinds.chain)


def test_the_kinds() -> None:
    assert list(Kinds().transactions) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_takes_the_fast_path(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = Kinds()
    parent, transaction = kinds.transactions["parent"], kinds.transactions[kind]
    kinds.propose([parent, transaction])
    block = kinds.chain.next_block(list(dict.fromkeys((parent, transaction))))
    assert is_valid(agree(kinds.chain, block))
    assert_is_quick(kinds, block, monkeypatch, judged=kind not in BY_PLAIN_RULES)


def test_all_kinds_in_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = Kinds()
    transactions = list(kinds.transactions.values())
    kinds.propose(transactions)
    uncle = kinds.chain.an_uncle(kinds.chain.tip_header().number, proposals=[b"p" * 10])
    block = kinds.chain.next_block(transactions, uncles=[uncle], proposals=[b"q" * 10])
    assert is_valid(agree(kinds.chain, block))
    assert_is_quick(kinds, block, monkeypatch, judged=False)


@pytest.mark.parametrize("kind", KINDS)
def test_each_field_changed(kind: str) -> None:
    kinds = Kinds()
    parent, transaction = kinds.transactions["parent"], kinds.transactions[kind]
    changed = list(changes(kinds, transaction))
    kinds.propose([parent, transaction, *changed])
    before = [] if kind == "parent" else [parent]
    verdicts = [is_valid(agree(kinds.chain, block_with(kinds.chain, [*before, each]))) for each in changed]
    assert 2 < verdicts.count(True) < len(verdicts) - 10


@pytest.mark.fuzz
@hypothesis_settings(max_examples=examples(40), deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_blocks_of_kinds_in_any_order(seed: int) -> None:
    random, kinds = Random(seed), Kinds()
    transactions = list(kinds.transactions.values())
    for at in random.sample(range(len(transactions)), random.choice((0, 0, 1, 1, 2))):
        transactions[at] = random.choice(list(changes(kinds, transactions[at])))
    if random.random() < 0.5:
        transactions.insert(random.randrange(len(transactions)), transactions.pop(random.randrange(len(transactions))))
    if random.random() < 0.1:
        transactions.append(random.choice(transactions))
    transactions = [each for each in transactions if random.random() < 0.9]
    kinds.propose(transactions)
    agree(kinds.chain, block_with(kinds.chain, transactions))


@pytest.mark.fuzz
@hypothesis_settings(max_examples=examples(30), deadline=None)
@given(seed=st.integers(0, 1 << 32), kind=st.sampled_from(KINDS))
def test_each_bit_changed(seed: int, kind: str) -> None:
    random, kinds = Random(seed), Kinds()
    raw, changed = kinds.transactions[kind].raw, list[Transaction]()
    while len(changed) < 20:
        at = random.randrange(len(raw))
        try:
            changed.append(Transaction.parse(raw[:at] + bytes([raw[at] ^ 1 << random.randrange(8)]) + raw[at + 1 :]))
        except MoleculeError:
            continue
    kinds.propose([kinds.transactions["parent"], *changed])
    before = [] if kind == "parent" else [kinds.transactions["parent"]]
    for each in changed:
        agree(kinds.chain, block_with(kinds.chain, [*before, each]))


def test_children_before_their_parents() -> None:
    kinds = Kinds()
    parent, child, user = (kinds.transactions[name] for name in ("parent", "child", "dep in the block"))
    grandchild = kinds.spend_created(child, 0)
    twice = kinds.spend_created(parent, 0)
    late = kinds.spend_created(parent, 1)
    none = kinds.spend_created(parent, 0).body
    point = none.inputs[0].previous_output.replace(index=7)
    nothing = Transaction(body=none.replace(inputs=[none.inputs[0].replace(previous_output=point)]), witnesses=[])
    orders = {
        True: [[parent, child, grandchild], [parent, user, late], [parent, child, user]],
        False: [
            [child, parent], [parent, grandchild, child], [user, parent], [parent, child, twice],
            [parent, late, user], [parent, nothing], [child],
        ],
    }  # fmt: skip
    kinds.propose([parent, child, user, grandchild, twice, late, nothing])
    for expected, blocks in orders.items():
        for transactions in blocks:
            assert is_valid(agree(kinds.chain, block_with(kinds.chain, transactions))) is expected


def test_uncles() -> None:
    """Their proposals are committed to by their headers, and do not count for the size."""
    chain = ValidChain(a_consensus())
    chain.grow(13)
    height, ids = chain.tip_header().number, [b"1" * 10, b"2" * 10]
    uncle, other = chain.an_uncle(height, ids), chain.an_uncle(height - 1, [b"3" * 10])
    good = chain.next_block(uncles=[uncle, other])
    assert is_valid(agree(chain, good))
    spoilt = {
        "false proposals": [uncle.replace(proposals=ids[:1]), other],
        "a proposal twice": [chain.an_uncle(height, ids[:1] * 2)],
        "twice": [uncle, uncle],
        "three": [uncle, other, chain.an_uncle(height - 2)],
        "no parent": [chain.an_uncle(height, parent_hash=bytes(32))],
        "another epoch": [chain.an_uncle(height, epoch=1)],
    }
    for name, uncles in spoilt.items():
        assert not is_valid(agree(chain, good.replace(uncles=uncles).with_roots())), name
    assert not is_valid(agree(chain, good.replace(uncles=[uncle])))
    size = good.size_without_uncle_proposals()
    assert size == good.raw_size - 30
    for limit in (size, size - 1):
        tight = ValidChain(a_consensus(max_block_bytes=limit))
        tight.grow(13)
        assert is_valid(agree(tight, tight.next_block(uncles=[uncle, other]))) == (limit == size)
