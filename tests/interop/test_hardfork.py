"""CKB2023 at a chosen epoch: what is refused before and taken from then on, and the machine that scripts run on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.crypto.hashing import data_hash
from consensus.types.blockchain import HASH_TYPE_TYPE, CellInput, CellOutput, OutPoint, Script, Transaction
from tests.interop.kit_chain import Mirror, Purse, both_refuse
from tests.interop.kit_content import code_dep, deploy, out_points, type_id_of
from tests.interop.kit_json import transaction_json
from tests.interop.kit_mirror import assert_same_chain
from tests.interop.kit_programs import exits_with, wants_version
from tests.support.builders.wallet import CKB
from tests.support.nodes.process import RpcFailure
from tests.support.nodes.reference import CELLS, Pair, pair_of_nodes, spec_text

FORK_EPOCH = 3
EPOCH_LENGTH = 10
HASH_TYPE_DATA2 = 4
VALUE = 300 * CKB


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    text = spec_text(Path(CELLS), ckb2023=FORK_EPOCH)
    with pair_of_nodes(tmp_path, text) as nodes:
        yield nodes


def data2(mirror: Mirror, code: bytes) -> Transaction:
    """Pays to a data2 lock; the purse stays as it was."""
    purse = replace(mirror.bob)
    lock = Script(code_hash=data_hash(code), hash_type=HASH_TYPE_DATA2, args=b"")
    return mirror.spend(purse, [CellOutput(capacity=VALUE, lock=lock, type_=None)])


def accepted(mirror: Mirror, transaction: Transaction) -> bool:
    """Whether both pools would take it; they must say the same."""
    answers = []
    for rpc in (mirror.source, mirror.target):
        try:
            rpc.call("test_tx_pool_accept", transaction_json(transaction), "passthrough")
        except RpcFailure as failure:
            answers.append(failure.code)
        else:
            answers.append(0)
    assert answers[0] == answers[1], answers
    return answers[0] == 0


def test_the_fork_at_its_epoch(mirror: Mirror) -> None:
    code = exits_with(0)
    upgradable = type_id_of(mirror, 0)
    made = mirror.spend(
        mirror.alice,
        [CellOutput(capacity=10_000 * CKB, lock=mirror.bob.wallet.lock, type_=upgradable)],
        [wants_version(1)],
    )
    mirror.commit(made)
    old_code = out_points(made, 1)[0]
    by_type = Script(code_hash=upgradable.hash, hash_type=HASH_TYPE_TYPE, args=b"")
    funding = mirror.spend(mirror.bob, [CellOutput(capacity=VALUE, lock=by_type, type_=None)] * 4)
    mirror.commit(funding)
    cells = out_points(funding, 4)
    mirror.commit(_open(mirror, mirror.alice, cells[0], old_code))

    probe = data2(mirror, code)
    last_before = FORK_EPOCH * EPOCH_LENGTH - 1
    taken_at = []
    while (number := mirror.source.tip()) < last_before + 3:
        if accepted(mirror, probe):
            taken_at.append(number)
        mirror.mine()
    assert taken_at
    assert taken_at == list(range(taken_at[0], last_before + 3)), "once taken, always taken"

    purse = replace(mirror.alice)
    both_refuse(
        mirror.pair, "send_transaction", transaction_json(_open(mirror, purse, cells[1], old_code)), "passthrough"
    )
    funding = mirror.spend(
        mirror.bob,
        [
            CellOutput(
                capacity=VALUE,
                lock=Script(code_hash=data_hash(code), hash_type=HASH_TYPE_DATA2, args=b""),
                type_=None,
            )
        ],
    )
    mirror.commit(funding)
    mirror.commit(_open(mirror, mirror.alice, out_points(funding, 1)[0], deploy(mirror, code)[0]))
    assert_same_chain(mirror.pair)


def _open(mirror: Mirror, purse: Purse, cell: OutPoint, code: OutPoint) -> Transaction:
    return mirror.spend(
        purse,
        [],
        inputs=[CellInput(since=0, previous_output=cell)],
        added=VALUE,
        cell_deps=[code_dep(code)],
    )


def test_a_transaction_proposed_before_and_committed_after(mirror: Mirror) -> None:
    """The lock asks for version 1 by its type: it may be proposed at any time, but committed only before the fork."""
    upgradable = type_id_of(mirror, 0)
    made = mirror.spend(
        mirror.alice,
        [CellOutput(capacity=10_000 * CKB, lock=mirror.bob.wallet.lock, type_=upgradable)],
        [wants_version(1)],
    )
    mirror.commit(made)
    by_type = Script(code_hash=upgradable.hash, hash_type=HASH_TYPE_TYPE, args=b"")
    funding = mirror.spend(mirror.bob, [CellOutput(capacity=VALUE, lock=by_type, type_=None)])
    mirror.commit(funding)
    late = _open(mirror, replace(mirror.alice), out_points(funding, 1)[0], out_points(made, 1)[0])
    mirror.mine(FORK_EPOCH * EPOCH_LENGTH - 3 - mirror.source.tip())
    mirror.mine(propose=[late])
    mirror.mine(1)
    mirror.mine(1)
    template = mirror.filled(commit=[late])
    with pytest.raises(RpcFailure):
        mirror.make(template)
    mirror.mine(3)
    assert_same_chain(mirror.pair)
