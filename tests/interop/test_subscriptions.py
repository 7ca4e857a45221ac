"""Both programs are fed the same blocks and transactions: their subscribers hear the same, through a reorganisation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.interop.kit_chain import COUNTS, Mirror, mirror_of, wait_until
from tests.interop.kit_events import assert_same_events, both_heard
from tests.interop.kit_json import Json, sent_block, transaction_json
from tests.interop.kit_mirror import tip_hash
from tests.support.builders.wallet import CKB, Wallet
from tests.support.nodes.reference import CELLS, Pair, pair_of_nodes, spec_text

pytestmark = pytest.mark.timeout(300)

CAROL = Wallet(bytes(31) + b"\x09")


def feed(pair: Pair, blocks: list[Json]) -> None:
    for view in blocks:
        theirs, ours = pair.both("submit_block", "0x0", sent_block(view))
        assert theirs == ours == view["header"]["hash"]


def _grown(mirror: Mirror, **content: Any) -> Json:
    """A block of the source alone."""
    return mirror.source.call("get_block", mirror.make(mirror.filled(**content)))


def _send(pair: Pair, transaction: Any) -> None:
    theirs, ours = pair.both("send_transaction", transaction_json(transaction), "passthrough")
    assert theirs == ours


def test_the_same_events_through_a_reorganisation(tmp_path: Path) -> None:
    text = spec_text(Path(CELLS))
    for name in ("makers", "listeners"):
        (tmp_path / name).mkdir()
    with pair_of_nodes(tmp_path / "makers", text) as makers:
        mirror = mirror_of(makers, "reference")
        root = tip_hash(mirror.source)
        kept = mirror.transfer(mirror.alice, CAROL.lock, 100 * CKB)
        before = (mirror.bob.out_point, mirror.bob.capacity)
        lost = mirror.transfer(mirror.bob, CAROL.lock, 200 * CKB)
        mirror.bob.out_point, mirror.bob.capacity = before
        dearer = mirror.transfer(mirror.bob, CAROL.lock, 300 * CKB, fee=10 * CKB)
        first = [_grown(mirror), _grown(mirror, propose=[kept]), _grown(mirror), _grown(mirror, commit=[kept])]
        mirror.source.call("truncate", root)
        second = [_grown(mirror) for _ in range(2)]
        second += [_grown(mirror, propose=[kept, dearer]), _grown(mirror), _grown(mirror, commit=[kept])]
        second += [_grown(mirror, commit=[dearer]), _grown(mirror)]
    with pair_of_nodes(tmp_path / "listeners", text) as pair, both_heard(pair) as (theirs, ours):
        feed(pair, first[:1])
        _send(pair, kept)
        _send(pair, lost)
        for heard in (theirs, ours):
            wait_until(lambda heard=heard: len(heard.events["new_transaction"]) == 2)
        feed(pair, first[1:])
        for heard in (theirs, ours):
            wait_until(lambda heard=heard: len(heard.events["proposed_transaction"]) == 1)
        _send(pair, dearer)
        feed(pair, second[:4])
        assert_same_events(theirs, ours, first[-1]["header"]["hash"], {"rejected_transaction": 1})
        feed(pair, second[4:])
        told = {"new_transaction": 3, "proposed_transaction": 2}
        assert_same_events(theirs, ours, second[-1]["header"]["hash"], told)
        tips = [each["hash"] for each in ours.events["new_tip_header"]]
        assert tips == [each["header"]["hash"] for each in (*first, *second[4:])]
        COUNTS["events"] += sum(Counter({topic: len(each) for topic, each in ours.events.items()}).values())
